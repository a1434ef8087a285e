//! The wrappers of storages through random histories, in virtual time, over a store that fails before and after it took
//! effect, takes its time and restarts: nothing is admitted beyond the bound, no charge is lost or doubled but as is
//! documented, and every call ends by its deadline.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use traffik::layer::{
    Breaker, BreakerState, Calls, CircuitBreaker, DenyCache, Failover, Metered, Retry, Timeout,
};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, Failure, Reply};
use traffik::{AsyncLimiter, Decision, ErrorKind, Receipt, TokenBucket, rate};

mod faulty;
use faulty::{Course, Faulty, MILLI, SECOND, WELL, after, before, slow};

type Store = Faulty<TokenBucket>;

const HISTORIES: u64 = 20_000;
/// For one call of the store.
const ATTEMPT: Duration = Duration::from_millis(50);

/// Four at once, and one more each ten seconds.
fn limit() -> TokenBucket {
    TokenBucket::new(rate!("4/40s"))
}

/// Random numbers (SplitMix64), the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % sides
    }

    fn course(&mut self) -> Course {
        match self.below(20) {
            0..10 => WELL,
            10 | 11 => before(ErrorKind::Unavailable),
            12 => before(ErrorKind::Contended),
            13 | 14 => after(ErrorKind::Timeout),
            15 => before(ErrorKind::Timeout),
            16 => Course { takes: [MILLI * 7, MILLI * 9], ..after(ErrorKind::Timeout) },
            _ => slow(MILLI * self.below(40) as u32),
        }
    }
}

/// What a wrapper promises.
#[derive(Clone, Copy)]
struct Promise {
    /// For one call.
    deadline: Duration,
    /// Calls of the store for one call.
    attempts: u32,
    /// Whether an unknown outcome is tried again.
    repeats: bool,
}

/// What whoever asks knows.
#[derive(Default)]
struct Ledger {
    admitted: u32,
    denied: u32,
    /// Checks without a known outcome.
    unknown: u32,
    /// Refunds that may have taken effect.
    refunds: u32,
    /// How often the store may have begun afresh.
    restarts: u32,
    /// Whether something that gives back may take effect unnoticed.
    is_doubtful: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Check,
    Refund,
    Reset,
}

struct History<T> {
    runtime: Manual,
    faulty: Store,
    /// Where else something may be admitted.
    fallback: Store,
    limits: AsyncLimiter<TokenBucket, T>,
    promise: Promise,
    dice: Dice,
    ledger: Ledger,
    receipts: Vec<Receipt>,
    on_their_way: Vec<(Reply<Decision>, Kind)>,
    /// Denials that were told without asking, and compared.
    compared: u32,
}

impl<T: AsyncStorage<TokenBucket>> History<T> {
    /// Tells how many denials were told without asking, and compared.
    fn live(mut self) -> u32 {
        for _ in 0..14 {
            let courses: Vec<_> = (0..4).map(|_| self.dice.course()).collect();
            self.faulty.next(&courses);
            self.step();
        }
        while let Some((reply, kind)) = self.on_their_way.pop() {
            let answer = self.runtime.run(reply).unwrap();
            self.note(kind, answer);
        }
        self.runtime.advance(SECOND);
        self.settle();
        self.compared
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0..10 => self.check(),
            10 | 11 => self.refund(),
            12 => {
                self.ledger.restarts += 1;
                let reply = self.limits.reset("key");
                self.ask(reply, Kind::Reset);
            }
            13 => {
                self.ledger.restarts += 1;
                self.ledger.is_doubtful = true;
                self.faulty.restart();
            }
            14 | 15 => self.hear(),
            16 => {
                let peeked = self.limits.peek("key", 1);
                let kind = self.within_deadline(peeked).err().map(|it| it.kind());
                assert_ne!(kind, Some(ErrorKind::Other));
            }
            _ => self.runtime.advance(MILLI * self.dice.below(12_000) as u32),
        }
    }

    fn check(&mut self) {
        let before = (self.faulty.calls(), self.fallback.calls());
        let mut reply = self.limits.check("key");
        let is_own = before == (self.faulty.calls(), self.fallback.calls());
        if let (Reply::Ready(Some(Ok(denied))), true) = (&mut reply, is_own) {
            self.compare(denied);
        }
        self.ask(reply, Kind::Check);
    }

    /// A denial that was told without asking must be what the store would say, or less to wait.
    fn compare(&mut self, denied: &Decision) {
        let is_given_back = self.on_their_way.iter().any(|(_, kind)| *kind != Kind::Check);
        if self.ledger.is_doubtful || is_given_back {
            return;
        }
        self.compared += 1;
        let truth = self.runtime.run(self.faulty.honest(limit()).peek("key", 1)).unwrap().unwrap();
        let told = denied.retry_after().unwrap();
        assert!(truth.retry_after().is_some_and(|wait| told <= wait), "{denied:?} {truth:?}");
    }

    fn refund(&mut self) {
        let Some(receipt) = self.receipts.pop() else { return };
        self.ledger.refunds += 1;
        let reply = self.limits.refund("key", 1, receipt);
        self.ask(reply, Kind::Refund);
    }

    /// Awaits an answer, or leaves it on its way.
    fn ask(&mut self, mut reply: Reply<Decision>, kind: Kind) {
        if matches!(reply, Reply::Pending(_)) && self.dice.below(3) == 0 {
            let polled = pin!(&mut reply).poll(&mut Context::from_waker(Waker::noop()));
            match polled {
                std::task::Poll::Ready(answer) => self.note(kind, answer),
                std::task::Poll::Pending => self.on_their_way.push((reply, kind)),
            }
            return;
        }
        let before = self.faulty.calls();
        let answer = self.within_deadline(reply);
        assert!(self.faulty.calls() <= before + self.promise.attempts);
        self.note(kind, answer);
    }

    fn within_deadline(&self, reply: Reply<Decision>) -> Result<Decision, Failure> {
        let began = self.runtime.now();
        let answer = self.runtime.run(reply).unwrap();
        let took = self.runtime.now().since(began);
        assert!(took <= self.promise.deadline, "{took:?}");
        answer
    }

    /// Hears of a call that was on its way, or drops it.
    fn hear(&mut self) {
        if self.on_their_way.is_empty() {
            return;
        }
        let at = self.dice.below(self.on_their_way.len() as u64) as usize;
        let (reply, kind) = self.on_their_way.swap_remove(at);
        if self.dice.below(3) > 0 {
            let answer = self.runtime.run(reply).unwrap();
            self.note(kind, answer);
        } else {
            drop(reply);
            self.note(kind, Err(Failure::new(ErrorKind::Timeout, "dropped")));
        }
    }

    fn note(&mut self, kind: Kind, answer: Result<Decision, Failure>) {
        let is_unknown = answer.as_ref().is_err_and(|it| it.kind() == ErrorKind::Timeout);
        match (kind, answer) {
            (Kind::Check, Ok(decision)) if decision.is_allowed() => {
                self.ledger.admitted += 1;
                self.receipts.push(decision.receipt());
            }
            (Kind::Check, Ok(_)) => self.ledger.denied += 1,
            (Kind::Check, Err(_)) if is_unknown => self.ledger.unknown += 1,
            (Kind::Check, Err(failure)) => {
                assert!(matches!(failure.kind(), ErrorKind::Unavailable | ErrorKind::Contended));
            }
            _ => self.ledger.is_doubtful |= is_unknown || self.promise.repeats,
        }
    }

    /// What is true of a history as a whole.
    fn settle(&self) {
        let Ledger { admitted, denied, unknown, refunds, restarts, .. } = self.ledger;
        let charged = self.faulty.admitted() + self.fallback.admitted();
        assert!(admitted <= charged, "a charge was lost: {admitted} told, {charged} charged");
        let times = if self.promise.repeats { self.promise.attempts } else { 1 };
        let most = times * (admitted + unknown) + (times - 1) * denied;
        assert!(charged <= most, "a charge was doubled: {charged}, and at most {most} are explained");
        let elapsed = self.runtime.now().as_micros() / 10_000_000;
        for store in [&self.faulty, &self.fallback] {
            let bound = 4 * (1 + restarts * times) + refunds * times + elapsed as u32;
            assert!(store.admitted() <= bound, "{} above {bound}", store.admitted());
        }
    }
}

/// Runs histories of a wrapper, each over stores of its own; tells how many denials were told without asking, and compared.
fn histories<T: AsyncStorage<TokenBucket>>(
    promise: Promise,
    wrap: impl Fn(&Manual, Store, Store, u64) -> T,
) -> u32 {
    let mut compared = 0;
    for seed in 0..HISTORIES {
        let runtime = Manual::new();
        let (faulty, fallback) = (Store::new(&runtime), Store::new(&runtime));
        let limits = AsyncLimiter::new(limit(), wrap(&runtime, faulty.clone(), fallback.clone(), seed));
        let history = History {
            runtime,
            faulty,
            fallback,
            limits,
            promise,
            dice: Dice(seed),
            ledger: Ledger::default(),
            receipts: Vec::new(),
            on_their_way: Vec::new(),
            compared: 0,
        };
        compared += history.live();
    }
    compared
}

const ONCE: Promise = Promise { deadline: ATTEMPT, attempts: 1, repeats: false };

fn timeout(runtime: &Manual, faulty: Store) -> Timeout<Store, Manual> {
    Timeout::new(faulty, runtime.clone(), ATTEMPT)
}

#[test]
fn a_timeout() {
    let _ = histories(ONCE, |runtime, faulty, _, _| timeout(runtime, faulty));
}

#[test]
fn a_retry_of_what_charged_nothing() {
    let promise = Promise { deadline: 3 * ATTEMPT, attempts: 3, repeats: false };
    let _ = histories(promise, |runtime, faulty, _, seed| {
        let builder = Retry::builder(timeout(runtime, faulty), runtime.clone());
        builder.clock(runtime.clone()).seed(seed).deadline(promise.deadline).build().unwrap()
    });
}

#[test]
fn a_retry_of_anything() {
    let promise = Promise { deadline: 2 * ATTEMPT, attempts: 4, repeats: true };
    let _ = histories(promise, |runtime, faulty, _, seed| {
        let builder = Retry::builder(timeout(runtime, faulty), runtime.clone());
        let builder = builder.clock(runtime.clone()).seed(seed).deadline(promise.deadline);
        builder.attempts(4).after_timeouts().build().unwrap()
    });
}

#[test]
fn a_deny_cache() {
    let compared = histories(ONCE, |runtime, faulty, _, seed| {
        DenyCache::builder(timeout(runtime, faulty)).keys(8).clock(runtime.clone()).seed(seed).build()
    });
    assert!(u64::from(compared) > HISTORIES / 10, "it answered {compared} times");
}

fn breaker(runtime: &Manual, seed: u64) -> Breaker {
    let last = Mutex::new(BreakerState::Closed);
    let lawful = move |from, to| {
        use BreakerState::{Closed, HalfOpen, Open};
        assert_eq!(std::mem::replace(&mut *last.lock().unwrap(), to), from);
        let legal =
            matches!((from, to), (Closed | HalfOpen, Open(_)) | (Open(_), HalfOpen) | (HalfOpen, Closed));
        assert!(legal, "{from} {to}");
    };
    let builder = Breaker::builder("store").clock(runtime.clone()).seed(seed).failures(2);
    builder.on_change(move |change| lawful(change.from, change.to)).build().unwrap()
}

#[test]
fn a_circuit_breaker() {
    let _ = histories(ONCE, |runtime, faulty, _, seed| {
        CircuitBreaker::new(timeout(runtime, faulty), &breaker(runtime, seed))
    });
}

#[test]
fn all_of_them() {
    let promise = Promise { deadline: 3 * ATTEMPT, attempts: 3, repeats: false };
    let calls = Calls::default();
    let _ = histories(promise, |runtime, faulty, fallback, seed| {
        let builder = Retry::builder(timeout(runtime, faulty), runtime.clone());
        let retry = builder.clock(runtime.clone()).seed(seed).deadline(promise.deadline).build().unwrap();
        let primary = CircuitBreaker::new(retry, &breaker(runtime, seed));
        let failover = Failover::builder(primary, fallback).clock(runtime.clone()).build();
        let metered = Metered::with_clock(failover, calls.clone(), runtime.clone());
        Arc::new(metered)
    });
    assert!(calls.each().count() > 8, "{calls:?}");
}
