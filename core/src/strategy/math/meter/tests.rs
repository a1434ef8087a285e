//! Refunds in other units than those of the state.

use super::*;

/// A refund in other units than those of the state must neither round the state up nor truncate the amount.
#[test]
fn a_refund_in_other_units_frees_what_was_taken_at_most() {
    let now = Timestamp::from_micros(1_000);
    let [old, new] = ["3/7us", "2/5us"].map(|rate| Meter::new(rate.parse().unwrap(), 10));
    for used in [8, 9, 14, u64::MAX / 2, u64::MAX] {
        let state = Level { at: now, used, pace: old.pace() };
        for level in 0..=20 {
            let mut refunded = state;
            let receipt = Receipt { level, unit: new.pace().to_u64(), ..Receipt::new(now) };
            new.refund(&mut refunded, &Hit::new(2), receipt, now);
            assert!(refunded.used <= used, "took {level}: {state:?} became {refunded:?}");
            assert!(used - refunded.used <= 2 * old.unit, "freed too much: {state:?} became {refunded:?}");
        }
    }
    let mut huge = Level { at: now, used: u64::MAX, pace: Pace::new(1, 0) };
    let taken = Receipt { level: 2 * new.unit, unit: new.pace().to_u64(), ..Receipt::new(now) };
    new.refund(&mut huge, &Hit::new(2), taken, now);
    assert_eq!(huge, Level { at: now, used: u64::MAX - 2, pace: Pace::new(1, 0) });
}
