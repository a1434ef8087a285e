//! The duties of storages: those there are have done them, for limits of every family.

use std::sync::Arc;
use std::time::Duration;

use traffik::laws::{BrokenLaw, Step, awaited, storage};
use traffik::lock::{LockSettings, Locks, MemoryLock};
use traffik::runtime::Tokio;
use traffik::storage::Local;
use traffik::{
    Clock, Fixed, FixedWindow, HeapLog, LockedStorage, ManualClock, Memory, Rate, SharedMemory, Storage,
    Strategy, Timestamp, TokenBucket, rate,
};
use traffik_test_support::store::Store;

const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);

/// Runs with costs and silences, which need not fit any limit.
fn run() -> Vec<Step> {
    let at = |step: u64| START.plus_micros(step * 370_000 + step / 25 * 7_200_000_000);
    let costs = [1, 1, 2, 0, 1, 9].into_iter().cycle();
    (0..100).zip(costs).map(|(step, cost)| Step::new(at(step), cost)).collect()
}

fn on_threads(check: &(dyn Fn() + Sync)) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| check()));
        }
    });
}

fn all_but_races<S: Strategy>(strategy: &S, mine: &impl Storage<S>) -> Result<(), BrokenLaw> {
    storage::every(strategy, mine)?;
    storage::agrees(strategy, mine, "agreed", &run())
}

/// Runs one function over every strategy at a rate that admits 5 an hour, and over some that are set up otherwise.
macro_rules! with_each_limit {
    ($check:ident) => {
        with_each_bounded_limit!($check);
        $check(HeapLog::new(rate!("5/h")).unwrap());
    };
}

/// The same over those whose states are of a bounded length.
macro_rules! with_each_bounded_limit {
    ($check:ident) => {
        let rate = rate!("5/h");
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                $check(make(rate).unwrap());
            };
        }
        traffik::every_strategy!(each);
        $check((TokenBucket::new(rate), FixedWindow::new(rate!("7/h"))));
    };
}

#[test]
fn memory_has_done_its_duties() {
    fn check<S: Strategy>(strategy: S) {
        let memory = Memory::builder().capacity(1_000).clock(ManualClock::new(START)).build();
        assert_eq!(all_but_races(&strategy, &memory), Ok(()), "{}", std::any::type_name::<S>());
        assert_eq!(storage::racers_admit_the_limit(&strategy, &memory, on_threads), Ok(()));
    }
    with_each_limit!(check);
}

#[test]
fn shared_memory_has_done_its_duties() {
    fn check<S: Strategy>(strategy: S) {
        let builder = SharedMemory::builder().room::<1_300>().capacity(1_000);
        let memory = builder.clock(ManualClock::new(START)).build_shared();
        assert_eq!(all_but_races(&strategy, &memory), Ok(()), "{}", std::any::type_name::<S>());
        assert_eq!(storage::racers_admit_the_limit(&strategy, &memory, on_threads), Ok(()));
    }
    with_each_bounded_limit!(check);
}

#[test]
fn the_fixed_table_has_done_its_duties() {
    fn check<S: Strategy>(strategy: S) {
        let fixed = Fixed::<S, _, 64>::new(ManualClock::new(START), 42);
        assert_eq!(all_but_races(&strategy, &fixed), Ok(()), "{}", std::any::type_name::<S>());
    }
    with_each_limit!(check);
}

/// A clock of its own that nobody sets: a microsecond goes by whenever it is read.
#[derive(Clone)]
struct Ticking(Arc<ManualClock>);

impl Ticking {
    fn new() -> Self {
        Self(Arc::new(ManualClock::new(START)))
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        self.0.advance(Duration::from_micros(1));
        self.0.now()
    }
}

/// Waits for answers, in virtual time.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn memory_that_is_awaited_has_done_its_duties() {
    fn check<S: Strategy>(strategy: S) {
        let clock = Arc::new(ManualClock::new(START));
        let settable = Local(Memory::builder().capacity(1_000).clock(Arc::clone(&clock)).build());
        block_on(awaited::agrees(&strategy, &settable, "agreed", &run(), |now| clock.set(now))).unwrap();
        block_on(awaited::clock_may_be_set_back(&strategy, &settable, |now| clock.set(now))).unwrap();
        let own = Local(Memory::builder().capacity(1_000).clock(Ticking::new()).build());
        block_on(awaited::every(&strategy, &own)).unwrap();
    }
    with_each_limit!(check);
}

/// A storage over a store of bytes, and the means to write to that store behind its back.
fn locked<C: Clock + Send + Sync + 'static>(store: Store<C>) -> LockedStorage<Store<C>, MemoryLock, Tokio> {
    let patient = LockSettings::new().ttl(Duration::from_secs(60)).blocking_timeout(Duration::from_secs(60));
    LockedStorage::new(store, Locks::new(MemoryLock::new(), Tokio).with(patient))
}

#[test]
fn locked_has_done_its_duties() {
    fn check<S: Strategy>(strategy: S) {
        let clock = Arc::new(ManualClock::new(START));
        let settable = locked(Store::new(Arc::clone(&clock)));
        block_on(awaited::agrees(&strategy, &settable, "agreed", &run(), |now| clock.set(now))).unwrap();
        let own = locked(Store::new(Ticking::new()));
        block_on(async {
            awaited::every(&strategy, &own).await?;
            awaited::denial_writes_nothing(&strategy, &own, async || own.store().writes()).await?;
            let plant = async |key: &[u8], bytes: &[u8]| own.store().put(key, bytes, Duration::from_secs(60));
            awaited::corrupt_is_never_seen(&strategy, &own, plant).await
        })
        .unwrap();
    }
    with_each_limit!(check);
}
