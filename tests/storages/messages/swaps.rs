//! Stores of one's own with compare-and-swap, and the laws that a broken storage of one's own breaks.

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, join};
use traffik::cas::{Coalescing, CompareAndSwap, Versioned, Write};
use traffik::laws::awaited;
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, BackendError, Reply};
use traffik::strategy::Level;
use traffik::{
    AsyncLimiter, Decision, ErasedKey, Hit, Op, Rate, Strategy, Timer, Timestamp, TokenBucket, rate,
};

use super::{Messages, refused};

/// The mistake of a store.
#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    LosesEverySwap,
    NeverLoads,
    NeverSwaps,
    Panics,
}

/// A store whose calls have 50 ms.
struct Store(Mistake, Manual);

impl CompareAndSwap for Store {
    type Version = ();

    async fn load(&self, _: &[u8]) -> Result<Versioned<()>, BackendError> {
        assert!(self.0 != Mistake::Panics, "the store panics");
        if self.0 == Mistake::NeverLoads {
            pending::<()>().await;
        }
        Ok(Versioned { bytes: None, version: (), now: Timestamp::EPOCH, kept: None })
    }

    async fn swap(&self, _: &[u8], (): (), _: Write) -> Result<Option<Versioned<()>>, BackendError> {
        if self.0 == Mistake::NeverSwaps {
            pending::<()>().await;
        }
        Ok(Some(Versioned { bytes: None, version: (), now: Timestamp::EPOCH, kept: None }))
    }

    fn deadline(&self) -> impl Future<Output = ()> + Send {
        self.1.sleep(Duration::from_millis(50))
    }
}

pub(super) fn provoke(messages: &mut Messages) {
    messages.section("A store of one's own with compare-and-swap");
    let runtime = Manual::new();
    let limits = |mistake| {
        let storage = Coalescing::new(Arc::new(Store(mistake, runtime.clone())));
        AsyncLimiter::new(TokenBucket::new(rate!("5/h")), storage)
    };
    refused! { messages:
        runtime.run(limits(Mistake::LosesEverySwap).check("alice")).unwrap();
        runtime.run(limits(Mistake::NeverLoads).check("alice")).unwrap();
        runtime.run(limits(Mistake::NeverLoads).stat("alice")).unwrap();
        runtime.run(limits(Mistake::NeverSwaps).check("alice")).unwrap();
    }
    let panicking = limits(Mistake::Panics);
    let both = async {
        let check = || AssertUnwindSafe(panicking.check("alice")).catch_unwind();
        join!(check(), check())
    };
    let (_, second) = runtime.run(both).unwrap();
    messages.refused("limits(Mistake::Panics).check(\"alice\") beside the call that panics", second.unwrap());
    laws(messages);
}

/// A storage that admits everything.
struct Generous;

impl AsyncStorage<TokenBucket> for Generous {
    fn apply(&self, limit: &TokenBucket, _: &dyn ErasedKey, op: &Op<TokenBucket>) -> Reply<Decision> {
        let hit = Hit::new(1).with_class(op.class());
        Reply::ready(Ok(limit.decide(&mut Level::default(), &hit, Timestamp::EPOCH)))
    }

    fn load(&self, _: &TokenBucket, _: &dyn ErasedKey) -> Reply<(Level, Timestamp)> {
        Reply::ready(Ok((Level::default(), Timestamp::EPOCH)))
    }
}

fn laws(messages: &mut Messages) {
    messages.section("Laws that a storage of one's own breaks");
    let runtime = Manual::new();
    let limit = TokenBucket::new(Rate::per_hour(5));
    refused! { messages:
        runtime.run(awaited::every(&limit, &Generous)).unwrap();
        runtime.run(awaited::denial_writes_nothing(&limit, &Generous, async || 0)).unwrap();
    }
}
