//! Regions: one limit divided into fixed shares by where a request comes from.

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

/// One limit per window for all regions, of which each has a fixed share.
///
/// [`Class::region`] says where a hit comes from. A region's share is its ratio of the limit, rounded down; all
/// that are not named have one share together, the rest unless [given](Self::other). Windows are those of a
/// [`FixedWindow`]: one period long and aligned to the clock.
///
/// Each region has its own share and nothing else, unless shares [spill](Self::spill) over. Then, in a window
/// of limit `L`:
///
/// * A region with demand in the window before (it was admitted or denied something) has its share. Nobody
///   else can have any of it, also if it is not used.
/// * The shares of regions without demand in the whole window before are unassigned, with whatever belongs to
///   none.
/// * A hit is paid out of the region's share, and what that does not cover out of what is unassigned, first
///   come, first served. A region without demand in the window before has only the latter, and has its share
///   from the next window on: a denial is noted as demand, once per window.
///
/// At most `L` passes in a window, whoever asks; at least its share to each region that asks, with spill-over
/// to each that asked in the window before.
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
/// use core::time::Duration;
/// use traffik::{Class, Hit, Label, Outcome, Ratio, Regions, Strategy, Timestamp, rate};
///
/// let (a, b, other) = (Label(1), Label(2), Label(3));
/// let fixed = Regions::<2>::new(rate!("10/10s"), &[(a, Ratio::new(1, 2)?), (b, Ratio::new(3, 10)?)])?;
/// for limit in [fixed, fixed.spill(true)] {
///     let spills = limit != fixed;
///     let mut state = Default::default();
///     let mut at = |second: u64, region, cost| {
///         let class = Class::new().with_region(region);
///         let decision = limit.decide(&mut state, &Hit::new(cost).with_class(class), Timestamp::from_micros(second * 1_000_000));
///         (decision.retry_after().map(|wait| wait.as_secs()), decision.remaining(), decision.outcome() == Outcome::Never)
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
/// `limiter.stat("alice")?.share` reads one of them and charges nobody, for the default class;
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
    /// Those named come first.
    regions: [Option<Region>; N],
    /// What all that are not named have of the limit together; the rest if not given.
    other: Option<Ratio>,
    other_share: u32,
    spill: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Region {
    label: Label,
    ratio: Ratio,
    share: u32,
}

/// The state of regions.
pub type RegionsState<const N: usize> = Shares<N, { tags::REGIONS }>;

stat! {
    /// A region's own figures.
    pub struct RegionsStat {
        /// The region; `None` if it is not named, so that it shares with all others that are not.
        pub region: Option<Label>,
        /// The region's share of the limit.
        pub share: u32,
        /// The part of it that is kept for it in the present window: nothing if shares spill over and it had
        /// no demand in the window before.
        pub reserved: u32,
        /// The cost it has used in the present window.
        pub usage: u32,
        /// The cost all have used in it.
        pub total_usage: u64,
        /// Whether shares spill over.
        pub spill: bool,
        /// When the present window began.
        pub window_start: Timestamp,
        /// When it ends, and the next one begins.
        pub window_end: Timestamp,
    }
}

impl<const N: usize> Regions<N> {
    /// Regions and their shares of this rate, at most `N` of them. What is left of the limit belongs to all
    /// that are not named, and nothing spills over.
    ///
    /// # Errors
    ///
    /// [`TooManyRegions`](StrategyError::TooManyRegions) beyond `N`,
    /// [`DuplicateRegion`](StrategyError::DuplicateRegion), [`SharesAboveOne`](StrategyError::SharesAboveOne),
    /// [`ZeroShare`](StrategyError::ZeroShare) if one comes to 0 (unless the limit is 0), and
    /// [`NoCommonDenominator`](StrategyError::NoCommonDenominator).
    pub fn new(rate: Rate, regions: &[(Label, Ratio)]) -> Result<Self, StrategyError> {
        if regions.len() > N {
            return Err(StrategyError::TooManyRegions { most: N });
        }
        let windows = FixedWindow::new(rate);
        let mut limit = Self { windows, regions: [None; N], other: None, other_share: 0, spill: false };
        for (slot, &(label, ratio)) in limit.regions.iter_mut().zip(regions) {
            *slot = Some(Region { label, ratio, share: 0 });
        }
        limit.checked()
    }

    /// The same limit with this share for all regions that are not named; what is left then belongs to none.
    ///
    /// # Errors
    ///
    /// [`ZeroShare`](StrategyError::ZeroShare) if it comes to 0, and the errors of shares that do not add up, as
    /// [`new`](Self::new).
    pub fn other(self, ratio: Ratio) -> Result<Self, StrategyError> {
        Self { other: Some(ratio), ..self }.checked()
    }

    /// The same limit whose shares spill over, or not.
    #[must_use]
    pub const fn spill(self, spill: bool) -> Self {
        Self { spill, ..self }
    }

    /// The rate that all regions share.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.windows.rate()
    }

    fn named(&self) -> impl Iterator<Item = Region> + Clone {
        self.regions.iter().map_while(|region| *region)
    }

    fn find(&self, label: Label) -> Option<Region> {
        self.named().find(|region| region.label == label)
    }

    fn checked(self) -> Result<Self, StrategyError> {
        let twice = |(at, region): (usize, Region)| self.named().take(at).any(|it| it.label == region.label);
        if let Some((_, region)) = self.named().enumerate().find(|region| twice(*region)) {
            return Err(StrategyError::DuplicateRegion { region: region.label });
        }
        // The sum is taken over a common denominator, so that three thirds are exactly 1.
        let ratios = self.named().map(|region| region.ratio).chain(self.other);
        let common = ratios.clone().try_fold(1u64, |common, ratio| {
            let (step, _) = divide(ratio.den(), gcd(common, ratio.den()));
            common.checked_mul(step).ok_or(StrategyError::NoCommonDenominator)
        })?;
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

    /// The same regions with their shares of this rate.
    fn sized(self, rate: Rate) -> Self {
        let limit = rate.limit();
        let sized = |region: Region| Region { share: region.ratio.floor_of(limit), ..region };
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

impl<const N: usize> shares::Sharing for Regions<N> {
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
        if self.spill && weight == 0 { 0 } else { self.fixed_share(who) }
    }

    fn most(&self, who: Option<Label>) -> u32 {
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
        let standing = state.standing(self, class, now);
        RegionsStat {
            region: standing.who,
            share: self.fixed_share(standing.who),
            reserved: standing.share,
            usage: standing.used,
            total_usage: standing.total,
            spill: self.spill,
            window_start: standing.window.0,
            window_end: standing.window.1,
        }
    }
}

/// The shares change with the rate. One that comes to 0 leaves the region what spills over, if anything does.
impl<const N: usize> Scale for Regions<N> {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(self.sized(self.rate().scaled(ratio)))
    }
}

impl<const N: usize> Bounds for Regions<N> {
    /// In every window the limit; where nothing spills over, all shares together.
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        let all = self.windows.most(first, last);
        if self.spill || self.rate().is_unlimited() {
            return all;
        }
        let shares =
            self.named().fold(u128::from(self.other_share), |sum, region| sum + u128::from(region.share));
        all / u128::from(self.rate().limit().max(1)) * shares
    }

    /// To the region of the default class, alone: its share of every window, or all of it with spill-over;
    /// but for what is left over when the next whole `cost` no longer fits.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        let (cost, limit) = (cost.max(1), self.rate().limit());
        let most = shares::Sharing::most(self, Some(Class::default().region));
        self.windows.most(first, last) / u128::from(limit.max(1)) * u128::from(most / cost * cost)
    }
}
