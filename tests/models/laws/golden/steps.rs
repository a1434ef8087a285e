//! One sequence of operations for all strategies, made by a small generator from a fixed seed.

use std::fmt;

use super::list::Sample;
use traffik::{Class, Cost, Label, Timestamp};

/// The first time: no round number, and no beginning of any window.
pub(super) const START: Timestamp = Timestamp::from_micros(1_700_000_000_123_457);

/// How many steps there are.
const COUNT: usize = 120;

/// The operation of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Check,
    Peek,
    Charge,
    /// Of the admission at this place among those not yet taken back, counted round. It may be kept.
    Refund(u64, bool),
    Reset,
}

/// How the time goes on from the step before.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// By so many thousandths of the period, and so many microseconds.
    Forward(u64, u64),
    Still,
    Back(u64),
    /// By some periods and some hours.
    Far(u64),
    To(Timestamp),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) act: Act,
    /// In units of the sample; what a second limit that counts other things is asked for is the other.
    costs: [u32; 2],
    pub(super) class: Class,
    pace: Pace,
}

/// The cost of a pair of numbers: strategies that count two things are asked for both.
pub(super) trait Asked: Cost {
    fn asked(first: u32, second: u32) -> Self;
}

impl Asked for u32 {
    fn asked(first: u32, _: u32) -> Self {
        first
    }
}

impl<A: Asked, B: Asked> Asked for (A, B) {
    fn asked(first: u32, second: u32) -> Self {
        (A::asked(first, second), B::asked(second, first))
    }
}

impl Step {
    pub(super) fn cost<C: Asked>(&self, sample: &Sample) -> C {
        let [first, second] = self.costs.map(|cost| match cost {
            // One in three of the large ones is no multiple of the unit.
            3 => 2 * sample.unit + 1,
            cost => cost.saturating_mul(sample.unit),
        });
        C::asked(first, second)
    }

    /// The time of this step, after a step at another one.
    pub(super) fn time(&self, before: Timestamp, period: u64) -> Timestamp {
        const HOUR: u64 = 3_600_000_000;
        let before = before.as_micros();
        let at = match self.pace {
            Pace::Forward(thousandths, micros) => {
                before.saturating_add(period / 1_000 * thousandths + micros)
            }
            Pace::Still => before,
            Pace::Back(thousandths) => before.saturating_sub(period / 1_000 * thousandths),
            Pace::Far(times) => before.saturating_add(times * (3 * period + 5 * HOUR + 61_000_001)),
            Pace::To(time) => time.as_micros(),
        };
        Timestamp::from_micros(at)
    }
}

impl fmt::Display for Step {
    /// The act, its place, and the labels of tier, priority, region and instance.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.act {
            Act::Check => f.write_str("check")?,
            Act::Peek => f.write_str("peek")?,
            Act::Charge => f.write_str("charge")?,
            Act::Refund(..) => f.write_str("refund")?,
            Act::Reset => return f.write_str("reset"),
        }
        let Class { tier, priority, region, instance, .. } = self.class;
        write!(f, " {}{}{}{}", tier.0, priority.0, region.0, instance.0)
    }
}

/// The generator splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[(self.next() % of.len() as u64) as usize]
    }
}

/// The sequence: the same for every strategy.
pub(super) fn steps() -> Vec<Step> {
    let mut random = Random(0x7261_7465);
    (0..COUNT).map(|number| step(number, &mut random)).collect()
}

fn step(number: usize, random: &mut Random) -> Step {
    let labels: [u32; 4] = std::array::from_fn(|_| random.one_of(&[0, 1, 1, 2, 2, 9]));
    let [tier, priority, region, instance] = labels.map(Label);
    let mut class = Class::default();
    (class.tier, class.priority, class.region, class.instance) = (tier, priority, region, instance);
    let costs = std::array::from_fn(|_| random.one_of(&[0, 1, 1, 1, 1, 1, 2, 2, 3, 5, 8, 40]));
    let place = random.next();
    let act = match random.next() % 16 {
        0..=8 => Act::Check,
        9..=10 => Act::Peek,
        11..=12 => Act::Charge,
        _ => Act::Refund(place, place.is_multiple_of(5)),
    };
    let micros = random.next() % 997;
    let pace = match random.next() % 16 {
        0..=2 => Pace::Still,
        3..=9 => Pace::Forward(random.one_of(&[13, 37, 101, 171, 334]), micros),
        10..=12 => Pace::Forward(random.one_of(&[501, 777, 1_000, 1_301]), micros),
        13..=14 => Pace::Back(random.one_of(&[1, 77, 450, 1_500])),
        _ => Pace::Far(random.one_of(&[1, 1, 2, 31])),
    };
    let (act, pace, costs) = match number {
        0 => (Act::Check, Pace::To(START), [1, 2]),
        1 => (Act::Check, Pace::Still, [1, 1]),
        30 => (Act::Check, pace, [u32::MAX, u32::MAX]),
        44 | 45 => (Act::Charge, pace, [40, 3]),
        60 | 108 | 116 => (Act::Reset, pace, costs),
        // To the end of time, and what is then asked by clocks that are not there yet.
        104 => (Act::Check, Pace::To(Timestamp::MAX), [1, 1]),
        106 => (act, Pace::To(START), costs),
        // To the beginning.
        109 => (Act::Check, Pace::To(Timestamp::EPOCH), [1, 1]),
        // A time so late that times and periods together exceed all numbers.
        117 => (Act::Check, Pace::To(Timestamp::from_micros(u64::MAX - 5)), [1, 1]),
        _ => (act, pace, costs),
    };
    Step { act, costs, class, pace }
}
