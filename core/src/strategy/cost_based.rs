//! The cost-based bucket: a token bucket that refills more slowly after expensive hits.

use super::math::meter::Meter;
use super::math::pace::Pace;
use super::wire::stats::stat;
use super::{Bounds, CapacityError, Class, Hit, Level, Scale, Strategy, StrategyError};
use crate::divide::{scale_down, scale_up};
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

mod mean;
pub use mean::CostBasedState;
use mean::Mean;

#[cfg(test)]
mod tests;

/// Slows its refill down as hits get more expensive, to favour clients with cheap requests.
///
/// Choose it where a few expensive requests hurt more than many cheap ones. For hits that all cost 1 it
/// decides as a [`TokenBucket`](crate::TokenBucket), which is simpler. [`Adaptive`](crate::Adaptive) reacts
/// to demand instead of cost. The state takes 40 bytes.
///
/// The bucket holds `burst` tokens, which defaults to the limit. It refills at the rate divided by the
/// running mean cost of the admitted hits, but never below the [`floor`](Self::floor), which defaults to half
/// the rate.
///
/// The mean is exponential: each admitted hit of cost `c` moves it by `(c − mean) / window`. The
/// [`window`](Self::window) is a number of hits, and defaults to 100. The mean starts at 1 and stays the same
/// between hits. It is forgotten when the bucket is full again, so a key long idle is as one never seen.
///
/// All numbers are whole and rounded against the client: the mean up to a multiple of 2⁻³², and the refill
/// down to a step of at most 1/1024 of the rate. Only the floor is rounded up to such a step, never beyond
/// the rate. So between two hits the refill is exactly linear, and waits are exact.
///
/// Over any time `T` it admits at most `burst + limit · T / period`. A client that always asks for `c` gets
/// at least `burst + share · limit · T / period − (c − 1)`, if the burst exceeds `c` by at least the refill
/// of 1 µs. `share` is the greater of the floor and `1 / c`, rounded as above. Otherwise the client gets `c`
/// in every `⌈c · period / (share · limit)⌉` µs.
///
/// A bucket of 8 tokens at 4 per second, with a window of 2 hits:
///
/// | at | cost | decided | remaining | mean after it | refill |
/// |---|---|---|---|---|---|
/// | 0 s | 1 | allow | 7 | 1 | 4/s |
/// | 0 s | 2 | allow | 5 | 1.5 | 2.67/s |
/// | 0 s | 5 | allow | 0 | 3.25 | 2/s (the floor) |
/// | 0 s | 1 | deny, retry after 0.5 s | 0 | 3.25 | 2/s |
/// | 4 s | 0 | allow | 8 | 1 | 4/s |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Class, CostBased, Hit, Ratio, Strategy, Timestamp, rate};
///
/// let bucket = CostBased::new(rate!("4/s")).burst(8)?.window(2)?;
/// let mut state = Default::default();
/// let at = |second: u64| Timestamp::from_micros(second * 1_000_000);
///
/// assert_eq!(bucket.decide(&mut state, &Hit::new(1), at(0)).remaining(), 7);
/// assert_eq!(bucket.decide(&mut state, &Hit::new(2), at(0)).remaining(), 5);
/// assert_eq!(bucket.decide(&mut state, &Hit::new(5), at(0)).remaining(), 0);
/// assert_eq!(bucket.stat(&state, Class::default(), at(0)).mean_cost, Ratio::new(13, 4)?);
/// let denied = bucket.decide(&mut state, &Hit::new(1), at(0));
/// assert_eq!(denied.retry_after(), Some(Duration::from_millis(500)));
/// assert_eq!(bucket.decide(&mut state, &Hit::new(0), at(4)).remaining(), 8);
/// assert_eq!(bucket.stat(&state, Class::default(), at(4)).mean_cost, Ratio::ONE);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// A refund of the last admission restores the mean too; a refund of an earlier one restores only the count.
///
/// Source: traffik 1.0 for Python, where the mean was taken over a list of the last hits.
///
/// # Figures
///
/// `limiter.stat("alice")?.mean_cost` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `tokens` | `u32`, cost | whole tokens in the bucket, rounded down |
/// | `capacity` | `u32`, cost | tokens in a full bucket |
/// | `mean_cost` | `Ratio`, cost/hit | running mean cost of the admitted hits |
/// | `refill` | `Option<Ratio>`, cost/µs | tokens per microsecond at this mean; `None` if unlimited |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostBased {
    /// Drains at the full rate.
    meter: Meter,
    burst: u32,
    is_burst_given: bool,
    window: u32,
    floor: Ratio,
    /// The units that drain in a microsecond at the floor.
    slowest: u64,
}

stat! {
    /// The figures of a [`CostBased`] bucket.
    ///
    /// ```
    /// use traffik::{Class, CostBased, Ratio, Strategy, Timestamp, rate};
    ///
    /// let stat = CostBased::new(rate!("4/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.tokens, stat.mean_cost), (4, Ratio::ONE));
    /// ```
    pub struct CostBasedStat {
        /// Whole tokens in the bucket, rounded down.
        pub tokens: u32,
        /// Tokens in a full bucket.
        pub capacity: u32,
        /// The running mean cost of the admitted hits.
        pub mean_cost: Ratio,
        /// Tokens added per microsecond at this mean; `None` if unlimited.
        pub refill: Option<Ratio>,
    }
}

impl CostBased {
    /// Returns a bucket that refills at up to `rate`, with the default settings.
    ///
    /// The burst is the limit, or the largest burst that can be counted if that is less. The window of the
    /// mean is 100 hits, and the refill never falls below half the rate.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        let floor = Ratio::HALF;
        let bucket =
            Self { meter: fine(rate), burst: 0, is_burst_given: false, window: 100, floor, slowest: 0 };
        let bucket = match bucket.sized(rate.limit()) {
            Ok(bucket) => bucket,
            Err(CapacityError { largest }) => match bucket.sized(largest) {
                Ok(bucket) => bucket,
                Err(_) => bucket,
            },
        };
        bucket.with_floor(floor)
    }

    /// Sets how many tokens the bucket holds. A burst of 0 admits nothing.
    ///
    /// # Errors
    ///
    /// Fails if the burst cannot be counted exactly, with the largest that can.
    pub const fn burst(self, burst: u32) -> Result<Self, CapacityError> {
        Self { is_burst_given: true, ..self }.sized(burst)
    }

    /// Sets the window of the mean, in hits: the more hits, the slower the mean follows. Defaults to 100.
    ///
    /// # Errors
    ///
    /// Fails with [`EmptyWindow`](StrategyError::EmptyWindow) for 0 hits.
    pub const fn window(self, hits: u32) -> Result<Self, StrategyError> {
        match hits {
            0 => Err(StrategyError::EmptyWindow),
            window => Ok(Self { window, ..self }),
        }
    }

    /// Sets the share of the rate below which the refill never falls. Defaults to a half.
    ///
    /// # Errors
    ///
    /// Fails with [`CostBasedFloor`](StrategyError::CostBasedFloor) unless the share is above 0 and at most
    /// 1.
    pub const fn floor(self, share: Ratio) -> Result<Self, StrategyError> {
        if share.num() == 0 || share.num() > share.den() {
            return Err(StrategyError::CostBasedFloor(share));
        }
        Ok(self.with_floor(share))
    }

    const fn with_floor(self, floor: Ratio) -> Self {
        // slowest = ⌈drain · floor⌉
        let slowest = scale_up(self.meter.drain(), floor.num(), floor.den());
        Self { floor, slowest, ..self }
    }

    const fn sized(self, burst: u32) -> Result<Self, CapacityError> {
        match self.meter.with_capacity(self.meter.units(burst as u64)) {
            Ok(meter) => Ok(Self { meter, burst, ..self }),
            Err(too_large) => Err(too_large),
        }
    }

    /// Returns the rate at which the bucket refills while its hits cost 1.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.meter.rate
    }

    /// Returns the meter that drains at the pace of this mean: `max(⌊drain / mean⌋, slowest)`.
    #[inline]
    fn at_mean(&self, mean: Mean) -> Meter {
        if mean == Mean::default() {
            return self.meter;
        }
        // A mean is in units of 2⁻³², so drain / mean = drain · ONE / parts.
        let slowed = scale_down(self.meter.drain(), Mean::ONE, mean.parts());
        self.meter.draining(slowed.max(self.slowest))
    }

    fn of_state(&self, state: &CostBasedState) -> Meter {
        self.at_mean(state.mean)
    }

    /// Returns the state at a later time.
    fn moved(&self, state: CostBasedState, to: Timestamp) -> CostBasedState {
        let meter = self.of_state(&state);
        let (at, used) = meter.level(&state.level, to);
        CostBasedState { level: meter.state(at, used), ..state }.forgetting()
    }

    /// Returns the state before an admission, if that admission was the last change of the state.
    fn before(&self, state: &CostBasedState, hit: &Hit, receipt: Receipt) -> Option<CostBasedState> {
        let mean = state.mean_before;
        // The admission was the last change if the level is still the receipt's, and the mean still the one
        // that this cost makes of `mean_before`.
        let is_last = state.level.open() == Level::of(receipt)
            && state.level.unit() == self.meter.unit
            && state.mean == mean.with(hit.cost, self.window);
        let cost = u64::from(hit.cost).saturating_mul(self.meter.unit);
        let used = receipt.level.checked_sub(cost).filter(|_| is_last)?;
        let level = self.at_mean(mean).state(receipt.at, used);
        let before = CostBasedState { level, mean, mean_before: mean };
        Some(before.forgetting())
    }
}

/// Removes the drain from the receipt: it depends on the hits to come, so a receipt cannot record it.
fn with_open_receipt(decision: Decision) -> Decision {
    decision.with_receipt(decision.receipt().open())
}

/// Returns a meter for `rate` whose refill has steps of at most 1/1024 of it.
///
/// The steps are coarser if units so fine cannot be counted, and finer where that leaves room for any cost.
const fn fine(rate: Rate) -> Meter {
    /// The least number of units drained in a microsecond, so that one of them is 1/1024 of the rate.
    const STEPS: u64 = 1024;
    /// The units per cost of 1 at which any 32-bit cost can be counted several times over.
    const FINEST: u64 = 1 << 29;
    let meter = Meter::new(rate, 0);
    let mut parts = 1;
    // Doubling keeps unit / drain, so the rate stays exact while the steps get finer.
    while meter.unit > 0 && meter.unit * parts * 2 <= FINEST {
        parts *= 2;
    }
    while meter.drain() > 0 && meter.drain() * parts < STEPS && Pace::is_countable(meter.unit * parts * 2) {
        parts *= 2;
    }
    meter.divided(parts)
}

impl Strategy for CostBased {
    type State = CostBasedState;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = CostBasedStat;

    fn decide(&self, state: &mut CostBasedState, hit: &Hit, now: Timestamp) -> Decision {
        let (mean, meter) = (state.mean, self.of_state(state));
        let (_, used) = meter.level(&state.level, now);
        let decision = meter.decide(&mut state.level, hit, now, (self.burst, 0));
        if !decision.is_allowed() || hit.cost == 0 || decision.is_unlimited() {
            return with_open_receipt(decision);
        }
        // A full bucket forgets the mean.
        state.mean_before = if used == 0 { Mean::default() } else { mean };
        state.mean = state.mean_before.with(hit.cost, self.window);
        if state.mean == mean {
            return with_open_receipt(decision);
        }
        // From here on the refill differs, and so does the time until the bucket is full.
        let (nothing, meter) = (Hit { cost: 0, ..*hit }, self.of_state(state));
        state.level = state.level.at_pace(meter.pace());
        with_open_receipt(meter.decide(&mut state.level, &nothing, now, (self.burst, 0)).with_dirty(true))
    }

    /// Takes tokens without changing the mean, which is that of admitted hits.
    fn charge(&self, state: &mut CostBasedState, hit: &Hit, now: Timestamp) {
        if self.meter.is_unlimited() || hit.cost == 0 {
            return;
        }
        *state = self.moved(*state, now);
        self.of_state(state).charge(&mut state.level, hit, now);
    }

    /// Takes back what is left of the cost, and the change of the mean if this was the last admission.
    ///
    /// Takes nothing back if a cheap hit has sped up the refill so much that it has repaid itself.
    fn refund(&self, state: &mut CostBasedState, hit: &Hit, receipt: Receipt, now: Timestamp) {
        if self.meter.is_unlimited() {
            return;
        }
        let meter = self.of_state(state);
        let (at, used) = meter.level(&state.level, now);
        match self.before(state, hit, receipt) {
            Some(before) => {
                let before = self.moved(before, at);
                if self.meter.level(&before.level, at).1 <= used {
                    *state = before;
                }
            }
            None => {
                // The drain since the charge is not known. It was at most the full rate.
                let left = self.meter.left(hit, receipt, at);
                state.level = meter.state(at, used.saturating_sub(left));
                *state = state.forgetting();
            }
        }
    }

    fn expires_at(&self, state: &CostBasedState, _: Class) -> Timestamp {
        self.of_state(state).expires_at(&state.level)
    }

    fn max_ttl(&self) -> u64 {
        self.at_mean(Mean::of(u32::MAX)).max_ttl()
    }

    fn rebase(&self, state: &mut CostBasedState, now: Timestamp) -> bool {
        self.meter.rebase(&mut state.level, now)
    }

    fn stat(&self, state: &CostBasedState, _: Class, now: Timestamp) -> CostBasedStat {
        let used = self.of_state(state).cost(&state.level, now);
        let mean = if used == 0 { Mean::default() } else { state.mean };
        CostBasedStat {
            tokens: self.burst.saturating_sub(used),
            capacity: self.burst,
            mean_cost: Ratio::new(mean.parts(), Mean::ONE).unwrap_or(Ratio::ONE),
            refill: Ratio::new(self.at_mean(mean).drain(), self.meter.unit).ok(),
        }
    }
}

/// Scales the rate, and with it a burst that is the limit. A burst that was given, the window and the floor
/// stay the same.
impl Scale for CostBased {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        let scaled =
            Self { window: self.window, ..Self::new(self.meter.rate.scaled(ratio)) }.with_floor(self.floor);
        if self.is_burst_given { scaled.burst(self.burst) } else { Ok(scaled) }
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.burst(ratio.part_of(self.burst))?.scaled(ratio)
    }

    fn advance(&self, state: &mut CostBasedState, _: Class, to: Timestamp) {
        self.of_state(state).advance(&mut state.level, to);
        *state = state.forgetting();
    }

    /// Assumes the full rate since the charge, which is the most that can have drained.
    fn advance_receipt(&self, receipt: &mut Receipt, _: Class, to: Timestamp) {
        self.meter.advance_receipt(receipt, to);
    }
}

impl Bounds for CostBased {
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        self.meter.most(last.micros_since(first))
    }

    /// Promises the refill at a mean of `cost`, which is the highest mean that such a client reaches.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        let (span, slowed) = (last.micros_since(first), self.at_mean(Mean::of(cost)));
        match u128::from(self.meter.capacity).checked_sub(self.meter.units(cost.into())) {
            // At first it refills at the full rate, and may lose more than a slow microsecond's worth.
            Some(room) if room < self.meter.drain().into() => slowed.least_spaced(span, cost),
            _ => slowed.least(span, cost),
        }
    }
}
