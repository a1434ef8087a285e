//! How operations are carried: load, run, swap, and again if others were faster.

use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::Failure;

use super::Swap;
use super::lane::Lane;
use crate::lock::random;

/// How often an operation is tried before it is given up.
pub(super) const ATTEMPTS: u32 = 32;

/// Carries the operations of a lane until there are none.
pub(super) async fn carry<W: Swap>(lane: Arc<Lane<W>>) {
    while lane.take_up() {
        if let Err(failure) = attempt(&lane).await {
            lane.fail(&failure);
        }
    }
}

/// Carries those in hand. Who comes once something has been loaded waits for the next load: a denial must not rest on what
/// was so before it was asked for.
async fn attempt<W: Swap>(lane: &Lane<W>) -> Result<(), Failure> {
    let store = &lane.lanes.store;
    let mut loaded = store.load(&lane.key).await?;
    for attempt in 1.. {
        let Some(change) = lane.run(&loaded) else { break };
        match store.swap(&lane.key, loaded.mark, change).await? {
            None => break,
            Some(changed) => loaded = changed,
        }
        lane.recall(ATTEMPTS);
        if !lane.has_carried() {
            return Ok(());
        }
        if let Some(wait) = wait_after(attempt) {
            store.pause(wait).await;
            lane.join();
            loaded = store.load(&lane.key).await?;
        }
    }
    lane.settle();
    Ok(())
}

/// How long to wait after so many attempts in vain, if at all: up to twice as long each time, so that those who met do
/// not meet again.
fn wait_after(attempts: u32) -> Option<Duration> {
    /// A round trip or two cost less than a wait.
    const AT_ONCE: u32 = 2;
    const FIRST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(16);
    let doublings = attempts.checked_sub(AT_ONCE + 1)?;
    let most = FIRST.saturating_mul(1 << doublings.min(4)).min(LONGEST);
    let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Some(Duration::from_micros(random() % micros.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_bounded() {
        assert_eq!([wait_after(1), wait_after(2)], [None; 2]);
        for attempt in 3..=ATTEMPTS + 1 {
            let most = Duration::from_millis(1 << (attempt - 3).min(4));
            let waits: Vec<_> = (0..200).filter_map(|_| wait_after(attempt)).collect();
            assert!(waits.len() == 200 && waits.iter().all(|wait| *wait <= most), "{attempt}");
            assert!(waits.iter().any(|wait| *wait > most / 2) && waits.iter().any(|wait| *wait < most / 2));
        }
    }
}
