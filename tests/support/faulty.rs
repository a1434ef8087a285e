//! A store that fails on demand and takes time on demand, in virtual time, and counts its calls.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, BackendError, Local, MultiKeyReply, Reply, WaitQueue};
use traffik::strategy::Cost;
use traffik::{AsyncLimiter, ErasedKey, ErrorKind, Hit, Memory, Op, Strategy, Timer, Timestamp, Verdict};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MILLI: Duration = Duration::from_millis(1);

/// How a call goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// The way there and the way back.
    pub takes: [Duration; 2],
    /// The kind of the failure, if the call fails.
    pub fails: Option<ErrorKind>,
    /// Whether it takes effect all the same.
    pub takes_effect: bool,
    /// Whether it goes well all the same if it changes nothing.
    pub spares_reads: bool,
}

/// It goes well.
pub const WELL: Course =
    Course { takes: [Duration::ZERO; 2], fails: None, takes_effect: true, spares_reads: false };

/// It cannot write, as a store that is out of memory or of disk.
pub const READ_ONLY: Course = Course { spares_reads: true, ..before(ErrorKind::Unavailable) };

/// It has no connection, and none is there by the end of the call.
pub const CONNECTING: Course =
    Course { takes: [MILLI.saturating_mul(20); 2], ..before(ErrorKind::Unavailable) };

/// It fails before it takes effect.
pub const fn before(kind: ErrorKind) -> Course {
    Course { fails: Some(kind), takes_effect: false, ..WELL }
}

/// It fails after it took effect.
pub const fn after(kind: ErrorKind) -> Course {
    Course { fails: Some(kind), ..WELL }
}

/// It takes so long there, and as long back.
pub const fn slow(each_way: Duration) -> Course {
    Course { takes: [each_way; 2], ..WELL }
}

pub type Store<S> = Local<Arc<Memory<S, Manual>>>;

/// A store whose calls take the courses that a test sets.
pub struct Faulty<S: Strategy> {
    pub store: Store<S>,
    copy: Copied<S>,
    runtime: Manual,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    calls: AtomicU32,
    admitted: AtomicU32,
    taken: AtomicU32,
    charged: AtomicU32,
    next: Mutex<(VecDeque<Course>, Option<Course>)>,
}

/// The stores of a node: the one that counts, and while it is demoted the copy that is written to.
type Copied<S> = Arc<Mutex<Option<Store<S>>>>;

impl<S: Strategy> Clone for Faulty<S> {
    fn clone(&self) -> Self {
        let (store, copy) = (self.store.clone(), Arc::clone(&self.copy));
        Self { store, copy, runtime: self.runtime.clone(), told: Arc::clone(&self.told) }
    }
}

impl<S: Strategy> Faulty<S> {
    pub fn new(runtime: &Manual) -> Self {
        Self::for_keys(256, runtime)
    }

    /// A store with room for so many keys: the fewer, the sooner it is made.
    pub fn for_keys(keys: usize, runtime: &Manual) -> Self {
        let store = Local(Arc::new(Memory::builder().capacity(keys).clock(runtime.clone()).build()));
        Self { store, copy: Arc::default(), runtime: runtime.clone(), told: Arc::default() }
    }

    /// The next calls go like this, and those after them well.
    pub fn next(&self, courses: &[Course]) {
        *self.told.next.lock().unwrap() = (courses.iter().copied().collect(), None);
    }

    /// All calls go like this.
    pub fn always(&self, course: Course) {
        *self.told.next.lock().unwrap() = (VecDeque::new(), Some(course));
    }

    /// How many calls there were.
    pub fn calls(&self) -> u32 {
        self.told.calls.load(Ordering::Relaxed)
    }

    /// How many checks the store has admitted, whatever became of the answers.
    pub fn admitted(&self) -> u32 {
        self.told.admitted.load(Ordering::Relaxed)
    }

    /// How many keys were charged by these checks.
    pub fn taken(&self) -> u32 {
        self.told.taken.load(Ordering::Relaxed)
    }

    /// With how much it was charged, whatever became of the answers.
    pub fn charged(&self) -> u32 {
        self.told.charged.load(Ordering::Relaxed)
    }

    /// The store forgets all.
    pub fn restart(&self) {
        self.store.0.clear();
    }

    /// From now on calls go to a copy of the store, as those of a client that has not heard of another
    /// master.
    pub fn demote(&self) {
        *self.copy.lock().unwrap() = Some(copied(&self.store, &self.runtime));
    }

    /// The copy is thrown away, with all that was written to it.
    pub fn promote(&self) {
        *self.copy.lock().unwrap() = None;
    }

    /// The store that calls go to.
    fn written(&self) -> Store<S> {
        self.copy.lock().unwrap().clone().unwrap_or_else(|| self.store.clone())
    }

    /// The store itself, which always answers.
    pub fn honest(&self, strategy: S) -> AsyncLimiter<S, Store<S>> {
        AsyncLimiter::new(strategy, self.store.clone())
    }

    fn call<A: Send + 'static>(
        &self,
        changes: bool,
        call: impl FnOnce(&Store<S>) -> Reply<A> + Send + 'static,
    ) -> Reply<A> {
        self.told.calls.fetch_add(1, Ordering::Relaxed);
        let course = {
            let mut next = self.told.next.lock().unwrap();
            let course = next.0.pop_front().or(next.1).unwrap_or(WELL);
            if course.spares_reads && !changes { WELL } else { course }
        };
        let answer = move |store: &Store<S>| {
            let answer = course.takes_effect.then(|| call(store));
            match (course.fails, answer) {
                (Some(kind), _) => Err(BackendError::new(kind, "the store fails on demand")),
                (None, Some(Reply::Ready(Some(answer)))) => answer,
                (None, _) => unreachable!("a local store answers at once"),
            }
        };
        let [there, back] = course.takes;
        if (there + back).is_zero() {
            return Reply::ready(answer(&self.written()));
        }
        // A call that is on its way arrives, although its caller may have left.
        let told = Arc::new(Mutex::new(None));
        let (heard, store, sleep) = (Arc::clone(&told), self.written(), self.runtime.sleep(there));
        traffik::runtime::Runtime::spawn(&self.runtime, async move {
            sleep.await;
            *heard.lock().unwrap() = Some(answer(&store));
        });
        let whole = self.runtime.sleep(there + back);
        let runtime = self.runtime.clone();
        Reply::pending(async move {
            whole.await;
            loop {
                if let Some(answer) = told.lock().unwrap().take() {
                    return answer;
                }
                // It arrives at this very moment.
                runtime.sleep(Duration::from_micros(1)).await;
            }
        })
    }
}

/// A copy of a store as it is now.
pub fn copied<S: Strategy>(store: &Store<S>, runtime: &Manual) -> Store<S> {
    let memory = Memory::builder().capacity(64).clock(runtime.clone()).restore(&store.0.snapshot()).unwrap();
    Local(Arc::new(memory))
}

pub(crate) fn bytes(key: &dyn ErasedKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.feed_to(&mut |piece| bytes.extend_from_slice(piece));
    bytes
}

impl<S: Strategy> AsyncStorage<S> for Faulty<S> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let (strategy, key, op) = (strategy.clone(), bytes(key), *op);
        let told = Arc::clone(&self.told);
        let changes = !matches!(op, Op::Peek(_));
        self.call(changes, move |store| {
            let reply = store.apply(&strategy, &key, &op);
            let is_admitted = matches!(&reply, Reply::Ready(Some(Ok(it))) if it.outcome().is_allowed());
            if is_admitted && matches!(op, Op::Check(_)) {
                told.admitted.fetch_add(1, Ordering::Relaxed);
                told.taken.fetch_add(1, Ordering::Relaxed);
            }
            if let Op::Charge(hit) = op {
                told.charged.fetch_add(hit.cost.largest(), Ordering::Relaxed);
            }
            reply
        })
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (strategy, key) = (strategy.clone(), bytes(key));
        self.call(false, move |store| store.load(&strategy, &key))
    }

    fn is_local(&self) -> bool {
        true
    }

    fn check_together(
        &self,
        strategy: &S,
        keys: &[&dyn ErasedKey],
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        let (strategy, keys, hit) =
            (strategy.clone(), keys.iter().map(|key| bytes(*key)).collect::<Vec<_>>(), *hit);
        let told = Arc::clone(&self.told);
        self.call(true, move |store| {
            let keys: Vec<_> = keys.iter().map(|key| key as &dyn ErasedKey).collect();
            let reply = store.check_together(&strategy, &keys, &hit);
            let is_admitted = matches!(&reply, Reply::Ready(Some(Ok(MultiKeyReply::Atomic(each))))
                if each.iter().all(Verdict::is_allowed));
            if is_admitted {
                told.admitted.fetch_add(1, Ordering::Relaxed);
                told.taken.fetch_add(keys.len() as u32, Ordering::Relaxed);
            }
            reply
        })
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        AsyncStorage::<S>::wait_queue(&self.store)
    }
}
