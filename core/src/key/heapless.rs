//! Keys without a heap that grow up to a bound: the strings and the vectors of bytes of `heapless`.

use heapless::LenType;
use heapless::string::{StringInner, StringStorage};
use heapless::vec::{VecInner, VecStorage};

use super::key_behind;
use crate::Key;

key_behind! {
    [L: LenType, S: StringStorage + ?Sized] StringInner<L, S>;
    [L: LenType, S: VecStorage<u8> + ?Sized] VecInner<u8, L, S>;
}
