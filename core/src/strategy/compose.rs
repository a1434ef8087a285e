//! Strategies made of strategies.

pub(crate) mod all;
pub(crate) mod composite;
pub(crate) mod erased;
pub(crate) mod family;
pub(crate) mod pair;
pub(crate) mod per_limit;
pub(crate) mod priority;
pub(crate) mod tiered;
pub(crate) mod time_of_day;

pub use all::All;
pub use composite::{Composite, Parts};
pub use erased::{DecisionList, Erased, ErasedScale, ErasedStrategy, ErasedVerdict, InlineState};
pub use per_limit::PerLimit;
pub use priority::{Priority, PriorityStat};
pub use tiered::{Tiered, TieredStat};
pub use time_of_day::{TimeOfDay, TimeOfDayStat, TimeOfDayState};
