//! A store that never answers, as a storage: calls end when they have taken as long as they may.

use std::future::{Future, pending, ready};
use std::sync::Arc;

use futures_util::FutureExt;
use traffik_core::storage::{AsyncStorage, BackendError};
use traffik_core::{ErrorKind, Hit, Op, Rate, TokenBucket};

use crate::cas::{Coalescing, CompareAndSwap, Versioned, Write};

/// Answers what it is made to answer, or nothing.
struct Silent {
    loads: bool,
}

impl CompareAndSwap for Silent {
    type Version = ();

    async fn load(&self, _: &[u8]) -> Result<Versioned<()>, BackendError> {
        match self.loads {
            true => Ok(Versioned { bytes: None, version: (), now: Default::default(), kept: None }),
            false => pending().await,
        }
    }

    async fn swap(&self, _: &[u8], (): (), _: Write) -> Result<Option<Versioned<()>>, BackendError> {
        pending().await
    }

    fn deadline(&self) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

#[test]
fn calls_of_a_store_that_is_silent_end_with_what_is_known_of_them() {
    let strategy = TokenBucket::new(Rate::per_second(1));
    let check = |loads| {
        let storage = Coalescing::new(Arc::new(Silent { loads }));
        let checked = AsyncStorage::apply(&storage, &strategy, &"key", &Op::Check(Hit::new(1)));
        let loaded = AsyncStorage::load(&storage, &strategy, &"key").now_or_never().map(|it| it.map(drop));
        (checked.now_or_never().unwrap().unwrap_err().kind(), loaded.unwrap().map_err(|it| it.kind()))
    };
    // A swap that was sent may have been made.
    assert_eq!(check(true), (ErrorKind::Timeout, Ok(())));
    assert_eq!(check(false), (ErrorKind::Unavailable, Err(ErrorKind::Unavailable)));
}
