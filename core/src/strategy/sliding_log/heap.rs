//! A log on the heap, as large as its entries.

use alloc::vec::Vec;

use super::{Entry, Log, LogState, Room};

/// A [`SlidingLog`](super::SlidingLog) whose entries are on the heap, for any limit up to 65 536.
///
/// Choose it for an exact limit that is known only at run time, or that few keys come near. It decides as a
/// [`SlidingLog`](super::SlidingLog) does and has its figures. The heap holds 12 bytes for each entry, and
/// doubles when it is full. `new(rate)` fails if the limit of the rate exceeds 65 536; `rate()` returns that
/// rate.
///
/// ```
/// use traffik::{HeapLog, Hit, Rate, Strategy, Timestamp};
///
/// let log = HeapLog::new(Rate::per_hour(10_000))?;
/// let mut state = Default::default();
/// assert_eq!(log.decide(&mut state, &Hit::new(2), Timestamp::EPOCH).remaining(), 9_998);
/// # Ok::<(), traffik::StrategyError>(())
/// ```
pub type HeapLog = Log<Heap>;

/// The state of a [`HeapLog`].
pub type HeapLogState = LogState<Heap>;

/// Storage on the heap, for up to 65 536 entries of 12 bytes.
///
/// ```
/// use traffik::strategy::{Heap, Log};
/// use traffik::rate;
///
/// assert!(Log::<Heap>::new(rate!("65536/h")).is_ok());
/// assert!(Log::<Heap>::new(rate!("65537/h")).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heap;

impl Room for Heap {
    type Slots = Vec<Entry>;
    const LARGEST: u32 = 1 << 16;
    const EMPTY: Vec<Entry> = Vec::new();

    fn grow(slots: &mut Vec<Entry>) {
        slots.resize((slots.len() * 2).clamp(4, Self::LARGEST as usize), Entry::default());
    }
}
