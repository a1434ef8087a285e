//! Random histories of a storage of three nodes that are in trouble one at a time, each beside stores that
//! hold the expected counts: keys of the other nodes are answered as if nothing had happened, and the outcome
//! of every hit on the node in trouble is known to the unit.

use std::collections::BTreeMap;
use std::sync::Arc;

use traffik::layer::{Backoff, Breaker, BreakerState, CircuitBreaker, Failover, Retry, Timeout};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, Local, Reply};
use traffik::{AsyncLimiter, Decision, ErrorKind, Hit, Memory, Op, Origin, Strategy, Timestamp, TokenBucket};

use traffik_test_support::faulty::{self, Faulty, MILLI, SECOND, WELL, copied};
use traffik_test_support::sharded::Sharded;

use super::ATTEMPT;
use super::history::{Dice, Store, limit};
use super::trouble::{Call, Trouble};

type Truth = faulty::Store<TokenBucket>;

const NODES: usize = 3;
const KEYS: usize = 2;

/// The layers around the nodes and their deadline.
#[derive(Clone, Copy, Default)]
struct Layers {
    retries: bool,
    /// Whether a fallback decides, and on unknown outcomes, too.
    fallback: bool,
    after_timeouts: bool,
    merges: bool,
}

/// The hits on one key, by what became of them.
#[derive(Default)]
struct Account {
    by_store: u32,
    by_fallback: u32,
    /// Admitted by a copy that was thrown away.
    thrown: u32,
    /// Charged by calls that were not answered.
    unknown: u32,
    /// Admitted by the fallback and to be merged: from when on each does not count any more.
    owed: Vec<Timestamp>,
}

/// The parts that layers are put around.
struct Parts {
    runtime: Manual,
    store: Sharded<TokenBucket>,
    fallback: Store,
    breaker: Breaker,
}

struct Life<T> {
    layers: Layers,
    parts: Parts,
    limits: AsyncLimiter<TokenBucket, T>,
    /// The counts of the nodes and of the fallback if all is right.
    truths: [Truth; NODES],
    fallback_truth: Truth,
    keys: [Vec<u64>; NODES],
    accounts: BTreeMap<u64, Account>,
    trouble: Option<(usize, Trouble)>,
    /// The copy that a demoted node writes to.
    copy: Option<Truth>,
    is_away: [bool; NODES],
    dice: Dice,
}

/// The sums of all lives.
#[derive(Debug, Default)]
struct Seen {
    /// Checks of keys on nodes that never were in trouble.
    untroubled: u32,
    /// Checks on nodes in each kind of trouble.
    troubled: [u32; Trouble::ALL.len()],
    by_fallback: u32,
    merged: u32,
    thrown: u32,
}

fn truth(runtime: &Manual) -> Truth {
    Local(Arc::new(Memory::builder().capacity(16).clock(runtime.clone()).build()))
}

fn decide(truth: &Truth, key: u64, op: Op<TokenBucket>) -> Decision {
    match truth.apply(&limit(), &key, &op) {
        Reply::Ready(Some(Ok(decision))) => decision,
        told => panic!("memory answers at once: {told:?}"),
    }
}

/// A decision, but for where it came from and the receipt.
fn figures(it: &Decision) -> impl PartialEq + std::fmt::Debug + use<> {
    (it.outcome(), it.limit(), it.remaining(), it.reset_after())
}

impl<T: AsyncStorage<TokenBucket>> Life<T> {
    fn new(seed: u64, layers: Layers, wrap: impl FnOnce(&Parts) -> T) -> Self {
        let runtime = Manual::new();
        let breaker =
            Breaker::builder("store").clock(runtime.clone()).seed(seed).failures(2).build().unwrap();
        let (store, fallback) = (Sharded::for_keys(NODES, 8, &runtime), Faulty::for_keys(16, &runtime));
        let keys = std::array::from_fn(|at| store.keys(at).take(KEYS).collect());
        let parts = Parts { runtime, store, fallback, breaker };
        Self {
            layers,
            limits: AsyncLimiter::new(limit(), wrap(&parts)),
            truths: std::array::from_fn(|_| truth(&parts.runtime)),
            fallback_truth: truth(&parts.runtime),
            keys,
            accounts: BTreeMap::new(),
            trouble: None,
            copy: None,
            is_away: [false; NODES],
            dice: Dice(seed),
            parts,
        }
    }

    fn live(mut self, seen: &mut Seen) {
        let mut were_troubled = [false; NODES];
        for _ in 0..24 {
            self.turn(&mut were_troubled);
            let wait = if self.dice.below(8) == 0 { SECOND * 9 } else { MILLI * 300 };
            self.parts.runtime.advance(wait * self.dice.below(3) as u32);
            let at = self.dice.below(NODES as u64) as usize;
            let key = self.keys[at][self.dice.below(KEYS as u64) as usize];
            if were_troubled[at] {
                self.ask(at, key, seen);
            } else {
                self.ask_untroubled(at, key);
                seen.untroubled += 1;
            }
        }
        self.settle(seen);
    }

    /// A node gets into trouble, or out of it.
    fn turn(&mut self, were_troubled: &mut [bool; NODES]) {
        match self.trouble {
            None if self.dice.below(3) == 0 => {
                let at = self.dice.below(NODES as u64) as usize;
                let trouble = Trouble::ALL[self.dice.below(Trouble::ALL.len() as u64) as usize];
                if trouble == Trouble::Demoted {
                    self.copy = Some(copied(&self.truths[at], &self.parts.runtime));
                }
                trouble.befall(&self.parts.store.at(at));
                self.trouble = Some((at, trouble));
                were_troubled[at] = true;
            }
            Some((at, trouble)) if trouble != Trouble::IdleClose && self.dice.below(8) == 0 => {
                self.parts.store.at(at).always(WELL);
                self.parts.store.at(at).promote();
                (self.trouble, self.copy) = (None, None);
            }
            _ => {}
        }
    }

    /// A key of a node that never was in trouble: one call, at once, and what it would be told without
    /// layers.
    fn ask_untroubled(&mut self, at: usize, key: u64) {
        let (calls, now) = (self.parts.store.at(at).calls(), self.parts.runtime.now());
        let told = self.parts.runtime.run(self.limits.check(&key)).unwrap().unwrap();
        let expected = decide(&self.truths[at], key, Op::Check(Hit::new(1)));
        assert_eq!((figures(&told), told.origin()), (figures(&expected), Origin::Store));
        assert_eq!((self.parts.store.at(at).calls() - calls, self.parts.runtime.now()), (1, now));
        self.account(key).by_store += u32::from(told.is_allowed());
    }

    fn account(&mut self, key: u64) -> &mut Account {
        self.accounts.entry(key).or_default()
    }

    /// The store that a node writes to if all is right.
    fn written(&self, at: usize) -> &Truth {
        let is_copy = self.trouble == Some((at, Trouble::Demoted));
        self.copy.as_ref().filter(|_| is_copy).unwrap_or(&self.truths[at])
    }

    /// Foretells the next call of a node, through the layers below a fallback.
    fn next_call(&self, at: usize, changes: bool) -> Call {
        let name = format!("node {at}");
        let state = self.parts.breaker.nodes().into_iter().find(|(node, ..)| node.as_deref() == Some(&name));
        if let Some((_, BreakerState::Open(until), _)) = state
            && self.parts.runtime.now() < until
        {
            return Call::Fails;
        }
        match self.trouble {
            Some((troubled, trouble)) if troubled == at => trouble.call(changes, self.layers.retries),
            _ => Call::Well,
        }
    }

    /// A key of a node that is in trouble, or was.
    fn ask(&mut self, at: usize, key: u64, seen: &mut Seen) {
        let began = self.parts.runtime.now();
        let is_peek = self.dice.below(5) == 0;
        let op = if is_peek { Op::Peek(Hit::new(1)) } else { Op::Check(Hit::new(1)) };
        let owed = &mut self.account(key).owed;
        owed.retain(|over| *over > began);
        if owed.iter().any(|over| *over <= began + SECOND) {
            // It may be over before a call that is tried again.
            return;
        }
        let owes = !owed.is_empty();
        // A due merge is charged before the primary is asked.
        let mut goes = self.next_call(at, !is_peek || owes);
        let (is_closed, calls) =
            (self.trouble == Some((at, Trouble::IdleClose)), self.parts.store.at(at).calls());
        if goes == Call::Hangs {
            self.hang(at, key, op, owes);
        }
        let reply = self.limits.storage().apply(&limit(), &key, &op);
        let answer = self.parts.runtime.run(reply).unwrap();
        if is_closed && self.parts.store.at(at).calls() > calls {
            // It was found out.
            self.trouble = None;
        }
        if let Some((troubled, trouble)) = self.trouble
            && troubled == at
        {
            seen.troubled[Trouble::ALL.iter().position(|it| *it == trouble).unwrap()] += 1;
        } else if is_closed {
            seen.troubled[3] += 1;
        }
        if goes == Call::Well && owes {
            let owed = std::mem::take(&mut self.account(key).owed).len() as u32;
            let _ = decide(self.written(at), key, Op::Charge(Hit::new(owed)));
            seen.merged += owed;
            self.is_away[at] = false;
            // The first charge found that it is well, but it may spare what only reads.
            goes = self.next_call(at, !is_peek);
        }
        let is_demoted = self.trouble == Some((at, Trouble::Demoted));
        match (goes, answer) {
            (Call::Well, Ok(told)) => {
                let expected = decide(self.written(at), key, op);
                assert_eq!((figures(&told), told.origin()), (figures(&expected), Origin::Store));
                self.is_away[at] = false;
                let counts = u32::from(told.is_allowed() && !is_peek);
                let account = self.account(key);
                account.by_store += counts;
                account.thrown += if is_demoted { counts } else { 0 };
            }
            (Call::Fails | Call::Hangs, answer) => {
                let is_unknown = goes == Call::Hangs && !is_peek && !owes;
                if !self.layers.fallback || (is_unknown && !self.layers.after_timeouts) {
                    let kind = if is_unknown { ErrorKind::Timeout } else { ErrorKind::Unavailable };
                    assert_eq!(answer.unwrap_err().kind(), kind);
                    return;
                }
                let told = answer.unwrap();
                let expected = decide(&self.fallback_truth, key, op);
                assert_eq!((figures(&told), told.origin()), (figures(&expected), Origin::Fallback));
                self.is_away[at] = true;
                if told.is_allowed() && !is_peek {
                    let over = self.parts.runtime.now().plus_micros(limit().max_ttl());
                    let merges = self.layers.merges && !is_unknown;
                    let account = self.account(key);
                    account.by_fallback += 1;
                    account.owed.extend(merges.then_some(over));
                    seen.by_fallback += 1;
                }
            }
            (Call::Well, Err(failure)) => panic!("node {at} is well: {failure}"),
        }
    }

    /// The effect of a call that takes effect and is not answered.
    fn hang(&mut self, at: usize, key: u64, op: Op<TokenBucket>, owes: bool) {
        if owes {
            // Whatever was sent may have been charged, and is not sent again.
            let is_away = self.is_away[at];
            let owed = &mut self.account(key).owed;
            let sent = if is_away { 1 } else { owed.len() };
            owed.truncate(owed.len() - sent);
            let _ = decide(&self.truths[at], key, Op::Charge(Hit::new(sent as u32)));
        } else {
            let counts = decide(&self.truths[at], key, op).is_allowed();
            self.account(key).unknown += u32::from(counts);
        }
    }

    /// Compares in the end: every node, and the fallback, has counted what it must have, and what was
    /// admitted beyond the bound is what a copy took that was thrown away.
    fn settle(&mut self, seen: &mut Seen) {
        let left = |store: &Truth, key| figures(&decide(store, key, Op::Peek(Hit::new(0))));
        let elapsed = (self.parts.runtime.now().as_micros() / 10_000_000) as u32;
        for at in 0..NODES {
            let node = self.parts.store.at(at);
            node.promote();
            let mut admitted = 0;
            for key in &self.keys[at] {
                assert_eq!(left(&node.store, *key), left(&self.truths[at], *key), "key {key} of node {at}");
                assert_eq!(left(&self.parts.fallback.store, *key), left(&self.fallback_truth, *key));
                let Some(account) = self.accounts.get(key) else { continue };
                let Account { by_store, by_fallback, thrown, unknown, .. } = account;
                assert!(
                    by_store + unknown <= 4 + elapsed + thrown,
                    "{by_store} {unknown} {thrown} {elapsed}"
                );
                assert!(*by_fallback <= 4 + elapsed);
                admitted += by_store + unknown;
                seen.thrown += thrown;
            }
            assert_eq!(node.admitted(), admitted, "told or unknown");
        }
    }
}

fn lives<T: AsyncStorage<TokenBucket>>(layers: Layers, wrap: impl Fn(&Parts) -> T) -> Seen {
    let mut seen = Seen::default();
    for seed in 0..super::HISTORIES / 4 {
        Life::new(seed, layers, &wrap).live(&mut seen);
    }
    let many = (super::HISTORIES / 50) as u32;
    assert!(
        seen.untroubled > many && seen.thrown > many && seen.troubled.iter().all(|it| *it > many),
        "{seen:?}"
    );
    assert_eq!((seen.by_fallback > many, seen.merged > many), (layers.fallback, layers.merges), "{seen:?}");
    seen
}

type Timed = Timeout<Sharded<TokenBucket>, Manual>;

fn timed(it: &Parts) -> Timed {
    Timeout::new(it.store.clone(), it.runtime.clone(), ATTEMPT)
}

fn asked_again(it: &Parts) -> CircuitBreaker<Retry<Timed, Manual>> {
    let backoff = Backoff::constant(MILLI * 10).without_jitter();
    let builder = Retry::builder(timed(it), it.runtime.clone()).clock(it.runtime.clone());
    CircuitBreaker::new(builder.backoff(backoff).build().unwrap(), &it.breaker)
}

#[test]
fn a_circuit_breaker_over_nodes() {
    let _ = lives(Layers::default(), |it| CircuitBreaker::new(timed(it), &it.breaker));
}

#[test]
fn a_circuit_breaker_over_nodes_that_are_asked_again() {
    let _ = lives(Layers { retries: true, ..Layers::default() }, asked_again);
}

#[test]
fn a_failover_over_nodes_that_merges() {
    let layers = Layers { retries: true, fallback: true, merges: true, after_timeouts: false };
    let _ = lives(layers, |it| {
        let builder = Failover::builder(asked_again(it), it.fallback.clone());
        builder.clock(it.runtime.clone()).merge().build()
    });
}

#[test]
fn a_failover_over_nodes_that_decides_on_unknown_outcomes() {
    let layers = Layers { retries: true, fallback: true, merges: false, after_timeouts: true };
    let _ = lives(layers, |it| {
        let builder = Failover::builder(asked_again(it), it.fallback.clone());
        builder.clock(it.runtime.clone()).after_timeouts().build()
    });
}
