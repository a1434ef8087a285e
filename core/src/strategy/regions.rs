//! Regions: one limit divided into fixed shares by the origin of a request.

use super::shares;
use super::shares::{Shares, shared};
use super::wire::stats::stat;
use super::wire::tags;
use super::{Bounds, CapacityError, Class, FixedWindow, Label, Scale, Strategy, StrategyError};
use crate::divide::divide;
use crate::ratio::gcd;
use crate::{Rate, Ratio, Timestamp};

#[cfg(test)]
mod tests;

/// Divides one limit into fixed shares, one for each region that requests come from.
///
/// Choose it where each region or tenant has a fixed part of a limit. [`FairShare`](crate::FairShare) divides
/// by demand instead. The state takes `24 + 16 · N` bytes.
///
/// [`Class::region`] names the region of a hit. A region's share is its ratio of the limit, rounded down. All
/// regions that are not named have one share together: the rest, unless it is [given](Self::other). Windows
/// are those of a [`FixedWindow`]: one period long and aligned to the clock.
///
/// Each region can use its own share and nothing else, unless shares [spill](Self::spill) over. A region has
/// *demand* in a window if a hit from it was admitted or denied there. With spill-over, in a window of limit
/// `L`:
///
/// * A region with demand in the previous window has its share. No other region can use it, even if it stays
///   unused.
/// * The shares of regions without demand in the whole previous window are unassigned, and so is any part of
///   the limit that belongs to no region.
/// * A hit is paid from the region's share first, then from the unassigned rest, in order of arrival. A
///   region without demand in the previous window has only the rest, and has its share from the next window
///   on: a denial is recorded as demand, once per window.
///
/// A window admits at most `L` in total, and at least its share to each region that asks. With spill-over the
/// share is promised to each region that asked in the previous window.
///
/// 10 per 10 s, half of it for A, three tenths for B, and the rest for all others:
///
/// | at | from | cost | decided | remaining | with spill-over | remaining |
/// |---|---|---|---|---|---|---|
/// | 10 s | A | 5 | allow | 0 | allow | 5 |
/// | 10 s | A | 3 | deny, retry after 10 s | 0 | allow | 2 |
/// | 11 s | B | 3 | allow | 0 | deny, retry after 9 s | 2 |
/// | 20 s | A | 7 | never | 5 | allow | 0 |
/// | 20 s | B | 3 | allow | 0 | allow | 0 |
/// | 20 s | other | 2 | allow | 0 | deny, retry after 10 s | 0 |
///
/// ```
/// # use core::time::Duration;
/// use traffik::{Class, Hit, Label, Outcome, Ratio, Regions, Strategy, Timestamp, rate};
///
/// let (a, b, other) = (Label(1), Label(2), Label(3));
/// let shares = [(a, Ratio::new(1, 2)?), (b, Ratio::new(3, 10)?)];
/// let fixed = Regions::<2>::new(rate!("10/10s"), &shares)?;
/// for strategy in [fixed, fixed.spill(true)] {
///     let spills = strategy != fixed;
///     let mut state = Default::default();
///     let mut at = |second: u64, region, cost| {
///         let hit = Hit::new(cost).with_class(Class::new().with_region(region));
///         let decision = strategy.decide(&mut state, &hit, Timestamp::from_micros(second * 1_000_000));
///         let is_never = decision.outcome() == Outcome::Never;
///         (decision.retry_after().map(|wait| wait.as_secs()), decision.remaining(), is_never)
///     };
///     assert_eq!(at(10, a, 5), (None, if spills { 5 } else { 0 }, false));
///     assert_eq!(at(10, a, 3), if spills { (None, 2, false) } else { (Some(10), 0, false) });
///     assert_eq!(at(11, b, 3), if spills { (Some(9), 2, false) } else { (None, 0, false) });
///     assert_eq!(at(20, a, 7), if spills { (None, 0, false) } else { (None, 5, true) });
///     assert_eq!(at(20, b, 3), (None, 0, false));
///     assert_eq!(at(20, other, 2), if spills { (Some(10), 0, false) } else { (None, 0, false) });
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: fixed-window counters, one a region, with the lending rule of [`FairShare`](crate::FairShare).
///
/// # Figures
///
/// `limiter.stat("alice")?.share` reads one of them without charging the key, for the default class;
/// [`stat_for`](crate::Limiter::stat_for) reads those of another class.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `region` | `Option<Label>` | region; `None` if it shares with all others that are not named |
/// | `share` | `u32`, cost | share of the limit |
/// | `reserved` | `u32`, cost | part of the share that is kept for it in the present window |
/// | `usage` | `u32`, cost | use of the region in the present window |
/// | `total_usage` | `u64`, cost | use of all regions in the present window |
/// | `spill` | `bool` | whether shares spill over |
/// | `window_start` | `Timestamp` | start of the present window |
/// | `window_end` | `Timestamp` | end of the present window, and start of the next |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regions<const N: usize> {
    windows: FixedWindow,
    /// The named regions come first.
    regions: [Option<RegionShare>; N],
    /// The share of all regions that are not named; the rest of the limit if `None`.
    other: Option<Ratio>,
    other_share: u32,
    spill: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RegionShare {
    label: Label,
    ratio: Ratio,
    share: u32,
}

/// The state of [`Regions`].
pub type RegionsState<const N: usize> = Shares<N, { tags::REGIONS }>;

stat! {
    /// The figures of [`Regions`].
    ///
    /// ```
    /// use traffik::{Class, Label, Ratio, Regions, Strategy, Timestamp, rate};
    ///
    /// let strategy = Regions::<2>::new(rate!("10/s"), &[(Label(1), Ratio::new(1, 2)?)])?;
    /// let class = Class::new().with_region(Label(1));
    /// assert_eq!(strategy.stat(&Default::default(), class, Timestamp::EPOCH).share, 5);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub struct RegionsStat {
        /// The region; `None` if it is not named, so that it shares with all other regions not named.
        pub region: Option<Label>,
        /// The region's share of the limit.
        pub share: u32,
        /// The part of the share that is kept for the region in the present window. 0 if shares spill over
        /// and the region had no demand in the previous window.
        pub reserved: u32,
        /// The cost that the region has used in the present window.
        pub usage: u32,
        /// The cost that all regions have used in the present window.
        pub total_usage: u64,
        /// Whether shares spill over.
        pub spill: bool,
        /// The start of the present window.
        pub window_start: Timestamp,
        /// The end of the present window, and the start of the next.
        pub window_end: Timestamp,
    }
}

impl<const N: usize> Regions<N> {
    /// Divides this rate among at most `N` regions. Nothing spills over.
    ///
    /// The rest of the limit belongs to all regions that are not named.
    ///
    /// # Errors
    ///
    /// * [`TooManyRegions`](StrategyError::TooManyRegions) for more than `N` regions.
    /// * [`DuplicateRegion`](StrategyError::DuplicateRegion) if a region is named twice.
    /// * [`SharesAboveOne`](StrategyError::SharesAboveOne) if the ratios add up to more than 1.
    /// * [`ZeroShare`](StrategyError::ZeroShare) if a share is rounded down to 0, unless the limit is 0.
    /// * [`NoCommonDenominator`](StrategyError::NoCommonDenominator) if the ratios have no common denominator
    ///   of 64 bits.
    pub fn new(rate: Rate, regions: &[(Label, Ratio)]) -> Result<Self, StrategyError> {
        if regions.len() > N {
            return Err(StrategyError::TooManyRegions { most: N });
        }
        let windows = FixedWindow::new(rate);
        let mut limit = Self { windows, regions: [None; N], other: None, other_share: 0, spill: false };
        for (slot, &(label, ratio)) in limit.regions.iter_mut().zip(regions) {
            *slot = Some(RegionShare { label, ratio, share: 0 });
        }
        limit.checked()
    }

    /// Sets the share of all regions that are not named. Any rest of the limit then belongs to no region.
    ///
    /// # Errors
    ///
    /// Fails with [`ZeroShare`](StrategyError::ZeroShare) if the share is rounded down to 0, with
    /// [`SharesAboveOne`](StrategyError::SharesAboveOne), or with
    /// [`NoCommonDenominator`](StrategyError::NoCommonDenominator), as [`new`](Self::new) does.
    pub fn other(self, ratio: Ratio) -> Result<Self, StrategyError> {
        Self { other: Some(ratio), ..self }.checked()
    }

    /// Sets whether shares spill over. Defaults to `false`.
    #[must_use]
    pub const fn spill(self, spill: bool) -> Self {
        Self { spill, ..self }
    }

    /// Returns the rate that all regions share.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.windows.rate()
    }

    fn named(&self) -> impl Iterator<Item = RegionShare> + Clone {
        self.regions.iter().map_while(|region| *region)
    }

    fn find(&self, label: Label) -> Option<RegionShare> {
        self.named().find(|region| region.label == label)
    }

    fn checked(self) -> Result<Self, StrategyError> {
        let twice =
            |(at, region): (usize, RegionShare)| self.named().take(at).any(|it| it.label == region.label);
        if let Some((_, region)) = self.named().enumerate().find(|region| twice(*region)) {
            return Err(StrategyError::DuplicateRegion { region: region.label });
        }
        // Σ ratio ≤ 1 is tested over a common denominator (the least common multiple), so that three thirds
        // are exactly 1: common is multiplied by den / gcd(common, den) for each ratio.
        let ratios = self.named().map(|region| region.ratio).chain(self.other);
        let common = ratios.clone().try_fold(1u64, |common, ratio| {
            let (step, _) = divide(ratio.den(), gcd(common, ratio.den()));
            common.checked_mul(step).ok_or(StrategyError::NoCommonDenominator)
        })?;
        // rest = common − Σ num · common / den, which is negative if the ratios exceed 1.
        let mut rest = u128::from(common);
        for ratio in ratios {
            let part = u128::from(ratio.num()) * u128::from(divide(common, ratio.den()).0);
            rest = rest.checked_sub(part).ok_or(StrategyError::SharesAboveOne)?;
        }
        let sized = self.sized(self.rate());
        let nothing = |share: u32| share == 0 && self.rate().limit() > 0;
        if let Some(region) = sized.named().find(|region| nothing(region.share)) {
            return Err(StrategyError::ZeroShare { region: Some(region.label) });
        }
        if self.other.is_some() && nothing(sized.other_share) {
            return Err(StrategyError::ZeroShare { region: None });
        }
        Ok(sized)
    }

    /// Returns the same regions with their shares of this rate.
    fn sized(self, rate: Rate) -> Self {
        // share = ⌊limit · ratio⌋; regions not named have the limit less all named shares, unless given.
        let limit = rate.limit();
        let sized = |region: RegionShare| RegionShare { share: region.ratio.floor_of(limit), ..region };
        let regions = self.regions.map(|region| region.map(sized));
        let named = regions.iter().flatten().fold(0u32, |sum, region| sum.saturating_add(region.share));
        let other_share = match self.other {
            Some(ratio) => ratio.floor_of(limit),
            None => limit.saturating_sub(named),
        };
        Self { windows: FixedWindow::new(rate), regions, other_share, ..self }
    }

    fn fixed_share(&self, who: Option<Label>) -> u32 {
        who.and_then(|label| self.find(label)).map_or(self.other_share, |region| region.share)
    }
}

impl<const N: usize> shares::SharedLimit for Regions<N> {
    const NAMED: bool = true;

    fn windows(&self) -> &FixedWindow {
        &self.windows
    }

    fn label(&self, class: Class) -> Label {
        class.region
    }

    fn may_have_row(&self, label: Label) -> bool {
        self.find(label).is_some()
    }

    fn weight(&self) -> u16 {
        1
    }

    fn lends(&self) -> bool {
        self.spill
    }

    fn share(&self, who: Option<Label>, weight: u16, _: u64) -> u32 {
        // With spill-over a region without demand in the previous window (weight 0) has lent its share.
        if self.spill && weight == 0 { 0 } else { self.fixed_share(who) }
    }

    fn most(&self, who: Option<Label>) -> u32 {
        // With spill-over a region can use the whole window, if no other region asks.
        if self.spill { self.rate().limit() } else { self.fixed_share(who) }
    }

    fn quota(&self, who: Option<Label>) -> u32 {
        self.fixed_share(who)
    }
}

impl<const N: usize> Strategy for Regions<N> {
    type State = RegionsState<N>;
    type Stat = RegionsStat;

    shared!();

    fn stat(&self, state: &Self::State, class: Class, now: Timestamp) -> RegionsStat {
        let status = state.status(self, class, now);
        RegionsStat {
            region: status.label,
            share: self.fixed_share(status.label),
            reserved: status.share,
            usage: status.used,
            total_usage: status.total,
            spill: self.spill,
            window_start: status.window.0,
            window_end: status.window.1,
        }
    }
}

/// Scales the shares with the rate. A region whose share becomes 0 has what spills over, if anything does.
impl<const N: usize> Scale for Regions<N> {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(self.sized(self.rate().scaled(ratio)))
    }
}

impl<const N: usize> Bounds for Regions<N> {
    /// Bounds each window by the limit, or by the sum of all shares where nothing spills over.
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        let all = self.windows.most(first, last);
        if self.spill || self.rate().is_unlimited() {
            return all;
        }
        let shares =
            self.named().fold(u128::from(self.other_share), |sum, region| sum + u128::from(region.share));
        // windows · shares, where windows = all / limit.
        all / u128::from(self.rate().limit().max(1)) * shares
    }

    /// Promises a lone region of the default class its share of every window, or all of it with spill-over.
    ///
    /// The rest that is smaller than one more whole `cost` is not promised: `⌊most / cost⌋ · cost`.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        let (cost, limit) = (cost.max(1), self.rate().limit());
        let most = shares::SharedLimit::most(self, Some(Class::default().region));
        self.windows.most(first, last) / u128::from(limit.max(1)) * u128::from(most / cost * cost)
    }
}
