//! Keys and clocks on the heap: each is what it points at.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::key::key_behind;
use crate::{Clock, EpochClock, Key, Timestamp};

key_behind! {
    [] String;
    [] Vec<u8>;
    [K: Key + ToOwned + ?Sized] Cow<'_, K>;
    [K: Key + ?Sized] Box<K>;
    [K: Key + ?Sized] Rc<K>;
    [K: Key + ?Sized] Arc<K>;
}

#[deny(clippy::missing_trait_methods)]
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

impl<C: EpochClock + ?Sized> EpochClock for Arc<C> {}

#[cfg(test)]
mod tests {
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
