//! One random history of a storage: what is asked, what goes wrong meanwhile, and what must be true of it in
//! the end.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use traffik::layer::{Breaker, BreakerState};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, BackendError, MultiKeyReply, Reply};
use traffik::{AsyncLimiter, Decision, ErrorKind, Hit, Origin, Ratio, Receipt, Scale, TokenBucket, rate};

use traffik_test_support::faulty::{Course, Faulty, MILLI, SECOND, WELL, after, before, slow};

pub(crate) type Store = Faulty<TokenBucket>;

/// Four at once, and one more each ten seconds.
pub(crate) fn limit() -> TokenBucket {
    TokenBucket::new(rate!("4/40s"))
}

/// Random numbers (SplitMix64), the same for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, sides: u64) -> u64 {
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

/// The promise of a wrapper.
#[derive(Clone, Copy)]
pub(crate) struct Promise {
    /// For one call.
    pub(crate) deadline: Duration,
    /// Calls of the store for one call.
    pub(crate) attempts: u32,
    /// How often one call may be charged.
    pub(crate) charges: u32,
    /// Whether the fallback may be charged with what the store admitted, and the store with what the fallback
    /// did.
    pub(crate) mirrors: bool,
    pub(crate) merges: bool,
    /// Into how many shares the fallback's limit is divided.
    pub(crate) shares: u32,
}

/// An admission that may be refunded.
struct Admitted {
    receipt: Receipt,
    by_fallback: bool,
    given_back: u32,
}

/// The knowledge of the caller.
#[derive(Default)]
struct Ledger {
    asked: u64,
    admitted: u32,
    denied: u32,
    /// Checks without a known outcome.
    unknown: u32,
    /// Refunds that may have taken effect.
    refunds: u32,
    /// How often a store may have begun afresh.
    restarts: u32,
    /// How often something that gives back was heard of.
    given_back: u32,
    /// Whether something that gives back may take effect unnoticed.
    is_doubtful: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Check,
    Refund,
    Reset,
}

/// The sums over histories.
#[derive(Default)]
pub(crate) struct Sums {
    /// Calls of the wrapper.
    pub(crate) asked: u64,
    /// Denials that were told without asking, and compared with what the stores would say.
    pub(crate) compared: u64,
    /// The cost that the stores admitted.
    pub(crate) by_store: u64,
    pub(crate) by_fallback: u64,
    /// The cost that one store was charged for admissions of the other.
    pub(crate) mirrored: u64,
    pub(crate) merged: u64,
    /// Refunds of which it was seen what they did.
    pub(crate) refunded: u64,
}

impl Promise {
    /// The limit of the fallback.
    fn share(&self) -> TokenBucket {
        limit().scaled(Ratio::new(1, self.shares.into()).unwrap()).unwrap()
    }
}

pub(crate) struct History<T> {
    pub(crate) runtime: Manual,
    pub(crate) faulty: Store,
    /// Where else something may be admitted.
    pub(crate) fallback: Store,
    /// The breaker around the store, if there is one.
    pub(crate) breaker: Option<Breaker>,
    limits: AsyncLimiter<TokenBucket, T>,
    promise: Promise,
    dice: Dice,
    ledger: Ledger,
    admitted: Vec<Admitted>,
    on_their_way: Vec<(Reply<Decision>, Kind)>,
    /// For how many steps more the store cannot be reached, or not be heard.
    partition: (u64, Course),
    compared: u64,
    refunded: u64,
}

impl<T: AsyncStorage<TokenBucket>> History<T> {
    pub(crate) fn new(
        seed: u64,
        promise: Promise,
        wrap: impl FnOnce(&Manual, Store, Store, &mut Option<Breaker>) -> T,
    ) -> Self {
        let runtime = Manual::new();
        let (faulty, fallback) = (Store::for_keys(8, &runtime), Store::for_keys(8, &runtime));
        let mut breaker = None;
        let storage = wrap(&runtime, faulty.clone(), fallback.clone(), &mut breaker);
        Self {
            runtime,
            faulty,
            fallback,
            breaker,
            limits: AsyncLimiter::new(limit(), storage),
            promise,
            dice: Dice(seed),
            ledger: Ledger::default(),
            admitted: Vec::new(),
            on_their_way: Vec::new(),
            partition: (0, WELL),
            compared: 0,
            refunded: 0,
        }
    }

    pub(crate) fn live(mut self, sums: &mut Sums) {
        for _ in 0..16 {
            let courses: Vec<_> = (0..4).map(|_| self.course()).collect();
            self.faulty.next(&courses);
            // The fallback is near: it fails, but takes no time.
            let is_well = self.dice.below(8) > 0;
            let fails = [before(ErrorKind::Unavailable), after(ErrorKind::Timeout)];
            let course = if is_well { WELL } else { fails[self.dice.below(2) as usize] };
            self.fallback.next(&[course]);
            self.step();
        }
        while let Some((reply, kind)) = self.on_their_way.pop() {
            let answer = self.runtime.run(reply).unwrap();
            self.note(kind, answer);
        }
        self.runtime.advance(SECOND);
        self.settle();
        sums.asked += self.ledger.asked;
        sums.compared += self.compared;
        sums.by_store += u64::from(self.faulty.admitted());
        sums.by_fallback += u64::from(self.fallback.admitted());
        sums.mirrored += u64::from(self.fallback.charged());
        sums.merged += u64::from(self.faulty.charged());
        sums.refunded += self.refunded;
    }

    /// How a call of the store goes.
    fn course(&mut self) -> Course {
        match &mut self.partition {
            (0, _) => self.dice.course(),
            (left, course) => {
                *left -= 1;
                *course
            }
        }
    }

    fn step(&mut self) {
        if self.dice.below(12) == 0 {
            return self.hear();
        }
        // An open breaker never lets a new call touch the store; but who waits for what is merged carries on
        // a call from before.
        let (open, calls) = (self.is_open(), self.faulty.calls());
        let carries_on = self.promise.merges && !self.on_their_way.is_empty();
        self.begin();
        if open.is_some() && open == self.is_open() && !carries_on {
            assert_eq!(self.faulty.calls(), calls);
        }
    }

    fn is_open(&self) -> Option<BreakerState> {
        let state = self.breaker.as_ref()?.state();
        matches!(state, BreakerState::Open(until) if self.runtime.now() < until).then_some(state)
    }

    fn begin(&mut self) {
        match self.dice.below(22) {
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
                if self.dice.below(2) == 0 { self.faulty.restart() } else { self.fallback.restart() }
            }
            14 => {
                let peeked = self.limits.peek("key", 1);
                self.ledger.asked += 1;
                let kind = self.within_deadline(peeked).err().map(|it| it.kind());
                assert_ne!(kind, Some(ErrorKind::Other));
            }
            15 => {
                let lost = Course { takes: [MILLI, 100 * SECOND], ..WELL };
                let course = if self.dice.below(2) == 0 { before(ErrorKind::Unavailable) } else { lost };
                self.partition = (4 * (1 + self.dice.below(4)), course);
            }
            16 | 17 => self.check_together(),
            _ => self.runtime.advance(MILLI * self.dice.below(12_000) as u32),
        }
    }

    /// How often the stores were called.
    fn calls(&self) -> (u32, u32) {
        (self.faulty.calls(), self.fallback.calls())
    }

    fn check(&mut self) {
        let before = self.calls();
        let mut reply = self.limits.check("key");
        if let (Reply::Ready(Some(Ok(told))), true) = (&mut reply, before == self.calls()) {
            assert_eq!(told.origin(), Origin::DenyCache);
            let told = *told;
            self.compare(&["key"], &[told]);
        }
        self.ask(reply, Kind::Check);
    }

    /// One of two keys, the other of which is charged in no other way.
    fn check_together(&mut self) {
        let before = self.calls();
        let keys = ["key", "other"];
        let mut reply = self.limits.storage().check_together(&limit(), &[&keys[0], &keys[1]], &Hit::new(1));
        if let (Reply::Ready(Some(Ok(MultiKeyReply::Atomic(told)))), true) =
            (&mut reply, before == self.calls())
        {
            let told = told.clone();
            self.compare(&keys, &told);
        }
        // The first of them that denies, or the first one's admission.
        let one = |told: Result<MultiKeyReply<Decision>, BackendError>| match told? {
            MultiKeyReply::Atomic(told) => Ok(*told.iter().find(|it| !it.is_allowed()).unwrap_or(&told[0])),
            told => panic!("a store in memory can: {told:?}"),
        };
        let reply = match reply {
            Reply::Ready(told) => Reply::Ready(told.map(one)),
            Reply::Pending(told) => Reply::pending(async move { one(told.await) }),
        };
        self.ask(reply, Kind::Check);
    }

    /// A denial that was told without asking must be what a store would say, or less to wait.
    fn compare(&mut self, keys: &[&str], told: &[Decision]) {
        assert!(told.iter().any(|it| !it.is_allowed()), "nothing else is known");
        if self.may_give_back() {
            return;
        }
        for (key, told) in keys.iter().zip(told) {
            let Some(told) = told.retry_after() else { continue };
            self.compared += 1;
            let truths = [&self.faulty, &self.fallback]
                .map(|store| self.runtime.run(store.honest(limit()).peek(*key, 1)).unwrap().unwrap());
            let holds = truths.iter().any(|it| it.retry_after().is_some_and(|wait| told <= wait));
            assert!(holds, "{told:?} {truths:?}");
        }
    }

    /// Whether something that is on its way, or of which nothing is known, may give back.
    fn may_give_back(&self) -> bool {
        self.ledger.is_doubtful || self.on_their_way.iter().any(|(_, kind)| *kind != Kind::Check)
    }

    fn refund(&mut self) {
        let Some(admitted) = self.admitted.pop() else { return };
        self.ledger.refunds += 1;
        let before = self.left();
        let mut reply = self.limits.refund("key", 1, admitted.receipt);
        match pin!(&mut reply).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => {
                self.ledger.asked += 1;
                self.see_refund(&admitted, before, &answer);
                self.note(Kind::Refund, answer);
            }
            Poll::Pending => self.ask(reply, Kind::Refund),
        }
    }

    /// The remaining cost in each store of a limit so wide that all use is seen.
    fn left(&self) -> [u32; 2] {
        let of = |store: &Store, limit: TokenBucket| {
            let peeked = store.honest(limit.burst(1_000).unwrap()).peek("key", 0);
            self.runtime.run(peeked).unwrap().unwrap().remaining()
        };
        [of(&self.faulty, limit()), of(&self.fallback, self.promise.share())]
    }

    /// A refund gives back one to whom it was taken from, less what has drained or was forgotten since; and
    /// nothing to the other.
    fn see_refund(&mut self, admitted: &Admitted, before: [u32; 2], answer: &Result<Decision, BackendError>) {
        let after = self.left();
        let [own, other] = if admitted.by_fallback { [1, 0] } else { [0, 1] };
        assert_eq!(after[other], before[other], "it took nothing");
        let back = after[own] - before[own];
        let is_done = answer.as_ref().map_or_else(|it| it.kind() == ErrorKind::Timeout, |_| true);
        assert!(back <= u32::from(is_done), "{back} {answer:?}");
        let is_whole =
            admitted.receipt.at() == self.runtime.now() && admitted.given_back == self.ledger.given_back;
        if is_whole && answer.is_ok() && !self.may_give_back() {
            assert_eq!(back, 1);
            self.refunded += 1;
        }
    }

    /// Awaits an answer, or leaves it on its way.
    fn ask(&mut self, mut reply: Reply<Decision>, kind: Kind) {
        self.ledger.asked += 1;
        if matches!(reply, Reply::Pending(_)) && self.dice.below(3) == 0 {
            let polled = pin!(&mut reply).poll(&mut Context::from_waker(Waker::noop()));
            match polled {
                Poll::Ready(answer) => self.note(kind, answer),
                Poll::Pending => self.on_their_way.push((reply, kind)),
            }
            return;
        }
        let answer = self.within_deadline(reply);
        self.note(kind, answer);
    }

    fn within_deadline(&self, reply: Reply<Decision>) -> Result<Decision, BackendError> {
        let (began, before) = (self.runtime.now(), self.faulty.calls());
        let answer = self.runtime.run(reply).unwrap();
        let took = self.runtime.now().since(began);
        assert!(took <= self.promise.deadline, "{took:?}");
        let calls = self.faulty.calls() - before;
        assert!(calls <= self.promise.attempts, "{calls} calls");
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
            self.note(kind, Err(BackendError::new(ErrorKind::Timeout, "dropped")));
        }
    }

    fn note(&mut self, kind: Kind, answer: Result<Decision, BackendError>) {
        let is_unknown = answer.as_ref().is_err_and(|it| it.kind() == ErrorKind::Timeout);
        match (kind, answer) {
            (Kind::Check, Ok(decision)) if decision.is_allowed() => {
                self.ledger.admitted += 1;
                self.admitted.push(Admitted {
                    receipt: decision.receipt(),
                    by_fallback: decision.origin() == Origin::Fallback,
                    given_back: self.ledger.given_back,
                });
            }
            (Kind::Check, Ok(_)) => self.ledger.denied += 1,
            (Kind::Check, Err(_)) if is_unknown => self.ledger.unknown += 1,
            (Kind::Check, Err(failure)) => {
                assert!(matches!(failure.kind(), ErrorKind::Unavailable | ErrorKind::Contended));
            }
            _ => {
                self.ledger.given_back += 1;
                self.ledger.is_doubtful |= is_unknown || self.promise.charges > 1;
            }
        }
    }

    /// Checks the promises about a history as a whole.
    fn settle(&self) {
        let Ledger { admitted, denied, unknown, refunds, restarts, .. } = self.ledger;
        let charged = self.faulty.admitted() + self.fallback.admitted();
        assert!(admitted <= charged, "a charge was lost: {admitted} told, {charged} charged");
        let times = self.promise.charges;
        let most = times * (admitted + unknown) + (times - 1) * denied;
        assert!(charged <= most, "a charge was doubled: {charged}, and at most {most} are explained");
        let elapsed = self.runtime.now().as_micros() / 10_000_000;
        for (store, shares) in [(&self.faulty, 1), (&self.fallback, self.promise.shares)] {
            let bound = 4 / shares * (1 + restarts * times) + refunds * times + elapsed as u32 / shares;
            assert!(store.admitted() <= bound, "{} above {bound}", store.admitted());
        }
        // A charge of one side is merged into the other once, if at all.
        let most = |is_told: bool, other: &Store| if is_told { other.taken() } else { 0 };
        assert!(self.faulty.charged() <= most(self.promise.merges, &self.fallback));
        assert!(self.fallback.charged() <= most(self.promise.mirrors, &self.faulty));
    }
}
