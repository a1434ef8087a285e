//! The duty of a storage under concurrent threads, for targets with the atomics that count them.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{SyncSubject, at_once};
use crate::laws::duties::{afresh, drain, one};
use crate::laws::{LawResult, expect};
use crate::{ErrorKind, Op, Storage, Strategy, Verdict};

/// Law 2: concurrent checks of one key admit exactly the limit.
///
/// `race` calls its argument many times on several threads at once, and returns when all calls are done:
///
/// ```
/// # use traffik::laws::{self, storage};
/// # use traffik::{Storage, Strategy};
/// # fn conforms<S: Strategy>(strategy: &S, mine: &(impl Storage<S> + Sync)) -> Result<(), laws::BrokenLaw> {
/// storage::racers_admit_the_limit(strategy, mine, |check| {
///     std::thread::scope(|scope| {
///         for _ in 0..4 {
///             scope.spawn(|| (0..100).for_each(|_| check()));
///         }
///     });
/// })
/// # }
/// ```
///
/// A check that fails with [`ErrorKind::Contended`] must not have been charged. Targets without atomics of
/// pointer size have no threads either, and lack this function.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn racers_admit_the_limit<S: Strategy>(
    strategy: &S,
    storage: &(impl Storage<S> + Sync),
    race: impl FnOnce(&(dyn Fn() + Sync)),
) -> LawResult {
    const KEY: &[u8] = b"traffik law 2: raced for";
    let direct = SyncSubject::new(strategy, storage);
    let (admits, now) = (at_once(afresh(strategy, &direct, KEY))?, direct.now.get());
    // Relaxed suffices: `race` returns only when all threads are done, which orders their counts before the
    // reads.
    let (called, admitted, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicBool::new(false));
    race(&|| {
        called.store(true, Ordering::Relaxed);
        match storage.apply(strategy, KEY, &Op::Check(one::<S>()), now) {
            Ok(verdict) => {
                admitted.fetch_add(verdict.outcome().is_allowed().into(), Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Contended => {}
            Err(_) => failed.store(true, Ordering::Relaxed),
        }
    });
    expect(called.into_inner(), 2, 0, "`race` did not call its argument; call it on several threads")?;
    expect(!failed.into_inner(), 2, 0, "the storage failed in a race")?;
    let all = admitted.into_inner() + at_once(drain(&direct, KEY))?;
    expect(all == admits, 2, all, "concurrent checks did not admit exactly the limit")
}
