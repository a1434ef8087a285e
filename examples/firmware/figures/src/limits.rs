//! The limits that are measured.

use traffik_core::{Hours, Label, Rate, Ratio, rate};

/// The rate of most limits. Its limit and its period share no factor, which makes it the most expensive to
/// count.
pub const RATE: Rate = rate!("99991/day");
/// The rate of the log, small enough for its eight entries.
pub const FEW: Rate = rate!("8/day");
pub const HALF: Ratio = match Ratio::new(1, 2) {
    Ok(half) => half,
    Err(_) => Ratio::ONE,
};
pub const TIERS: [(Label, Ratio); 2] = [(Label(0), Ratio::ONE), (Label(1), HALF)];

/// Returns the hours of the night, at half the rate.
pub fn night() -> [Hours; 1] {
    [Hours::new((22, 0), (6, 0), HALF)]
}

/// Calls a macro once for each limit, with `const` if the limit can be built at compile time, else `let`; its
/// name; its type; and the limit, `None` if building fails.
#[macro_export]
macro_rules! limits {
    ($each:ident) => {
        use traffik_core::*;
        use $crate::limits::{FEW, HALF, RATE, TIERS, night};

        $each!(const "FixedWindow", FixedWindow, Some(FixedWindow::new(RATE)));
        $each!(const "SlidingWindow", SlidingWindow, Some(SlidingWindow::new(RATE)));
        $each!(const "StrictWindow<12>", StrictWindow<12>, Some(SlidingWindow::strict::<12>(RATE)));
        $each!(const "SlidingLog<8>", SlidingLog<8>, $crate::made!(SlidingLog::<8>::new(FEW)));
        $each!(const "TokenBucket", TokenBucket, Some(TokenBucket::new(RATE)));
        $each!(const "LeakyBucket", LeakyBucket, $crate::made!(LeakyBucket::new(RATE).capacity(8)));
        $each!(const "LeakyBucketQueue", LeakyBucketQueue, Some(LeakyBucketQueue::new(RATE)));
        $each!(const "Gcra", Gcra, $crate::made!(Gcra::new(RATE).burst(8)));
        $each!(const "Adaptive", Adaptive, Some(Adaptive::new(RATE)));
        $each!(const "QuotaRollover", QuotaRollover, Some(QuotaRollover::new(RATE)));
        $each!(const "CostBased", CostBased, Some(CostBased::new(RATE)));
        $each!(const "FairShare<4>", FairShare<4>, Some(FairShare::<4>::new(RATE)));
        $each!(let "Regions<2>", Regions<2>, Regions::<2>::new(RATE, &[]).ok());
        $each!(let "Tiered<TokenBucket, 2>", Tiered<TokenBucket, 2>, {
            Tiered::new(TokenBucket::new(RATE), TIERS).ok()
        });
        $each!(let "TimeOfDay<TokenBucket, 1>", TimeOfDay<TokenBucket, 1>, {
            TimeOfDay::new(TokenBucket::new(RATE), night()).ok()
        });
        $each!(let "Priority<TokenBucket, 1>", Priority<TokenBucket, 1>, {
            Priority::new(TokenBucket::new(RATE), [(Label(1), HALF)]).ok()
        });
        $each!(const "(TokenBucket, FixedWindow)", (TokenBucket, FixedWindow), {
            Some((TokenBucket::new(RATE), FixedWindow::new(RATE)))
        });
        $each!(const "All<TokenBucket, 2>", All<TokenBucket, 2>, {
            Some(All([TokenBucket::new(RATE), TokenBucket::new(RATE)]))
        });
    };
}

/// Turns a constructor's result into an option, also in a constant.
#[macro_export]
macro_rules! made {
    ($result:expr) => {
        match $result {
            Ok(limit) => Some(limit),
            Err(_) => None,
        }
    };
}
