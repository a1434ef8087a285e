//! The counts of recent successes and failures.

use std::time::Duration;

use traffik_core::{Ratio, Timestamp};

use crate::layer::breaker::settings::{BreakerSettings, Share};

/// The number of slices of a window. The oldest slice leaves as a whole, so the counts cover nine to ten
/// slices.
const SLICES: u64 = 10;

/// The time after a counted failure within which failures of concurrent calls do not count: a connection that
/// breaks takes all its calls along, and that is one failure.
const TOGETHER: Duration = Duration::from_millis(5);

/// The failures in a row, and the calls within a window.
#[derive(Debug, Default)]
pub(super) struct FailureTally {
    in_a_row: u32,
    /// The time at which the last counted failure ended.
    last_failure: Timestamp,
    slices: [WindowSlice; SLICES as usize],
}

/// The counts of one slice of a window.
#[derive(Clone, Copy, Debug, Default)]
struct WindowSlice {
    /// The number of the slice since the epoch, from 1 on.
    number: u64,
    calls: u32,
    bad: u32,
}

impl FailureTally {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Records a failure of a call that began at this time, and returns whether there are too many failures
    /// now.
    pub(super) fn note_failure(
        &mut self,
        settings: &BreakerSettings,
        began: Timestamp,
        now: Timestamp,
    ) -> bool {
        // Concurrent: the call began before the last failure ended.
        let is_of_the_last = began < self.last_failure && now.since(self.last_failure) <= TOGETHER;
        if is_of_the_last {
            return false;
        }
        self.last_failure = now;
        self.note(settings, true, now)
    }

    /// Records a call, and returns whether there are too many failures now.
    pub(super) fn note(&mut self, settings: &BreakerSettings, is_bad: bool, now: Timestamp) -> bool {
        self.in_a_row = if is_bad { self.in_a_row.saturating_add(1) } else { 0 };
        let is_row_full = settings.failures.is_some_and(|most| self.in_a_row >= most);
        let is_share_full = settings.share.as_ref().is_some_and(|share| self.note_share(share, is_bad, now));
        is_bad && (is_row_full || is_share_full)
    }

    fn note_share(&mut self, share: &Share, is_bad: bool, now: Timestamp) -> bool {
        // length = window / SLICES, rounded up; number = now / length + 1, so that 0 marks an unused slice.
        let length = u64::try_from(share.window.as_micros()).unwrap_or(u64::MAX).div_ceil(SLICES).max(1);
        let number = now.as_micros() / length + 1;
        if let Some(slice) = self.slices.get_mut((number % SLICES) as usize) {
            if slice.number != number {
                *slice = WindowSlice { number, ..WindowSlice::default() };
            }
            slice.calls = slice.calls.saturating_add(1);
            slice.bad = slice.bad.saturating_add(is_bad.into());
        }
        // Slices are reused in turn; one of an earlier round has a number that is too small.
        let recent = self.slices.iter().filter(|slice| number.saturating_sub(slice.number) < SLICES);
        let (calls, bad) = recent.fold((0u64, 0u64), |(calls, bad), slice| {
            (calls + u64::from(slice.calls), bad + u64::from(slice.bad))
        });
        // Full if bad / calls >= share.rate, compared as exact ratios.
        calls >= share.calls.into() && Ratio::new(bad, calls).is_ok_and(|found| found >= share.rate)
    }
}
