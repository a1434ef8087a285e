//! The parts that the suites share: bounds, the report, contenders in turns, instruction counts, and work for
//! some time.

mod bound;
mod instructions;
mod program;
mod report;
mod turns;
mod work;

pub use bound::{Bound, best};
pub use instructions::{Counted, INSTRUCTIONS, asked};
pub use program::beside;
pub use report::Report;
pub use turns::{Contender, Pair, median, pairs, race};
pub use work::Work;
