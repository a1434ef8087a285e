//! Bucket4j 8: what becomes of the tokens when a bucket is configured anew, by the examples of its manual
//! ("TokensInheritanceStrategy").

use traffik::{Hit, Rate, Strategy, TokenBucket};

use super::millis;

/// A bucket of 100 with so many tokens, the capacity it is changed to, and its tokens then by the strategies
/// `PROPORTIONALLY`, `AS_IS` and `ADDITIVE`.
const ROWS: [(u32, u32, [i64; 3]); 3] =
    [(40, 200, [80, 40, 140]), (40, 20, [8, 20, 20]), (10, 20, [2, 10, 10])];

/// Ours is `ADDITIVE` for a larger bucket: what was used stays used, and there is as much more. For a smaller
/// one it is stricter than all three: there is as much less, and what lies below zero is owed. Else who
/// changes a limit to and fro would grant `100 - 20` tokens with every turn.
#[test]
fn used_tokens_stay_used_as_in_additive_buckets() {
    let rate = Rate::per_minute(10);
    let before = TokenBucket::new(rate).burst(100).unwrap();
    for (available, capacity, [proportionally, as_is, additive]) in ROWS {
        let after = TokenBucket::new(rate).burst(capacity).unwrap();
        let mut state = Default::default();
        assert!(before.decide(&mut state, &Hit::new(100 - available), millis(0)).is_allowed());
        let own = after.stat(&state, Default::default(), millis(0)).tokens;
        assert_eq!(own, i64::from(available) + i64::from(capacity) - 100, "{available} of {capacity}");
        let told = after.peek(&state, &Hit::new(0), millis(0)).remaining();
        assert_eq!(i64::from(told), own.max(0));
        if capacity > 100 {
            assert_eq!(own, additive);
        } else {
            assert!([proportionally, as_is, additive].into_iter().all(|theirs| own < theirs));
        }
        // To and fro, nothing is granted.
        assert_eq!(before.peek(&state, &Hit::new(0), millis(0)).remaining(), available);
    }
}
