//! Strategies made of strategies.

pub(crate) mod all;
pub(crate) mod erased;
pub(crate) mod family;
pub(crate) mod pair;
pub(crate) mod priority;
pub(crate) mod tiered;
pub(crate) mod time_of_day;

pub use all::{All, Each, Several};
pub use erased::{Erased, ErasedScale, ErasedStrategy, InlineState, Listed, Single};
pub use pair::Both;
pub use priority::{Priority, PriorityError, PriorityStat};
pub use tiered::{TierError, Tiered, TieredStat};
pub use time_of_day::{Hours, HoursError, TimeOfDay, TimeOfDayStat, TimeOfDayState};
