//! Buckets of time, and the use in the newest of them.

use crate::divide::divide;
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::strategy::{DecodeError, Reader, State, Writer};
use crate::{Rate, Timestamp};

/// The division of time into buckets: bucket `i` holds the times `t` with `⌊t · buckets / period⌋ = i`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grid {
    /// The period in microseconds; 0 in a state never used, and if the rate is unlimited.
    pub(super) period: u64,
    /// The number of buckets per period.
    pub(super) buckets: u32,
}

/// The state of a [`StrictWindow`](crate::StrictWindow): the use in the bucket of the last hit, and before
/// it.
///
/// ```
/// use traffik::strategy::State;
/// use traffik::{Hit, SlidingWindow, Strategy, Timestamp, rate};
///
/// let (window, mut state) = (SlidingWindow::strict::<4>(rate!("2/s")), State::FRESH);
/// window.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, State::FRESH);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictWindowState<const N: usize> {
    /// The time of the last charged hit.
    pub(super) at: Timestamp,
    /// The buckets counted in. A limit may change under its state, so the state keeps them.
    pub(super) grid: Grid,
    pub(super) current: u32,
    /// The counts before the current one, newest first; 0 where a bucket no longer counted at the state's
    /// time.
    pub(super) earlier: [u32; N],
}

impl Grid {
    /// Returns the number of the bucket that holds a time, and of the oldest that still counts then.
    ///
    /// The oldest reaches into the period that ends with `at`, which starts at `at − period + 1`.
    #[inline]
    pub(super) fn span(self, at: Timestamp) -> (u128, u128) {
        // newest = ⌊at · buckets / period⌋, in 64 bits where the product fits.
        let (at, buckets, period) = (at.as_micros(), u64::from(self.buckets), self.period.max(1));
        let (newest, rest) = match at.checked_mul(buckets) {
            Some(product) => {
                let (newest, rest) = divide(product, period);
                (newest.into(), rest)
            }
            None => {
                let product = u128::from(at) * u128::from(buckets);
                (product / u128::from(period), (product % u128::from(period)) as u64)
            }
        };
        // oldest = ⌊(at − period + 1) · buckets / period⌋ = ⌊(at + 1) · buckets / period⌋ − buckets.
        let next = rest + buckets;
        let next = newest + if next < period { 0 } else { u128::from(divide(next, period).0) };
        (newest, next.saturating_sub(buckets.into()))
    }

    /// Returns the first time of a bucket: `⌈number · period / buckets⌉`.
    pub(super) fn start(self, number: u128) -> Timestamp {
        let start = number.saturating_mul(self.period.into()).div_ceil(u128::from(self.buckets.max(1)));
        Timestamp::from_micros(u64::try_from(start).unwrap_or(u64::MAX))
    }

    /// Returns the time from which a bucket no longer counts: one period after its last microsecond.
    pub(super) fn end(self, number: u128) -> Timestamp {
        self.start(number + 1).plus_micros(self.period.saturating_sub(1))
    }
}

impl<const N: usize> Default for StrictWindowState<N> {
    fn default() -> Self {
        Self::FRESH
    }
}

impl<const N: usize> StrictWindowState<N> {
    /// Returns this state, or that of a key never seen if nothing is in use.
    pub(super) fn settled(self) -> Self {
        if self.current == 0 && self.earlier == [0; N] { Self::default() } else { self }
    }

    /// Returns the state in the buckets of `grid`, converted into `room` if it was counted in others.
    ///
    /// A conversion counts all that is in use as used at the state's own time.
    #[inline]
    pub(super) fn on<'a>(&'a self, grid: Grid, room: &'a mut Option<Self>) -> &'a Self {
        if self.grid == grid {
            return self;
        }
        let current = u32::try_from(self.present(self.at).used()).unwrap_or(u32::MAX);
        room.insert(Self { at: self.at, grid, current, earlier: [0; N] })
    }

    #[inline]
    pub(super) fn present(&self, now: Timestamp) -> BucketCounts<'_, N> {
        // An earlier `now` counts as the state's own time.
        let at = now.max(self.at);
        let (own, _) = self.grid.span(self.at);
        let (newest, oldest) = self.grid.span(at);
        BucketCounts { state: self, own, at, newest, oldest }
    }
}

/// The buckets that count at the time of decision.
pub(super) struct BucketCounts<'a, const N: usize> {
    state: &'a StrictWindowState<N>,
    /// The number of the bucket that holds the state's own time.
    own: u128,
    pub(super) at: Timestamp,
    /// The bucket that holds the present.
    pub(super) newest: u128,
    /// The first bucket that counts.
    pub(super) oldest: u128,
}

impl<const N: usize> BucketCounts<'_, N> {
    /// Returns the counts of the buckets that still count, newest first, from the state's own on.
    fn counts(&self) -> impl Iterator<Item = &u32> {
        let kept = (self.own + 1).saturating_sub(self.oldest);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        core::iter::once(&self.state.current).chain(&self.state.earlier).take(kept)
    }

    /// Returns the use in the bucket that holds the present.
    pub(super) fn current(&self) -> u32 {
        if self.own == self.newest { self.state.current } else { 0 }
    }

    pub(super) fn used(&self) -> u64 {
        self.counts().map(|count| u64::from(*count)).sum()
    }

    /// Returns the microseconds until at most `room` is in use; 0 if no more is.
    pub(super) fn wait(&self, room: u32) -> u64 {
        let (mut sum, mut number) = (0u64, self.own);
        for count in self.counts() {
            sum += u64::from(*count);
            if sum > room.into() {
                return self.state.grid.end(number).micros_since(self.at);
            }
            number = number.saturating_sub(1);
        }
        0
    }

    /// Returns the microseconds until nothing is in use, once `booked` has been charged.
    pub(super) fn reset(&self, booked: u32) -> u64 {
        if booked == 0 { self.wait(0) } else { self.state.grid.end(self.newest).micros_since(self.at) }
    }

    /// Returns the microseconds until the oldest used bucket no longer counts.
    pub(super) fn oldest_gone(&self) -> u64 {
        let kept = usize::try_from(self.own.saturating_sub(self.oldest)).unwrap_or(usize::MAX);
        let earlier = self.state.earlier.get(..kept).unwrap_or(&self.state.earlier);
        let before = earlier.iter().rposition(|count| *count > 0).map_or(0, |place| place as u128 + 1);
        self.state.grid.end(self.own.saturating_sub(before)).micros_since(self.at)
    }

    pub(super) fn book(&self, cost: u32) -> StrictWindowState<N> {
        let (passed, kept) = (self.newest - self.own, self.newest - self.oldest);
        let mut state = StrictWindowState { at: self.at, ..*self.state };
        // The counts move back by one place for each bucket that has passed.
        if passed > 0 {
            // The current count becomes the newest earlier one, `passed − 1` empty buckets behind the
            // present.
            let mut old = core::iter::once(self.state.current).chain(self.state.earlier);
            state.current = 0;
            let skipped = usize::try_from(passed - 1).unwrap_or(usize::MAX);
            for (at, count) in state.earlier.iter_mut().enumerate() {
                *count = if at < skipped { 0 } else { old.next().unwrap_or(0) };
            }
        }
        // Counts older than the oldest bucket are cleared, so that equal use has equal states.
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        state.earlier.iter_mut().skip(kept).for_each(|gone| *gone = 0);
        state.current = state.current.saturating_add(cost);
        state
    }
}

serde_as_bytes!([const N: usize] StrictWindowState<N>);

impl<const N: usize> State for StrictWindowState<N> {
    const FRESH: Self =
        Self { at: Timestamp::EPOCH, grid: Grid { period: 0, buckets: 0 }, current: 0, earlier: [0; N] };
    const MAX_LEN: usize = 1 + 2 * 8 + 4 + 4 * (N + 1);

    /// Writes the current count, and as many earlier ones as there are buckets per period.
    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::STRICT_WINDOW);
        out.u64(self.at.as_micros());
        out.u64(self.grid.period);
        out.u32(self.grid.buckets);
        out.u32(self.current);
        self.earlier.iter().take(self.grid.buckets as usize).for_each(|count| out.u32(*count));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::STRICT_WINDOW)?;
        let at = Timestamp::from_micros(input.u64()?);
        let grid = Grid { period: input.u64()?, buckets: input.u32()? };
        let (current, mut earlier) = (input.u32()?, [0; N]);
        for count in earlier.get_mut(..grid.buckets as usize).ok_or(DecodeError)? {
            *count = input.u32()?;
        }
        let state = Self { at, grid, current, earlier };
        // A state has one encoded form: nothing in use is a key never seen, and counts that no longer count
        // are 0.
        let canonical = if Rate::is_period(grid.period) && grid.buckets > 0 {
            state == state.settled() && state == state.present(at).book(0)
        } else {
            state == Self::default()
        };
        if canonical { Ok(state) } else { Err(DecodeError) }
    }
}
