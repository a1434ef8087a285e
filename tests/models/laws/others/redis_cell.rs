//! redis-cell 0.5.0: what `CL.THROTTLE` answers, by the table of its own test.

use std::time::Duration;

use traffik::{Gcra, Hit, Rate, Strategy};

use super::millis;

/// Milliseconds since the start, the volume, whether it is limited, what remains, and in milliseconds when
/// all is back and when to come back; `None` stands for its -1.
type Row = (u64, u32, bool, u32, u64, Option<u64>);

/// A burst of 5, one more each second.
const ROWS: [Row; 15] = [
    (0, 6, true, 5, 0, None),
    (0, 1, false, 4, 1_000, None),
    (0, 1, false, 3, 2_000, None),
    (0, 1, false, 2, 3_000, None),
    (0, 1, false, 1, 4_000, None),
    (0, 1, false, 0, 5_000, None),
    (0, 1, true, 0, 5_000, Some(1_000)),
    (3_000, 1, false, 2, 3_000, None),
    (3_100, 1, false, 1, 3_900, None),
    (4_000, 1, false, 1, 4_000, None),
    (8_000, 1, false, 4, 1_000, None),
    (9_500, 1, false, 4, 1_000, None),
    (9_500, 0, false, 4, 1_000, None),
    (9_500, 2, false, 2, 3_000, None),
    (9_500, 5, true, 2, 3_000, Some(3_000)),
];

#[test]
fn redis_cells_table_holds() {
    let limit = Gcra::new(Rate::per_second(1)).burst(5).unwrap();
    let mut state = Default::default();
    for (row, (at, volume, limited, remaining, reset, retry)) in ROWS.into_iter().enumerate() {
        let decision = limit.decide(&mut state, &Hit::new(volume), millis(at));
        let told = (!decision.is_allowed(), decision.limit(), decision.remaining());
        assert_eq!(told, (limited, 5, remaining), "row {row}");
        assert_eq!(decision.reset_after(), Duration::from_millis(reset), "row {row}");
        assert_eq!(decision.retry_after(), retry.map(Duration::from_millis), "row {row}");
    }
}
