//! The methods that strategies made of a meter have in common.

/// Implements the methods of a strategy that its field `meter` determines.
///
/// They belong to [`Strategy`](crate::strategy::Strategy), [`Scale`](crate::strategy::Scale) and
/// [`Bounds`](crate::strategy::Bounds). The state depends on the meter alone.
macro_rules! metered {
    (strategy) => {
        type State = $crate::strategy::Level;
        type Cost = u32;
        type Verdict = $crate::Decision;

        fn charge(&self, state: &mut $crate::strategy::Level, hit: &$crate::Hit, now: $crate::Timestamp) {
            self.meter.charge(state, hit, now);
        }

        #[inline]
        fn expires_at(&self, state: &$crate::strategy::Level, _: $crate::Class) -> $crate::Timestamp {
            self.meter.expires_at(state)
        }

        fn max_ttl(&self) -> u64 {
            self.meter.max_ttl()
        }

        fn rebase(&self, state: &mut $crate::strategy::Level, now: $crate::Timestamp) -> bool {
            self.meter.rebase(state, now)
        }

        fn parts_of(&self, hit: &$crate::Hit, visit: &mut dyn FnMut($crate::strategy::ScriptLimit)) -> bool {
            self.meter.parts_of(false, hit, visit)
        }
    };
    // For strategies that decide at once: `$shown` is the limit shown, and the capacity not shown as
    // remaining.
    (strategy, |$it:ident| $shown:expr) => {
        metered!(strategy);

        // Inlined, so that the compiler drops the figures which the caller does not read.
        #[inline(always)]
        fn decide(
            &self,
            state: &mut Self::State,
            hit: &$crate::Hit,
            now: $crate::Timestamp,
        ) -> Self::Verdict {
            let $it = self;
            self.meter.decide(state, hit, now, $shown)
        }

        // Inlined as well: composed limits read only `is_allowed` of a peek.
        #[inline(always)]
        fn peek(&self, state: &Self::State, hit: &$crate::Hit, now: $crate::Timestamp) -> Self::Verdict {
            self.decide(&mut { *state }, hit, now)
        }

        fn refund(
            &self,
            state: &mut Self::State,
            hit: &$crate::Hit,
            receipt: $crate::Receipt,
            now: $crate::Timestamp,
        ) {
            self.meter.refund(state, hit, receipt, now);
        }

        fn fits_script(&self) -> Result<(), $crate::CapacityError> {
            let $it = self;
            self.meter.fits_script($shown.1)
        }
    };
    (scale) => {
        fn advance(&self, state: &mut $crate::strategy::Level, _: $crate::Class, to: $crate::Timestamp) {
            self.meter.advance(state, to);
        }

        fn advance_receipt(&self, receipt: &mut $crate::Receipt, _: $crate::Class, to: $crate::Timestamp) {
            self.meter.advance_receipt(receipt, to);
        }

        // A limit of 0 or an unlimited one has no units, and counts in whole costs.
        fn denominator(&self) -> u64 {
            self.meter.unit.max(1)
        }

        fn refine(&self, factor: u64) -> Result<Self, $crate::CapacityError> {
            Ok(Self { meter: self.meter.refine(factor)?, ..*self })
        }
    };
    (bounds) => {
        fn most(&self, first: $crate::Timestamp, last: $crate::Timestamp) -> u128 {
            self.meter.most(last.micros_since(first))
        }

        fn least(&self, first: $crate::Timestamp, last: $crate::Timestamp, cost: u32) -> u128 {
            self.meter.least(last.micros_since(first), cost)
        }
    };
}
pub(crate) use metered;
