//! What a thing on the heap is, whatever is in it is.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{Clock, EpochClock, Key, Timestamp};

impl Key for String {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        self.as_str().feed(sink);
    }
}

impl Key for Vec<u8> {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        self.as_slice().feed(sink);
    }
}

impl<K: Key + ?Sized> Key for Box<K> {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        (**self).feed(sink);
    }
}

impl<K: Key + ?Sized> Key for Arc<K> {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        (**self).feed(sink);
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

impl<C: EpochClock + ?Sized> EpochClock for Arc<C> {}
