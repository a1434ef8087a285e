//! A strategy's own figures as names and values, for code that does not know the strategy.

use core::fmt;

use crate::strategy::Label;
use crate::{Ratio, Timestamp};

/// The value of one figure of a strategy.
///
/// [`StatsSnapshot::find`](crate::strategy::StatsSnapshot::find) returns it by name, as for metrics or a
/// status page.
///
/// ```
/// use traffik::strategy::{StatValue, StatsSnapshot};
/// use traffik::{Class, FixedWindow, Strategy, Timestamp, rate};
///
/// let stat = FixedWindow::new(rate!("5/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
/// match StatsSnapshot::of(&stat).find("current_count") {
///     Some(StatValue::Count(used)) => assert_eq!(used, 0),
///     other => panic!("the count is a `Count`, not {other:?}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum StatValue {
    /// A number, or an amount of cost.
    Count(u64),
    /// An amount that is below zero if it is owed.
    Balance(i64),
    /// A point in time.
    Time(Timestamp),
    /// An exact fraction.
    Ratio(Ratio),
    /// A condition that holds or does not.
    Flag(bool),
    /// The name of a member, a tier or a region.
    Label(Label),
    /// The absence of a figure, such as the refill of an unlimited rate.
    Absent,
}

impl fmt::Display for StatValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(value) => value.fmt(f),
            Self::Balance(value) => value.fmt(f),
            Self::Time(value) => value.fmt(f),
            Self::Ratio(value) => value.fmt(f),
            Self::Flag(value) => value.fmt(f),
            Self::Label(value) => value.0.fmt(f),
            Self::Absent => f.write_str("none"),
        }
    }
}

/// Figures that can be read one by one, under the names of their fields.
///
/// Implement it for the [`Stat`](crate::strategy::Strategy::Stat) of a strategy of your own, if that strategy
/// is to be [chosen at run time](crate::strategy::Erased).
///
/// ```
/// use traffik::strategy::{StatValue, Stats, StatsSnapshot};
///
/// struct Usage {
///     used: u32,
/// }
/// impl Stats for Usage {
///     fn for_each(&self, visit: &mut dyn FnMut(&'static str, StatValue)) {
///         visit("used", self.used.into());
///     }
/// }
/// assert_eq!(StatsSnapshot::of(&Usage { used: 3 }).find("used"), Some(StatValue::Count(3)));
/// ```
pub trait Stats {
    /// Calls `visit` with each figure, always in the same order. Several limits follow one after the other.
    fn for_each(&self, visit: &mut dyn FnMut(&'static str, StatValue));
}

/// Defines a struct of figures that implements [`Stats`] by its field names. `inner` adds the wrapped
/// limit's.
macro_rules! stat {
    ($(#[$about:meta])* $visible:vis struct $stat:ident $(<$inner:ident>)? {
        $($(#[$each:meta])* $shown:vis $field:ident: $type:ty,)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        $visible struct $stat $(<$inner>)? { $($(#[$each])* $shown $field: $type,)+ }

        impl $(<$inner: $crate::strategy::Stats>)? $crate::strategy::Stats for $stat $(<$inner>)? {
            fn for_each(&self, visit: &mut dyn FnMut(&'static str, $crate::strategy::StatValue)) {
                $($crate::strategy::wire::stats::stat!(@show self visit $field);)+
            }
        }
    };
    (@show $this:ident $visit:ident inner) => { $this.inner.for_each($visit) };
    (@show $this:ident $visit:ident $field:ident) => { $visit(stringify!($field), $this.$field.into()) };
}
pub(crate) use stat;

from! { StatValue:
    u8 => Count, u16 => Count, u32 => Count, u64 => Count, i64 => Balance, Timestamp => Time, Ratio => Ratio,
    bool => Flag, Label => Label,
}

impl<T: Into<Self>> From<Option<T>> for StatValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, T::into)
    }
}

impl Stats for () {
    fn for_each(&self, _: &mut dyn FnMut(&'static str, StatValue)) {}
}

impl<A: Stats, B: Stats> Stats for (A, B) {
    fn for_each(&self, visit: &mut dyn FnMut(&'static str, StatValue)) {
        self.0.for_each(visit);
        self.1.for_each(visit);
    }
}

impl<T: Stats, const N: usize> Stats for [T; N] {
    fn for_each(&self, visit: &mut dyn FnMut(&'static str, StatValue)) {
        self.iter().for_each(|it| it.for_each(visit));
    }
}

/// The number of figures that [`StatsSnapshot`] has room for.
const ROOM: usize = 16;

/// The first sixteen figures of any strategy, kept without allocation.
///
/// ```
/// use traffik::strategy::StatsSnapshot;
/// use traffik::{Class, FixedWindow, Strategy, Timestamp, rate};
///
/// let stat = FixedWindow::new(rate!("5/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
/// let names: Vec<_> = StatsSnapshot::of(&stat).iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["window_start", "window_end", "current_count"]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatsSnapshot {
    figures: [(&'static str, StatValue); ROOM],
    length: usize,
}

impl StatsSnapshot {
    /// Copies the figures of `report`. Only the first sixteen are kept.
    #[must_use]
    pub fn of(report: &impl Stats) -> Self {
        let mut reported = Self { figures: [("", StatValue::Absent); ROOM], length: 0 };
        report.for_each(&mut |name, figure| {
            if let Some(place) = reported.figures.get_mut(reported.length) {
                *place = (name, figure);
                reported.length += 1;
            }
        });
        reported
    }

    /// Returns the figures in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, StatValue)> {
        self.figures.iter().take(self.length).copied()
    }

    /// Returns the first figure of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<StatValue> {
        self.iter().find(|(key, _)| *key == name).map(|(_, figure)| figure)
    }
}

impl Stats for StatsSnapshot {
    fn for_each(&self, visit: &mut dyn FnMut(&'static str, StatValue)) {
        self.iter().for_each(|(name, figure)| visit(name, figure));
    }
}

impl fmt::Debug for StatsSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    stat! {
        /// Figures of each kind.
        struct Sample {
            tokens: i64,
            refill: Option<Ratio>,
            full: bool,
        }
    }

    const SAMPLE: Sample = Sample { tokens: -3, refill: Some(Ratio::ONE), full: false };

    #[test]
    fn figures_are_read_by_name_and_in_order() {
        let snapshot = StatsSnapshot::of(&(SAMPLE, Sample { refill: None, ..SAMPLE }));
        let one = [
            ("tokens", StatValue::Balance(-3)),
            ("refill", StatValue::Ratio(Ratio::ONE)),
            ("full", StatValue::Flag(false)),
        ];
        assert_eq!(snapshot.iter().take(3).collect::<Vec<_>>(), one);
        assert_eq!(snapshot.iter().nth(4), Some(("refill", StatValue::Absent)));
        assert_eq!(snapshot.find("refill"), Some(one[1].1));
        assert_eq!((snapshot.find("tat"), snapshot.iter().count()), (None, 6));
        assert_eq!(StatsSnapshot::of(&snapshot), snapshot);
        assert_eq!(one.map(|(_, figure)| figure.to_string()), ["-3", "1", "false"]);
    }

    #[test]
    fn what_finds_no_room_is_left_out() {
        assert_eq!(StatsSnapshot::of(&[SAMPLE, SAMPLE, SAMPLE, SAMPLE, SAMPLE, SAMPLE]).iter().count(), ROOM);
    }
}
