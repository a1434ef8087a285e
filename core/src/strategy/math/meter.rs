//! The arithmetic of all buckets: a level that hits raise and time drains, exactly.
//!
//! A rate of `limit` per `period` is `n / d` in lowest terms, in cost per microsecond. The level is counted
//! in units of `1 / d` of a cost, so `unit = d` and `drain = n`. A hit of cost `c` raises the level by
//! `c · unit`, a microsecond lowers it by `drain`, and nothing is ever rounded. This is the continuous-state
//! leaky bucket of ITU-T Recommendation I.371, Annex A, in integers.

use crate::decision::{Figures, Kind, Quotient};
use crate::divide::{Divisor, divide, divide_up, product};
use crate::ratio::gcd;
use crate::strategy::Hit;
use crate::strategy::math::pace::Pace;
use crate::strategy::math::rebase::{SLACK, is_ahead};
use crate::strategy::wire::formula::{ScriptFormula, ScriptLimit};
use crate::{CapacityError, Decision, Rate, Receipt, Timestamp};

mod bounds;
mod change;
mod level;
#[cfg(test)]
mod tests;
mod turns;

pub use level::Level;

/// A rate and a capacity, in units in which both are whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meter {
    /// The units drained per microsecond; see [`Self::drain`].
    drain: Divisor,
    /// Units per cost of 1; 0 stands for an unlimited rate.
    pub(crate) unit: u64,
    /// Units that may be in use after an admission.
    pub(crate) capacity: u64,
    /// The largest cost that can ever pass.
    pub(crate) largest_cost: u32,
    /// The upper half of its [`Pace`], beside the units.
    mark: u32,
    /// The rate that the meter was made of.
    pub(crate) rate: Rate,
}

impl Meter {
    /// Returns a meter for `rate` that holds `burst`, or as much of it as can be counted.
    pub(crate) const fn new(rate: Rate, burst: u32) -> Self {
        if rate.is_unlimited() {
            return Self {
                drain: Divisor::new(0),
                unit: 0,
                capacity: 0,
                largest_cost: u32::MAX,
                mark: 0,
                rate,
            };
        }
        // limit / period = drain / unit in lowest terms, by their greatest common divisor.
        let (limit, period) = (rate.limit() as u64, rate.period_micros());
        let divisor = gcd(limit, period);
        let unit = divide(period, divisor).0;
        let countable = largest_cost(u64::MAX, unit);
        let burst = if burst > countable { countable } else { burst };
        let capacity = burst as u64 * unit;
        Self { drain: Divisor::new(0), unit, capacity, largest_cost: burst, mark: 0, rate }
            .draining(divide(limit, divisor).0)
    }

    /// Sets the capacity in units, which must fit 64 bits and amount to a cost that fits 32.
    pub(crate) const fn with_capacity(self, capacity: u128) -> Result<Self, CapacityError> {
        if self.is_unlimited() {
            return Ok(self);
        }
        let largest = largest_cost(u64::MAX, self.unit);
        if capacity > u64::MAX as u128 {
            return Err(CapacityError { largest });
        }
        let capacity = capacity as u64;
        // The largest cost that can pass is ⌊capacity / unit⌋.
        let (cost, _) = divide(capacity, self.unit);
        if cost > largest as u64 {
            return Err(CapacityError { largest });
        }
        Ok(Self { capacity, largest_cost: cost as u32, ..self })
    }

    /// Multiplies the units by `parts` without checks, and clears the capacity, which must be set again.
    pub(crate) const fn divided(self, parts: u64) -> Self {
        let drain = self.drain() * parts;
        Self { unit: self.unit * parts, capacity: 0, largest_cost: 0, ..self }.draining(drain)
    }

    /// Sets the units drained in a microsecond.
    pub(crate) const fn draining(self, drain: u64) -> Self {
        Self { drain: Divisor::new(drain), mark: Pace::mark(self.unit, drain), ..self }
    }

    /// Multiplies units, drain and capacity by `factor`, if they can be counted then.
    pub(crate) const fn refine(self, factor: u64) -> Result<Self, CapacityError> {
        if self.is_unlimited() || factor == 0 {
            return Ok(self);
        }
        let scaled = (
            self.drain().checked_mul(factor),
            self.unit.checked_mul(factor),
            self.capacity.checked_mul(factor),
        );
        match scaled {
            (Some(drain), Some(unit), Some(capacity)) if Pace::is_countable(unit) => {
                Ok(Self { unit, capacity, ..self }.draining(drain))
            }
            _ => Err(CapacityError { largest: largest_cost(divide(u64::MAX, factor).0, self.unit) }),
        }
    }

    /// Returns the units of a cost: `cost · unit`.
    pub(crate) const fn units(self, cost: u64) -> u128 {
        cost as u128 * self.unit as u128
    }

    /// Returns the units drained in a microsecond; 0 if nothing ever drains.
    #[inline]
    pub(crate) const fn drain(self) -> u64 {
        self.drain.get()
    }

    pub(crate) const fn is_unlimited(self) -> bool {
        self.unit == 0
    }

    /// Returns the pace of this meter: its units, and how fast they drain.
    #[inline]
    pub(crate) const fn pace(&self) -> Pace {
        Pace::of_units(self.unit, self.mark)
    }

    /// Checks that every number of this meter stays below 2⁵³, where a double is exact.
    ///
    /// An error subtracts `spare`, the part of the largest cost that is not shown as the limit.
    pub(crate) const fn fits_script(self, spare: u32) -> Result<(), CapacityError> {
        const BOUND: u64 = (1 << 53) - 1;
        if self.capacity <= BOUND {
            Ok(())
        } else {
            Err(CapacityError { largest: largest_cost(BOUND, self.unit).saturating_sub(spare) })
        }
    }

    /// Shows how a store decides on this hit, in turn (a queue) or at once; returns `false` if it cannot.
    pub(crate) fn parts_of(self, in_turn: bool, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        if self.is_unlimited() {
            visit(ScriptLimit::unlimited());
            return true;
        }
        if self.fits_script(0).is_err() {
            return false;
        }
        let (drain, unit, capacity) = (self.drain(), self.unit, self.capacity);
        let formula = match in_turn {
            true => ScriptFormula::Queue { drain, unit, capacity },
            false => ScriptFormula::Level { drain, unit, capacity },
        };
        visit(ScriptLimit::new(formula, hit));
        true
    }

    /// Returns the time of decision, and the units in use then, for a state at this meter's pace.
    #[inline]
    fn drained(&self, state: Level, now: Timestamp) -> (Timestamp, u64) {
        // A time before the state's own counts as the state's own.
        if state.at > now {
            return (state.at, state.used);
        }
        // used' = max(used − passed · drain, 0); most products fit 64 bits and need no wider multiplication.
        let passed = now.as_micros() - state.at.as_micros();
        let drained = match (u32::try_from(passed), u32::try_from(self.drain())) {
            (Ok(passed), Ok(drain)) => u64::from(passed) * u64::from(drain),
            _ => product(passed, self.drain()),
        };
        (now, state.used.saturating_sub(drained))
    }

    /// Returns the cost in use, rounded up: `⌈used / unit⌉`.
    pub(crate) fn cost(&self, state: &Level, now: Timestamp) -> u32 {
        let (_, used) = self.level(state, now);
        u32::try_from(divide_up(used, self.unit)).unwrap_or(u32::MAX)
    }

    /// Decides on a hit.
    ///
    /// `shown` is the limit that the decision shows, and the part of the capacity that does not count as
    /// remaining: a debt that is allowed, but not offered.
    #[inline(always)]
    pub(crate) fn decide(&self, state: &mut Level, hit: &Hit, now: Timestamp, shown: (u32, u32)) -> Decision {
        self.decide_after(state, hit, now, shown, |_, offered| (Kind::Allow, offered))
    }

    /// Decides on a hit, and calls `admit` for the kind of admission.
    ///
    /// `admit` gets the time in which the use before the hit drains, and the units that can be had at once.
    #[inline(always)]
    fn decide_after(
        &self,
        state: &mut Level,
        hit: &Hit,
        now: Timestamp,
        (limit, spare): (u32, u32),
        admit: impl FnOnce(Quotient, Quotient) -> (Kind, Quotient),
    ) -> Decision {
        if self.is_unlimited() {
            return Decision::unlimited();
        }
        let (at, mut used, is_changed) = self.present(state, now);
        let behind = at.as_micros() - now.as_micros();
        // offered = capacity − spare · unit
        let offered = Quotient::whole(self.capacity - u64::from(spare) * self.unit);
        // From this check on the state drains at this meter's pace, whatever the outcome.
        if is_changed {
            *state = Level { at, used, pace: self.pace() };
        }
        let (kind, recorded, wait) = if hit.cost == 0 {
            (Kind::Allow, is_changed, offered)
        } else if hit.cost > self.largest_cost {
            (Kind::Never, is_changed, offered)
        } else {
            let cost = u64::from(hit.cost) * self.unit;
            // Admitted if used + cost ≤ capacity, else used − room units have to drain first.
            let room = self.capacity - cost;
            if used <= room {
                let (kind, wait) = admit(self.turn(used, behind), offered);
                used += cost;
                *state = Level { at, used, pace: self.pace() };
                (kind, true, wait)
            } else if self.drain() == 0 {
                (Kind::Never, is_changed, offered)
            } else {
                (Kind::Deny, is_changed, self.wait(used - room, behind))
            }
        };
        let figures = Figures {
            limit,
            rate: self.rate,
            remaining: Quotient { num: offered.num.saturating_sub(used), den: self.unit },
            reset: self.wait(used, behind),
            receipt: Receipt { level: used, unit: self.pace().to_u64(), ..Receipt::new(at) },
        };
        figures.of_bucket(kind, recorded, wait)
    }

    /// Returns the time in which `units` drain, counted from a present `behind` µs before the state's own
    /// time.
    #[inline]
    fn wait(&self, units: u64, behind: u64) -> Quotient {
        if behind > 0 && units > 0 {
            return self.wait_behind(units, behind);
        }
        Quotient { num: units, den: self.drain() }
    }

    /// Returns the time until a place in a queue has its turn, with `units` before it.
    ///
    /// Each place has a turn of its own, however far ahead the state lies. If it lies further ahead than a
    /// late reading of the clock explains, nothing has drained by this clock, so its places are spaced from
    /// the present on.
    #[inline]
    fn turn(&self, units: u64, behind: u64) -> Quotient {
        let is_late = behind > 0 && behind <= SLACK && units > 0;
        let num = if is_late { units.saturating_add(product(behind, self.drain())) } else { units };
        Quotient { num, den: self.drain() }
    }

    /// Adds the time behind to a wait, which stays within the time that a full meter takes to drain.
    #[cold]
    fn wait_behind(&self, units: u64, behind: u64) -> Quotient {
        let behind = product(behind, self.drain()).min(self.capacity.saturating_sub(units));
        Quotient { num: units.saturating_add(behind), den: self.drain() }
    }

    /// Moves a state that lies ahead of its clock to the present, and reports whether it did.
    pub(crate) fn rebase(self, state: &mut Level, now: Timestamp) -> bool {
        // From the present on it drains as it would have from its own time on, so nothing is granted.
        let is_ahead = is_ahead(state.at, now, 0);
        if is_ahead {
            state.at = now;
        }
        is_ahead
    }

    /// Brings a state forward to `to`, at which another limit takes over.
    pub(crate) fn advance(self, state: &mut Level, to: Timestamp) {
        if state.is_at_another(self.pace()) {
            // This limit had not taken over by then, so the state keeps the other's pace.
            if self.expires_at(state) <= to {
                *state = Level::default();
            }
            return;
        }
        let (at, used) = self.level(state, to);
        *state = self.state(at, used).open();
    }

    /// Brings the level of a receipt forward in the same way.
    pub(crate) fn advance_receipt(self, receipt: &mut Receipt, to: Timestamp) {
        let (at, level) = self.level(&Level::of(*receipt), to);
        *receipt = Receipt { at, level, unit: self.pace().to_u64(), ..*receipt }.open();
    }

    /// Returns the state of a level; that of a key never seen if nothing is in use.
    pub(crate) fn state(self, at: Timestamp, used: u64) -> Level {
        if used == 0 { Level::default() } else { Level { at, used, pace: self.pace() } }
    }

    /// Charges a hit without a check, and saturates.
    pub(crate) fn charge(self, state: &mut Level, hit: &Hit, now: Timestamp) {
        if self.is_unlimited() || hit.cost == 0 {
            return;
        }
        let (at, used) = self.level(state, now);
        let used = used.saturating_add(u64::from(hit.cost).saturating_mul(self.unit));
        *state = Level { at, used, pace: self.pace() };
    }

    /// Takes back what is left of a charge.
    ///
    /// Right after the charge the level was `receipt.level`, and the use below the charge drains first. So
    /// what is left is `min(receipt.level − drained since, cost · unit)`. If other hits came meanwhile, this
    /// is less than what the charge displaced, never more.
    pub(crate) fn refund(self, state: &mut Level, hit: &Hit, receipt: Receipt, now: Timestamp) {
        if self.is_unlimited() {
            return;
        }
        let (at, used) = self.level(state, now);
        let left = self.left(hit, receipt, at);
        *state = if state.pace.unit() == self.unit {
            self.state(at, used.saturating_sub(left))
        } else {
            // Counted in the state's own units nothing is rounded, and whole costs are whole in either.
            let whole = divide(left, self.unit).0.saturating_mul(state.pace.unit());
            match state.used.saturating_sub(whole) {
                0 => Level::default(),
                used => Level { used, ..*state },
            }
        };
    }

    /// Returns the units of a charge that are left at the time `at`.
    ///
    /// If the limit has changed since, the time of the change is not known, so the faster of both rates
    /// counts.
    pub(crate) fn left(self, hit: &Hit, receipt: Receipt, at: Timestamp) -> u64 {
        if receipt.at > at {
            // The state was moved back to a clock that was set back, so the drain since is not known.
            return 0;
        }
        let charged = Level::of(receipt);
        let (_, left) = self.level(&charged, at);
        let (_, at_own) = self.level(&charged.open(), at);
        left.min(at_own).min(u64::from(hit.cost).saturating_mul(self.unit))
    }

    /// Returns the time at which the level is empty: `at + ⌈used / drain⌉`.
    #[inline]
    pub(crate) fn expires_at(&self, state: &Level) -> Timestamp {
        if state.pace != self.pace() {
            return self.fresh_at_its_own_pace(state);
        }
        // Without a drain a level in use never empties.
        match self.drain() {
            _ if state.used == 0 => state.at,
            0 => Timestamp::MAX,
            _ => state.at.plus_micros(self.drain.divide_up(state.used)),
        }
    }

    /// Returns the time in which a full meter drains, in microseconds: `⌈capacity / drain⌉`.
    pub(crate) const fn max_ttl(self) -> u64 {
        if self.capacity == 0 {
            return 0;
        }
        match self.drain() {
            0 => u64::MAX,
            _ => self.drain.divide_up(self.capacity),
        }
    }
}

/// Returns the largest whole cost whose units stay within `bound`: `⌊bound / unit⌋`, at most 32 bits.
const fn largest_cost(bound: u64, unit: u64) -> u32 {
    let (largest, _) = divide(bound, unit);
    if largest < u32::MAX as u64 { largest as u32 } else { u32::MAX }
}
