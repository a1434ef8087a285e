//! The error of a strategy's builder.

use crate::capacity::CapacityError;
use crate::hit::Label;
use crate::hours::Hours;
use crate::ratio::{Ratio, RatioError};

/// The error of building a strategy: the setting that was refused, and advice as text.
///
/// The builders of strategies return it, and `?` turns a [`CapacityError`] or the error of a [`Ratio`] into
/// it:
///
/// ```
/// use traffik::{CostBased, StrategyError, rate};
///
/// fn made(floor: &str) -> Result<CostBased, StrategyError> {
///     CostBased::new(rate!("4/s")).burst(8)?.floor(floor.parse()?)
/// }
/// assert!(made("50%").is_ok());
/// assert!(matches!(made("0"), Err(StrategyError::CostBasedFloor(_))));
/// assert_eq!(made("half").unwrap_err().to_string(), "this is not a ratio; write 3, 3/2, 1.5 or 50%");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StrategyError {
    /// A limit cannot be counted exactly.
    Capacity(CapacityError),
    /// A text or a pair of numbers is not a [`Ratio`].
    Ratio(RatioError),
    /// The threshold of an [`Adaptive`](crate::Adaptive) limit is less than a millionth, or above 1.
    Threshold(Ratio),
    /// The reduction of an [`Adaptive`](crate::Adaptive) limit is not below 1.
    Reduction(Ratio),
    /// The recovery of an [`Adaptive`](crate::Adaptive) limit is less than a millionth, or above 1.
    Recovery(Ratio),
    /// The floor of an [`Adaptive`](crate::Adaptive) limit is above 1.
    AdaptiveFloor(Ratio),
    /// A [`StrictWindow`](crate::StrictWindow) has no buckets, or more than it has room for.
    Buckets {
        /// The number of buckets.
        asked: u32,
        /// The most buckets that fit.
        most: u32,
    },
    /// The window of the mean of a [`CostBased`](crate::CostBased) bucket is 0 hits.
    EmptyWindow,
    /// The floor of a [`CostBased`](crate::CostBased) bucket is 0 or above 1.
    CostBasedFloor(Ratio),
    /// A [`TimeOfDay`](crate::TimeOfDay) has no hours.
    NoHours,
    /// A [`TimeOfDay`](crate::TimeOfDay) has more hours than room: the number of hours, and the room.
    TooManyHours(usize, usize),
    /// A time of [`Hours`] is not one of a day.
    NotATime(Hours),
    /// [`Hours`] end when they begin.
    EmptyHours(Hours),
    /// Two of the [`Hours`] overlap.
    OverlappingHours(Hours, Hours),
    /// [`Hours`] have a ratio of 0.
    ZeroHours(Hours),
    /// Local time differs by a day or more from UTC, by these minutes.
    UtcOffset(i32),
    /// A limit by [`TimeOfDay`](crate::TimeOfDay) takes more than thirty years to become fresh.
    TooSlow,
    /// The limit is larger than a [`SlidingLog`](crate::SlidingLog) has room for.
    LogTooSmall {
        /// The limit of the rate.
        limit: u32,
        /// The entries that fit.
        entries: u32,
    },
    /// A [`Priority`](crate::Priority) was named twice.
    DuplicatePriority(Label),
    /// A reserve of 1 or more of the limit leaves nothing to its own [`Priority`](crate::Priority).
    ReserveTooLarge(Label, Ratio),
    /// The reserve of a [`Priority`](crate::Priority), a ratio of this limit, is less than a cost of 1.
    ReserveTooSmall(Label, Ratio, u32),
    /// The share that rolls over in a [`QuotaRollover`](crate::QuotaRollover) is above 1.
    RolloverShare(Ratio),
    /// A weight of a [`FairShare`](crate::FairShare) is 0.
    ZeroWeight,
    /// There are more [`Regions`](crate::Regions) than the limit has room for.
    TooManyRegions {
        /// The most regions that fit.
        most: usize,
    },
    /// One of the [`Regions`](crate::Regions) is named twice.
    DuplicateRegion {
        /// The region.
        region: Label,
    },
    /// The share of one of the [`Regions`](crate::Regions) is less than a cost of 1.
    ZeroShare {
        /// The region; `None` for all regions that are not named.
        region: Option<Label>,
    },
    /// The shares of [`Regions`](crate::Regions) add up to more than 1.
    SharesAboveOne,
    /// The shares of [`Regions`](crate::Regions) have no common denominator that fits 64 bits.
    NoCommonDenominator,
    /// A [`Tiered`](crate::Tiered) limit has no tier.
    NoTier,
    /// A tier of a [`Tiered`](crate::Tiered) limit was named twice.
    DuplicateTier(Label),
    /// A tier of a [`Tiered`](crate::Tiered) limit has a ratio of 0.
    ZeroTier(Label),
    /// A tier's limit cannot be counted exactly.
    TierTooLarge(Label, CapacityError),
}

from! { StrategyError: CapacityError => Capacity, RatioError => Ratio, }

texts! { StrategyError:
    Self::Capacity(error) => "{error}",
    Self::Ratio(error) => "{error}",
    Self::Threshold(ratio) =>
        "the threshold of an adaptive limit is {ratio}; give the load from which on the limit falls, \
        1/1000000 to 1, such as 80%",
    Self::Reduction(ratio) =>
        "the reduction of an adaptive limit is {ratio}; give the factor of the limit, below 1, such \
        as 60%",
    Self::Recovery(ratio) =>
        "the recovery of an adaptive limit is {ratio}; give the part of the limit that each window adds, \
        1/1000000 to 1, such as 10%",
    Self::AdaptiveFloor(ratio) =>
        "the floor of an adaptive limit is {ratio}; give the least part of the limit, at most 1, such as 30%",
    Self::Buckets { asked, most } =>
        "a strict window with room for {most} buckets cannot count in {asked}; give 1 to {most}",
    Self::EmptyWindow => "a mean cost over 0 hits does not exist; give a window of at least 1 hit",
    Self::CostBasedFloor(ratio) =>
        "the floor of a cost-based bucket is {ratio}; give a share of the rate above 0 and at most 1, \
        such as 1/2",
    Self::NoHours => "no hours are given; give at least one range, or use the limit without hours",
    Self::TooManyHours(given, room) => "{given} ranges of hours are given, but there is room for {room}; \
        give fewer, or make room by the length of TimeOfDay",
    Self::NotATime(hours) => "{hours} is not within a day; hours begin from 00:00 to 23:59 and end by 24:00",
    Self::EmptyHours(hours) => "{hours} is empty; the whole day is 00:00-24:00",
    Self::OverlappingHours(one, other) =>
        "{one} and {other} overlap; begin one of them at the end of the other, or later",
    Self::ZeroHours(hours) => "no limit can be scaled to the ratio 0 of {hours}; give a ratio above 0",
    Self::UtcOffset(minutes) =>
        "an offset of {minutes} minutes from UTC is too large; give less than a day, such as 330 for +05:30",
    Self::TooSlow => "the limit may take more than thirty years to become fresh, and hours cannot be \
        followed for so long; give it a shorter period or a smaller burst, or ratios that differ less",
    Self::LogTooSmall { limit, entries } => "a log with room for {entries} entries cannot hold a limit of \
        {limit}; give it as many entries as the limit, at most 65536, or use SlidingWindow::strict, which \
        counts any limit in little room",
    Self::DuplicatePriority(Label(label)) => "priority {label} is named twice; give it one reserve",
    Self::ReserveTooLarge(Label(label), ratio) => "priority {label} must leave {ratio} of the limit, which \
        leaves nothing to itself; give a reserve below 1",
    Self::ReserveTooSmall(Label(label), ratio, limit) => "priority {label} must leave {ratio} of a limit \
        of {limit}, which is less than a cost of 1; give a reserve of 0, or a larger one",
    Self::RolloverShare(ratio) =>
        "{ratio} of the unused limit cannot roll over; give a share of at most 1, such as 50%",
    Self::ZeroWeight => "a weight of 0 leaves a client no share; give a weight of at least 1",
    Self::TooManyRegions { most } => "there is room for {most} regions; name fewer, or make room by the \
        length of Regions",
    Self::DuplicateRegion { region: Label(region) } => "region {region} is named twice; give it one share",
    Self::ZeroShare { region: Some(Label(region)) } =>
        "the share of region {region} is less than a cost of 1; raise the share or the limit",
    Self::ZeroShare { region: None } =>
        "the share of all other regions is less than a cost of 1; raise the share or the limit",
    Self::SharesAboveOne => "the shares of the regions add up to more than 1; lower some of them",
    Self::NoCommonDenominator =>
        "the shares of the regions have no common denominator of 64 bits; round them, for \
        example to per cent",
    Self::NoTier => "no tier is named; name at least one, since unknown tiers count as the first",
    Self::DuplicateTier(Label(label)) => "tier {label} is named twice; give it one ratio",
    Self::ZeroTier(Label(label)) =>
        "tier {label} has a ratio of 0; give one above 0, or give clients that may do nothing a limit of 0/s",
    Self::TierTooLarge(Label(label), error) => "tier {label}: {error}",
}
