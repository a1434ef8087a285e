//! Keys on the heap: each feeds the bytes of the key that it holds.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Key;
use crate::key::key_behind;

#[cfg(target_has_atomic = "ptr")]
mod counted;

key_behind! {
    [] String;
    [] Vec<u8>;
    [K: Key + ToOwned + ?Sized] Cow<'_, K>;
    [K: Key + ?Sized] Box<K>;
    [K: Key + ?Sized] Rc<K>;
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::*;
    use crate::ErasedKey;

    #[test]
    fn a_key_on_the_heap_has_the_name_of_the_key_it_holds() {
        let keys: [&dyn ErasedKey; 5] = [
            &String::from("café"),
            &Box::new("café"),
            &Arc::<str>::from("café"),
            &Rc::<str>::from("café"),
            &Cow::Borrowed("café"),
        ];
        for key in keys {
            let mut text = String::new();
            key.name_to(&mut text).unwrap();
            assert_eq!(text, "café");
        }
    }
}
