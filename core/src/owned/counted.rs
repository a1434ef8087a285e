//! Keys and clocks behind an `Arc`, which needs atomics of pointers.

use alloc::sync::Arc;

use crate::key::key_behind;
use crate::{Clock, EpochClock, Key, Timestamp};

key_behind! {
    [K: Key + ?Sized] Arc<K>;
}

#[deny(clippy::missing_trait_methods)]
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

impl<C: EpochClock + ?Sized> EpochClock for Arc<C> {}
