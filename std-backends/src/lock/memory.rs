//! The lock of one process.

use std::collections::btree_map::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::future::ready;
use std::sync::{Arc, Mutex};

use async_lock::Semaphore;
use traffik_core::storage::{BoxFuture, Reply};
use traffik_core::{Clock, Timestamp};

use super::{Grant, Lock, Owner, Ttl};
use crate::MonotonicClock;
use crate::util::mutex;

/// A lock for the tasks and threads of this process.
///
/// Choose it if no other process takes the same locks; else choose the lock of a store.
///
/// It answers at once, so dropping a [`LockGuard`](super::LockGuard) releases the lock. When the lock is
/// released, one waiter is woken: the one whose last attempt is the oldest. [`Locks`](super::Locks) tries
/// again after each wait of up to 64 ms, so it does not serve waiters in the order of their arrival. A lock
/// whose TTL is over is free for the next attempt.
///
/// It keeps nothing for a name that is neither held nor waited for. One counter gives the fencing tokens of
/// all names.
///
/// ```
/// use std::time::Duration;
/// use traffik::lock::{Lock, MemoryLock, Ttl};
/// use traffik::runtime::Manual;
///
/// let (lock, runtime) = (MemoryLock::new(), Manual::new());
/// let ttl = Ttl::new(Duration::from_secs(5))?;
/// let grant = runtime.run(lock.try_acquire(b"invoices/7", ttl))??;
/// assert!(grant.is_some() && lock.len() == 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemoryLock<C = MonotonicClock> {
    names: Arc<Mutex<Names>>,
    clock: C,
}

impl MemoryLock {
    /// Creates a lock whose TTLs end by a [`MonotonicClock`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(MonotonicClock::default())
    }
}

impl Default for MemoryLock {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock> MemoryLock<C> {
    /// Creates a lock whose TTLs end by this clock.
    pub fn with_clock(clock: C) -> Self {
        Self { names: Arc::default(), clock }
    }

    /// Returns the number of names that are held.
    pub fn len(&self) -> usize {
        self.with_current(|names, _| names.ends.len())
    }

    /// Returns whether no name is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the grants that are over by now, runs `act`, and then wakes one waiter for each vacated name.
    fn with_current<T>(&self, act: impl FnOnce(&mut Names, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut names = mutex::lock(&self.names);
        names.expire(now);
        let done = act(&mut names, now);
        let vacated = std::mem::take(&mut names.vacated);
        // Outside the lock: a woken task may run at once.
        drop(names);
        vacated.iter().for_each(|gate| gate.add_permits(1));
        done
    }
}

impl<C: Clock + Send + Sync> Lock for MemoryLock<C> {
    fn try_acquire(&self, name: &[u8], ttl: Ttl) -> Reply<Option<Grant>> {
        Reply::ready(Ok(self.with_current(|names, now| names.acquire(name, now + ttl.get()))))
    }

    fn renew(&self, grant: &Grant, ttl: Ttl) -> Reply<bool> {
        Reply::ready(Ok(self.with_current(|names, now| names.renew(grant, now + ttl.get()))))
    }

    fn release(&self, grant: Grant) -> Reply<bool> {
        Reply::ready(Ok(self.with_current(|names, _| names.release(&grant))))
    }

    fn vacated(&self, name: &[u8]) -> BoxFuture<'static, ()> {
        let Some((name, gate)) = self.with_current(|names, _| names.wait(name)) else {
            return Box::pin(ready(()));
        };
        let waiting = NameWaiter { names: Arc::clone(&self.names), name };
        Box::pin(async move {
            // A permit that is not forgotten would let the next waiter through as well.
            gate.acquire_arc().await.forget();
            drop(waiting);
        })
    }
}

/// The names that are held or waited for.
///
/// Invariant: each held name is in `ends` once, under the end and the fencing token of its lease.
#[derive(Debug, Default)]
struct Names {
    entries: HashMap<Arc<[u8]>, Name>,
    /// The held names by the end of their lease and its fencing token, the next to end first.
    ends: BTreeMap<(Timestamp, u64), Arc<[u8]>>,
    /// The last fencing token.
    fencing: u64,
    /// The gates of names that were just vacated and have waiters.
    vacated: Vec<Arc<Semaphore>>,
}

/// The holder and the waiters of a name.
#[derive(Debug, Default)]
struct Name {
    lease: Option<Lease>,
    /// The number of waiters.
    waiting: usize,
    /// The gate of the waiters: one permit for each time the name was vacated.
    gate: Option<Arc<Semaphore>>,
}

/// A grant and its end.
#[derive(Debug)]
struct Lease {
    grant: Grant,
    end: Timestamp,
}

impl Names {
    fn acquire(&mut self, name: &[u8], end: Timestamp) -> Option<Grant> {
        let name: Arc<[u8]> = name.into();
        let entry = self.entries.entry(Arc::clone(&name)).or_default();
        if entry.lease.is_some() {
            return None;
        }
        // One counter for all names, so that a name may be forgotten and its tokens still grow.
        self.fencing += 1;
        let grant = Grant::new(Arc::clone(&name), Owner::random(), self.fencing);
        entry.lease = Some(Lease { grant: grant.clone(), end });
        self.ends.insert((end, self.fencing), name);
        Some(grant)
    }

    fn renew(&mut self, grant: &Grant, end: Timestamp) -> bool {
        let Some(lease) = self.lease(grant) else { return false };
        let before = std::mem::replace(&mut lease.end, end);
        if let Some(name) = self.ends.remove(&(before, grant.fencing())) {
            self.ends.insert((end, grant.fencing()), name);
        }
        true
    }

    fn release(&mut self, grant: &Grant) -> bool {
        let Some(end) = self.lease(grant).map(|lease| lease.end) else { return false };
        self.ends.remove(&(end, grant.fencing()));
        // Ends the lease before any new one can be granted, under the same lock.
        self.vacate(grant.name().into());
        true
    }

    /// Returns the lease if this very grant holds its name.
    fn lease(&mut self, grant: &Grant) -> Option<&mut Lease> {
        self.entries.get_mut(grant.name())?.lease.as_mut().filter(|lease| lease.grant == *grant)
    }

    /// Ends all leases that are over.
    fn expire(&mut self, now: Timestamp) {
        while let Some(first) = self.ends.first_entry()
            && first.key().0 <= now
        {
            let name = first.remove();
            self.vacate(name);
        }
    }

    fn vacate(&mut self, name: Arc<[u8]>) {
        if let Entry::Occupied(mut entry) = self.entries.entry(name) {
            entry.get_mut().lease = None;
            match &entry.get().gate {
                // The name stays as long as somebody waits, so that its gate is found again.
                Some(gate) if entry.get().waiting > 0 => self.vacated.push(Arc::clone(gate)),
                _ => drop(entry.remove()),
            }
        }
    }

    /// Joins the waiters of a name. Returns `None` if nobody holds it.
    fn wait(&mut self, name: &[u8]) -> Option<(Arc<[u8]>, Arc<Semaphore>)> {
        let entry = self.entries.get_mut(name)?;
        entry.lease.as_ref()?;
        // Counted under the lock that `vacate` runs under: no wake-up is lost in between.
        entry.waiting += 1;
        let gate = entry.gate.get_or_insert_with(|| Arc::new(Semaphore::new(0)));
        Some((name.into(), Arc::clone(gate)))
    }
}

/// A waiter for a name, until it is dropped.
struct NameWaiter {
    names: Arc<Mutex<Names>>,
    name: Arc<[u8]>,
}

impl Drop for NameWaiter {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = mutex::lock(&self.names).entries.entry(Arc::clone(&self.name)) {
            let name = entry.get_mut();
            name.waiting = name.waiting.saturating_sub(1);
            if name.waiting == 0 {
                // Nobody is left whom its permits could let through.
                name.gate = None;
                if name.lease.is_none() {
                    entry.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use traffik_core::ManualClock;

    fn ttl(seconds: u64) -> Ttl {
        Ttl::new(Duration::from_secs(seconds)).unwrap()
    }

    fn answer<T>(reply: Reply<T>) -> T {
        match reply {
            Reply::Ready(Some(answer)) => answer.unwrap(),
            _ => unreachable!("a lock of this process answers at once"),
        }
    }

    fn is_ready(future: &mut BoxFuture<'static, ()>) -> bool {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_name_is_granted_to_one_at_a_time() {
        let lock = MemoryLock::new();
        let take = |name: &[u8]| answer(lock.try_acquire(name, ttl(5)));
        let first = take(b"name").unwrap();
        assert_eq!(take(b"name"), None);
        let others = [&b""[..], b"nam", b"name\0", b"name ", b"\r\n"].map(|name| take(name).unwrap());
        assert_eq!(lock.len(), 6);
        assert!(answer(lock.release(first)));
        assert!(others.into_iter().all(|grant| answer(lock.release(grant))));
        assert!(lock.is_empty());
    }

    #[test]
    fn fencing_tokens_grow_with_every_grant() {
        let lock = MemoryLock::new();
        let mut last = 0;
        for name in ["a", "b", "a", "a", "c", "b"] {
            let grant = answer(lock.try_acquire(name.as_bytes(), ttl(5))).unwrap();
            assert!(grant.fencing() > last);
            last = grant.fencing();
            answer(lock.release(grant));
        }
    }

    #[test]
    fn a_grant_ends_with_its_ttl_and_not_a_microsecond_sooner() {
        let clock = ManualClock::default();
        let lock = MemoryLock::with_clock(&clock);
        let first = answer(lock.try_acquire(b"name", ttl(5))).unwrap();
        clock.advance(Duration::from_micros(4_999_999));
        assert_eq!(answer(lock.try_acquire(b"name", ttl(5))), None);
        clock.advance(Duration::from_micros(1));
        let second = answer(lock.try_acquire(b"name", ttl(5))).unwrap();
        assert!(second.fencing() > first.fencing());
        assert!(!answer(lock.renew(&first, ttl(5))), "it is somebody else's by now");
        assert!(!answer(lock.release(first)));
        assert!(answer(lock.release(second)));
    }

    #[test]
    fn a_renewed_grant_lasts_from_then_on() {
        let clock = ManualClock::default();
        let lock = MemoryLock::with_clock(&clock);
        let grant = answer(lock.try_acquire(b"name", ttl(5))).unwrap();
        for _ in 0..3 {
            clock.advance(Duration::from_secs(4));
            assert!(answer(lock.renew(&grant, ttl(5))));
        }
        clock.advance(Duration::from_secs(4));
        assert_eq!(answer(lock.try_acquire(b"name", ttl(5))), None);
        clock.advance(Duration::from_secs(1));
        assert!(!answer(lock.renew(&grant, ttl(5))), "it has ended");
        assert!(lock.is_empty());
    }

    #[test]
    fn only_the_owner_can_renew_or_release() {
        let lock = MemoryLock::new();
        let grant = answer(lock.try_acquire(b"name", ttl(5))).unwrap();
        let forged = Grant::new(&b"name"[..], Owner::random(), grant.fencing());
        assert!(!answer(lock.renew(&forged, ttl(500))));
        assert!(!answer(lock.release(forged)));
        assert!(answer(lock.release(grant.clone())));
        assert!(!answer(lock.release(grant)), "once is enough");
    }

    #[test]
    fn nothing_is_kept_of_names_that_are_not_held() {
        let clock = ManualClock::default();
        let lock = MemoryLock::with_clock(&clock);
        let kept = || mutex::lock(&lock.names).entries.len();
        for name in 0..1_000u32 {
            drop(answer(lock.try_acquire(&name.to_le_bytes(), ttl(5))).unwrap());
        }
        assert_eq!((lock.len(), kept()), (1_000, 1_000), "their holders died");
        let mut abandoned = lock.vacated(&7u32.to_le_bytes());
        assert!(!is_ready(&mut abandoned));
        clock.advance(Duration::from_secs(5));
        assert!(lock.is_empty());
        assert_eq!(kept(), 1, "somebody waits for one of them");
        drop(abandoned);
        assert_eq!(kept(), 0);
        let grant = answer(lock.try_acquire(b"name", ttl(5))).unwrap();
        drop(lock.vacated(b"name"));
        assert!(mutex::lock(&lock.names).entries[&b"name"[..]].gate.is_none());
        assert!(answer(lock.release(grant)));
        assert_eq!(kept(), 0);
    }

    #[test]
    fn those_who_wait_are_woken_one_by_one_in_their_order() {
        let lock = MemoryLock::new();
        assert!(is_ready(&mut lock.vacated(b"name")), "it is free");
        let mut grant = answer(lock.try_acquire(b"name", ttl(5))).unwrap();
        let mut waiting: Vec<_> = (0..4).map(|_| lock.vacated(b"name")).collect();
        assert!(!waiting.iter_mut().any(is_ready));
        drop(waiting.remove(1));
        while !waiting.is_empty() {
            answer(lock.release(grant));
            // The one whose turn it is took the lock before the others looked.
            assert!(is_ready(&mut waiting.remove(0)));
            grant = answer(lock.try_acquire(b"name", ttl(5))).unwrap();
            assert!(!waiting.iter_mut().any(is_ready));
        }
    }

    #[test]
    fn the_end_of_a_ttl_wakes_too_once_anybody_asks() {
        let clock = ManualClock::default();
        let lock = MemoryLock::with_clock(&clock);
        drop(answer(lock.try_acquire(b"name", ttl(5))).unwrap());
        let mut waiting = lock.vacated(b"name");
        assert!(!is_ready(&mut waiting));
        clock.advance(Duration::from_secs(5));
        drop(answer(lock.try_acquire(b"another", ttl(5))));
        assert!(is_ready(&mut waiting));
    }
}
