//! Storages of firmware: constants, shared by tasks and interrupts, and of one key.

// Chooses what a critical section is.
use critical_section as _;

use traffik::laws::{BrokenLaw, Step, storage};
use traffik::storage::WhenFull;
use traffik::{
    Fixed, FixedWindow, HeapLog, Limiter, ManualClock, OneKey, Rate, Shared, Storage, Strategy, Timestamp,
    TokenBucket, rate,
};

const LIMIT: TokenBucket = TokenBucket::new(rate!("5/s"));

static COMMANDS: Limiter<TokenBucket, Fixed<TokenBucket, ManualClock, 16, Shared<4>>> =
    Limiter::new(LIMIT, Fixed::shared(ManualClock::new(Timestamp::EPOCH), 1).when_full(WhenFull::Refuse));

static UPLINK: Limiter<TokenBucket, OneKey<TokenBucket, ManualClock, Shared<0>>> =
    Limiter::new(LIMIT, OneKey::shared(ManualClock::new(Timestamp::EPOCH)));

#[test]
fn a_limiter_is_a_static_that_threads_share() {
    let check = |_| (COMMANDS.check("pump").unwrap().is_allowed(), UPLINK.check(&()).unwrap().is_allowed());
    let threads = [(); 4].map(|()| std::thread::spawn(move || [0; 5].map(check)));
    let told: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let admitted = [told.iter().filter(|it| it.0).count(), told.iter().filter(|it| it.1).count()];
    assert_eq!(admitted, [5, 5]);

    // As at boot: every key is forgotten, and from then on hashed with another seed.
    assert_eq!(COMMANDS.storage().len(), 1);
    COMMANDS.storage().reseed(0x5eed);
    assert_eq!(COMMANDS.storage().len(), 0);
    assert!((0..16u32).all(|key| COMMANDS.check(&key).unwrap().is_allowed()));
    assert!(COMMANDS.check(&16u32).is_err());
    assert_eq!(COMMANDS.storage().counters().refusals, 1);
    assert!(COMMANDS.storage().wait_queue().is_some() && UPLINK.storage().wait_queue().is_none());
}

/// Storages that are not shared are constants, too.
#[test]
fn a_limiter_of_one_thread_is_made_in_a_constant() {
    let one = const { Limiter::new(LIMIT, OneKey::new(ManualClock::new(Timestamp::EPOCH))) };
    let table = const { Fixed::<HeapLog, _, 2>::new(ManualClock::new(Timestamp::EPOCH), 1) };
    let limiters = (one, Limiter::new(HeapLog::new(rate!("5/s")).unwrap(), table));
    for key in ["a", "b"] {
        assert_eq!(limiters.1.check_n(key, 5).unwrap().remaining(), 0);
    }
    // Of one key there is one state.
    assert_eq!(limiters.0.check_n("a", 3).unwrap().remaining(), 2);
    assert_eq!(limiters.0.check_n("b", 2).unwrap().remaining(), 0);
}

const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);

fn run() -> Vec<Step> {
    let at = |step: u64| START.plus_micros(step * 370_000 + step / 25 * 7_200_000_000);
    (0..100)
        .zip([1, 1, 2, 0, 1, 9].into_iter().cycle())
        .map(|(step, cost)| Step::new(at(step), cost))
        .collect()
}

fn on_threads(check: &(dyn Fn() + Sync)) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| check()));
        }
    });
}

macro_rules! with_each_limit {
    ($check:ident) => {
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                $check(make(rate!("5/h")).unwrap());
            };
        }
        traffik::every_strategy!(each);
        $check(HeapLog::new(rate!("5/h")).unwrap());
        $check((TokenBucket::new(rate!("5/h")), FixedWindow::new(rate!("7/h"))));
    };
}

#[test]
fn the_shared_table_has_done_its_duties() {
    fn check<S: Strategy>(strategy: S) {
        let name = std::any::type_name::<S>();
        let clock = ManualClock::new(START);
        let shared = Fixed::<S, _, 64, Shared<2>>::shared(&clock, 42);
        assert_eq!(storage::every(&strategy, &shared), Ok(()), "{name}");
        assert_eq!(storage::agrees(&strategy, &shared, "agreed", &run()), Ok(()), "{name}");
        assert_eq!(storage::racers_admit_the_limit(&strategy, &shared, on_threads), Ok(()), "{name}");
        assert_eq!(
            storage::clock_may_be_set_back(&strategy, &shared, |now| clock.set(now)),
            Ok(()),
            "{name}"
        );
    }
    with_each_limit!(check);
}

/// All but to tell keys apart.
#[test]
fn the_storage_of_one_key_has_done_its_duties() {
    fn duties<S: Strategy>(
        strategy: &S,
        one: &impl Storage<S>,
        clock: &ManualClock,
    ) -> Result<(), BrokenLaw> {
        storage::agrees(strategy, one, "agreed", &run())?;
        storage::refund_takes_back(strategy, one)?;
        storage::reset_starts_afresh(strategy, one)?;
        storage::peek_is_free(strategy, one)?;
        storage::load_returns_the_state(strategy, one)?;
        storage::denial_writes_nothing(strategy, one, || 0)?;
        storage::clock_may_be_set_back(strategy, one, |now| clock.set(now))
    }
    fn check<S: Strategy>(strategy: S) {
        let name = std::any::type_name::<S>();
        let clock = ManualClock::new(START);
        assert_eq!(duties(&strategy, &OneKey::new(&clock), &clock), Ok(()), "{name}");
        clock.set(START);
        let shared = OneKey::<S, _, Shared<1>>::shared(&clock);
        assert_eq!(duties(&strategy, &shared, &clock), Ok(()), "{name}");
        assert_eq!(storage::racers_admit_the_limit(&strategy, &shared, on_threads), Ok(()), "{name}");
    }
    with_each_limit!(check);
}
