//! Storages of this process: no room, images and snapshots that cannot be read, and waits that end.

// Chooses what a critical section is.
use critical_section as _;

use std::cell::Cell;
use std::time::Duration;

use traffik::runtime::{Manual, Runtime};
use traffik::storage::{AsyncStorage, BackendError, Local, MultiKeyReply, Reply, WhenFull};
use traffik::strategy::Level;
use traffik::{
    AsyncLimiter, Clock, Decision, ErasedKey, ErrorKind, Fixed, Gcra, Hit, Limiter, ManualClock, Memory,
    OneKey, Op, SharedMemory, StorageError, Timestamp, TokenBucket, rate,
};

use super::{Messages, refused};

pub(super) fn provoke(messages: &mut Messages) {
    rooms(messages);
    images(messages);
    waits(messages);
    own(messages);
    within(messages);
}

fn rooms(messages: &mut Messages) {
    messages.section("Memories without room");
    let memory = Memory::builder().capacity(1).when_full(WhenFull::Refuse).build();
    let limits = Limiter::new(Gcra::new(rate!("1/h")), memory);
    let crowd = |limits: &dyn Fn(u32) -> Result<Decision, StorageError>| {
        (0..100).try_for_each(|key| limits(key).map(drop))
    };
    refused! { messages:
        crowd(&|key| limits.check(&key));
    }
    let fixed = Fixed::<Gcra, _, 4>::new(ManualClock::new(Timestamp::EPOCH), 1).when_full(WhenFull::Refuse);
    let limits = Limiter::new(Gcra::new(rate!("1/h")), fixed);
    refused! { messages:
        crowd(&|key| limits.check(&key));
    }
}

fn images(messages: &mut Messages) {
    messages.section("Snapshots and images of storages");
    let memory = Memory::<Gcra>::builder().build();
    let snapshot = memory.snapshot();
    let cut = &snapshot[..snapshot.len() - 1];
    let mut newer = snapshot.clone();
    newer[7] = 3;
    let fixed = || Fixed::<Gcra, _, 4>::new(ManualClock::new(Timestamp::EPOCH), 1);
    let one_key = || OneKey::<Gcra, _>::new(ManualClock::new(Timestamp::EPOCH));
    refused! { messages:
        Memory::<Gcra>::builder().restore(b"");
        Memory::<Gcra>::builder().restore(b"no snapshot at all");
        Memory::<Gcra>::builder().restore(cut);
        Memory::<Gcra>::builder().restore(&newer);
        SharedMemory::<50>::builder().restore_shared(b"no snapshot at all");
        fixed().save(&mut [0; 8]);
        fixed().restore(b"no image");
        one_key().save(&mut [0; 8]);
        one_key().restore(b"no image");
    }
}

fn waits(messages: &mut Messages) {
    messages.section("Waits");
    let runtime = Manual::new();
    let memory = |runtime: &Manual| Memory::builder().clock(runtime.clone()).build();
    let limits = Limiter::new(Gcra::new(rate!("1/s")), memory(&runtime));
    let awaited = AsyncLimiter::new(Gcra::new(rate!("1/s")), Local(memory(&runtime)));
    let (half, second) = (Duration::from_millis(500), Duration::from_secs(1));
    let _ = limits.check("alice").unwrap();
    let _ = runtime.run(awaited.check("alice")).unwrap().unwrap();
    refused! { messages:
        runtime.run(limits.until_ready_n("alice", 2, &runtime)).unwrap();
        runtime.run(limits.until_ready_within("alice", 1, half, &runtime)).unwrap();
        runtime.run(awaited.until_ready_within("alice", 1, half, &runtime)).unwrap();
        runtime.run(runtime.timeout(second, std::future::pending::<()>())).unwrap();
        runtime.run(std::future::pending::<()>());
    }
}

/// A storage of one's own that answers for too few keys.
struct Forgetful;

impl AsyncStorage<TokenBucket> for Forgetful {
    fn apply(&self, _: &TokenBucket, _: &dyn ErasedKey, _: &Op<TokenBucket>) -> Reply<Decision> {
        Reply::ready(Err(BackendError::new(ErrorKind::Other, "the disk is full")))
    }

    fn load(&self, _: &TokenBucket, _: &dyn ErasedKey) -> Reply<(Level, Timestamp)> {
        Reply::ready(Ok((Level::default(), Timestamp::EPOCH)))
    }

    fn check_together(
        &self,
        _: &TokenBucket,
        _: &[&dyn ErasedKey],
        _: &Hit,
    ) -> Reply<MultiKeyReply<Decision>> {
        Reply::ready(Ok(MultiKeyReply::Atomic(Vec::new())))
    }
}

fn own(messages: &mut Messages) {
    messages.section("A storage of one's own");
    let runtime = Manual::new();
    let limits = AsyncLimiter::new(TokenBucket::new(rate!("5/s")), Forgetful);
    refused! { messages:
        runtime.run(limits.check("alice")).unwrap();
        runtime.run(limits.check_together([&"alice", &"bob"], 1)).unwrap();
    }
}

/// A clock of one's own that checks the limit whose time it is asked for.
struct Reentrant;

type Own = Limiter<Gcra, OneKey<Gcra, Reentrant>>;

thread_local! {
    static OWN: Own = const { Limiter::new(Gcra::new(rate!("1/s")), OneKey::new(Reentrant)) };
    static WITHIN: Cell<Option<StorageError>> = const { Cell::new(None) };
    static IS_WITHIN: Cell<bool> = const { Cell::new(false) };
}

impl Clock for Reentrant {
    fn now(&self) -> Timestamp {
        if !IS_WITHIN.replace(true) {
            WITHIN.set(OWN.with(|own| own.check("alice").err()));
        }
        Timestamp::EPOCH
    }
}

fn within(messages: &mut Messages) {
    let _ = OWN.with(|own| own.check("alice"));
    messages
        .line("a clock of one's own checks the limit whose time it is asked for", &WITHIN.take().unwrap());
}
