//! The duties of storages bite: storages with one known defect each, and the duty that catches it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

use traffik::laws::awaited::{self, ConformanceError};
use traffik::laws::{self, Step, storage};
use traffik::lock::{Grant, Lock, Locks, MemoryLock, Owner, Ttl};
use traffik::runtime::Tokio;
use traffik::storage::{AsyncStorage, Local, Reply};
use traffik::strategy::{decode, encode};
use traffik::{
    ErasedKey, ErrorKind, Hit, Key, LockedStorage, Memory, Op, Rate, State, Storage, StorageError, Strategy,
    SystemClock, Timestamp, TokenBucket, rate,
};
use traffik_test_support::store::{Fault, Store};

const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);

/// Runs with costs and silences, which need not fit any limit.
fn run() -> Vec<Step> {
    let at = |step: u64| START.plus_micros(step * 370_000 + step / 25 * 7_200_000_000);
    let costs = [1, 1, 2, 0, 1, 9].into_iter().cycle();
    (0..100).zip(costs).map(|(step, cost)| Step::new(at(step), cost)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    DeniesWithAWrite,
    FoldsNames,
    IgnoresRefunds,
    IgnoresResets,
    ChargesPeeks,
    LoadsNothing,
    LosesARace,
    FailsOnCorruptBytes,
    ForgetsTooEarly,
    TellsAnOldTime,
    IgnoresClocksSetBack,
    ForgetsThatItRebased,
}

/// Encoded states in a map, with a defect.
struct Bytes {
    defect: Defect,
    states: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    writes: AtomicU64,
    /// Held from reading a state until it is written.
    turn: Mutex<()>,
    racing: AtomicBool,
    both: Barrier,
}

impl Bytes {
    fn with(defect: Defect) -> Self {
        let (states, writes, turn, racing) = Default::default();
        Self { defect, states, writes, turn, racing, both: Barrier::new(2) }
    }

    fn name(&self, key: &(impl Key + ?Sized)) -> Vec<u8> {
        let mut name = Vec::new();
        key.feed(&mut |piece: &[u8]| name.extend_from_slice(piece));
        if self.defect == Defect::FoldsNames { name.to_ascii_lowercase() } else { name }
    }

    fn read<T: State>(&self, name: &[u8]) -> Result<T, StorageError> {
        match self.states.lock().unwrap().get(name).map(|bytes| decode(bytes)) {
            Some(Err(_)) if self.defect == Defect::FailsOnCorruptBytes => {
                Err(StorageError::new(ErrorKind::Corrupt, "what is stored is not a state"))
            }
            state => Ok(state.and_then(Result::ok).unwrap_or_default()),
        }
    }

    fn write<T: State>(&self, name: Vec<u8>, state: &T) {
        let mut bytes = vec![0; T::MAX_LEN];
        let length = encode(state, &mut bytes).unwrap();
        bytes.truncate(length);
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.states.lock().unwrap().insert(name, bytes);
    }
}

impl<S: Strategy> Storage<S> for Bytes {
    fn now(&self) -> Timestamp {
        START
    }

    fn apply<K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        let name = self.name(key);
        let _turn = (self.defect != Defect::LosesARace).then(|| self.turn.lock().unwrap());
        let mut state: S::State = self.read(&name)?;
        if self.defect == Defect::ForgetsTooEarly
            && now.plus_micros(strategy.max_ttl() / 2) >= strategy.expires_at(&state, op.class())
        {
            state = S::State::default();
        }
        let now = if self.defect == Defect::TellsAnOldTime { START } else { now };
        let is_moved = self.defect != Defect::IgnoresClocksSetBack && strategy.rebase(&mut state, now);
        let is_moved = is_moved && self.defect != Defect::ForgetsThatItRebased;
        if self.racing.load(Ordering::Relaxed) {
            // Both have read before either writes.
            self.both.wait();
        }
        let op = match *op {
            Op::Peek(hit) if self.defect == Defect::ChargesPeeks => Op::Check(hit),
            Op::Refund(..) if self.defect == Defect::IgnoresRefunds => {
                Op::Peek(Hit::new(traffik::Cost::uniform(0)))
            }
            Op::Reset if self.defect == Defect::IgnoresResets => {
                Op::Peek(Hit::new(traffik::Cost::uniform(0)))
            }
            op => op,
        };
        let (verdict, written) = op.apply(strategy, &mut state, now);
        if written || is_moved || self.defect == Defect::DeniesWithAWrite {
            self.write(name, &state);
        }
        Ok(verdict)
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        if self.defect == Defect::LoadsNothing { Ok(S::State::default()) } else { self.read(&self.name(key)) }
    }
}

/// The names of the duties that a storage with this defect fails.
fn failed_with(defect: Defect) -> Vec<&'static str> {
    let limit = TokenBucket::new(rate!("5/h"));
    let fresh = || Bytes::with(defect);
    let (denying, corrupt, racing) = (fresh(), fresh(), fresh());
    let race = |check: &(dyn Fn() + Sync)| {
        racing.racing.store(defect == Defect::LosesARace, Ordering::Relaxed);
        std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(check))));
        racing.racing.store(false, Ordering::Relaxed);
    };
    let plant = |key: &[u8], bytes: &[u8]| {
        corrupt.states.lock().unwrap().insert(key.to_vec(), bytes.to_vec());
    };
    let results = [
        ("agrees", laws::storage_agrees(&limit, &fresh(), "key", &run())),
        (
            "denial_writes_nothing",
            storage::denial_writes_nothing(&limit, &denying, || denying.writes.load(Ordering::Relaxed)),
        ),
        ("keys_are_apart", storage::keys_are_apart(&limit, &fresh())),
        ("refund_takes_back", storage::refund_takes_back(&limit, &fresh())),
        ("reset_starts_afresh", storage::reset_starts_afresh(&limit, &fresh())),
        ("peek_is_free", storage::peek_is_free(&limit, &fresh())),
        ("load_returns_the_state", storage::load_returns_the_state(&limit, &fresh())),
        ("racers_admit_the_limit", storage::racers_admit_the_limit(&limit, &racing, race)),
        ("corrupt_is_never_seen", storage::corrupt_is_never_seen(&limit, &corrupt, plant)),
        ("clock_may_be_set_back", storage::clock_may_be_set_back(&limit, &fresh(), |_| {})),
    ];
    results.into_iter().filter(|(_, held)| held.is_err()).map(|(name, _)| name).collect()
}

#[test]
fn each_defect_is_caught_by_the_duty_it_offends() {
    assert!(failed_with(Defect::None).is_empty());
    for (defect, duty) in [
        (Defect::DeniesWithAWrite, "denial_writes_nothing"),
        (Defect::FoldsNames, "keys_are_apart"),
        (Defect::IgnoresRefunds, "refund_takes_back"),
        (Defect::IgnoresResets, "reset_starts_afresh"),
        (Defect::ChargesPeeks, "peek_is_free"),
        (Defect::LoadsNothing, "load_returns_the_state"),
        (Defect::LosesARace, "racers_admit_the_limit"),
        (Defect::FailsOnCorruptBytes, "corrupt_is_never_seen"),
        (Defect::ForgetsTooEarly, "agrees"),
        (Defect::TellsAnOldTime, "agrees"),
        (Defect::IgnoresClocksSetBack, "clock_may_be_set_back"),
        (Defect::ForgetsThatItRebased, "clock_may_be_set_back"),
    ] {
        let failed = failed_with(defect);
        assert!(failed.contains(&duty), "{defect:?}: {failed:?}");
    }
    // A duty is offended by its own defect, not by any.
    assert_eq!(failed_with(Defect::LosesARace), ["racers_admit_the_limit"]);
    assert_eq!(failed_with(Defect::DeniesWithAWrite), ["denial_writes_nothing"]);
    assert_eq!(failed_with(Defect::FoldsNames), ["keys_are_apart"]);
    assert_eq!(failed_with(Defect::FailsOnCorruptBytes), ["corrupt_is_never_seen"]);
    assert_eq!(failed_with(Defect::LoadsNothing), ["load_returns_the_state"]);
    assert_eq!(failed_with(Defect::ForgetsThatItRebased), ["clock_may_be_set_back"]);
}

#[test]
fn a_limit_that_cannot_tell_is_refused() {
    for rate in [Rate::per_hour(0), Rate::per_hour(1), Rate::per_hour(2_000), Rate::UNLIMITED] {
        let broken = storage::every(&TokenBucket::new(rate), &Bytes::with(Defect::None)).unwrap_err();
        assert!(broken.what.starts_with("this strategy is unsuitable"), "{broken}");
    }
    let broken =
        storage::racers_admit_the_limit(&TokenBucket::new(rate!("5/h")), &Bytes::with(Defect::None), |_| {});
    assert!(broken.unwrap_err().what.starts_with("`race` did not call"));
}

/// A lock that lets everybody in.
struct Open;

impl Lock for Open {
    fn try_acquire(&self, name: &[u8], _: Ttl) -> Reply<Option<Grant>> {
        Reply::ready(Ok(Some(Grant::new(name, Owner::random(), 1))))
    }

    fn renew(&self, _: &Grant, _: Ttl) -> Reply<bool> {
        Reply::ready(Ok(true))
    }

    fn release(&self, _: Grant) -> Reply<bool> {
        Reply::ready(Ok(true))
    }
}

/// Takes one, whatever a hit costs.
struct IgnoresCosts(Local<Memory<TokenBucket>>);

impl AsyncStorage<TokenBucket> for IgnoresCosts {
    fn apply(
        &self,
        limit: &TokenBucket,
        key: &dyn ErasedKey,
        op: &Op<TokenBucket>,
    ) -> Reply<<TokenBucket as Strategy>::Verdict> {
        let op = if let Op::Check(_) = op { Op::Check(Hit::new(1)) } else { *op };
        self.0.apply(limit, key, &op)
    }

    fn load(
        &self,
        limit: &TokenBucket,
        key: &dyn ErasedKey,
    ) -> Reply<(<TokenBucket as Strategy>::State, Timestamp)> {
        self.0.load(limit, key)
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

fn law(held: Result<(), ConformanceError>) -> u8 {
    let Err(ConformanceError::Broken(broken)) = held else { unreachable!("{held:?}") };
    broken.law
}

#[test]
fn defects_are_caught_where_answers_are_awaited_too() {
    let limit = TokenBucket::new(rate!("5/h"));
    let locked = |store| LockedStorage::new(store, Locks::new(MemoryLock::new(), Tokio));
    let faulty = |fault| locked(Store::new(SystemClock).faulty(fault));
    let open = LockedStorage::new(Store::new(SystemClock), Locks::new(Open, Tokio));
    assert_eq!(law(block_on(awaited::racers_admit_the_limit(&limit, &open))), 2);
    assert_eq!(law(block_on(awaited::keys_are_apart(&limit, &faulty(Fault::NamesAreCut)))), 11);
    assert_eq!(law(block_on(awaited::reset_starts_afresh(&limit, &faulty(Fault::NothingIsRemoved)))), 11);
    let unlike = IgnoresCosts(Local(Memory::new(100)));
    assert_eq!(law(block_on(awaited::agrees_by_its_clock(&limit, &unlike, &[1, 1, 2]))), 11);
    let counting = AtomicU64::new(0);
    let busy = locked(Store::new(SystemClock));
    let writes = async || counting.fetch_add(1, Ordering::Relaxed);
    assert_eq!(law(block_on(awaited::denial_writes_nothing(&limit, &busy, writes))), 4);
    let failing = faulty(Fault::GetFails(ErrorKind::Denied));
    let held = block_on(awaited::peek_is_free(&limit, &failing)).unwrap_err();
    assert_eq!(held.to_string(), "the storage failed: no get");
    assert!(matches!(held, ConformanceError::Failed(failure) if failure.kind() == ErrorKind::Denied));
}
