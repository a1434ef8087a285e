//! The duty towards threads, where the target has atomics that they can count by.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Direct, at_once};
use crate::laws::duties::{afresh, drain, one};
use crate::laws::{Held, expect};
use crate::{ErrorKind, Op, Storage, Strategy, Verdict};

/// Law 2: checks of one key at the same time admit exactly the limit. `race` runs what it is given many times
/// over on several threads at once, and returns when all are done:
///
/// ```
/// # use traffik::laws::{self, storage};
/// # use traffik::{Storage, Strategy};
/// # fn conforms<S: Strategy>(strategy: &S, mine: &(impl Storage<S> + Sync)) -> Result<(), laws::Broken> {
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
/// A check that fails with [`ErrorKind::Contended`] must not have been charged. A target without atomics to
/// count by has no threads either, and lacks this function.
pub fn racers_admit_the_limit<S: Strategy>(
    strategy: &S,
    storage: &(impl Storage<S> + Sync),
    race: impl FnOnce(&(dyn Fn() + Sync)),
) -> Held {
    const KEY: &[u8] = b"traffik law 2: raced for";
    let direct = Direct::new(strategy, storage);
    let (admits, now) = (at_once(afresh(strategy, &direct, KEY))?, direct.now.get());
    let (asked, admitted, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicBool::new(false));
    race(&|| {
        asked.store(true, Ordering::Relaxed);
        match storage.apply(strategy, KEY, &Op::Check(one::<S>()), now) {
            Ok(verdict) => {
                admitted.fetch_add(verdict.outcome().is_allowed().into(), Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Contended => {}
            Err(_) => failed.store(true, Ordering::Relaxed),
        }
    });
    expect(asked.into_inner(), 2, 0, "nobody raced: run what is given, on several threads")?;
    expect(!failed.into_inner(), 2, 0, "the storage failed in a race")?;
    let all = admitted.into_inner() + at_once(drain(&direct, KEY))?;
    expect(all == admits, 2, all, "checks at the same time did not admit exactly the limit")
}
