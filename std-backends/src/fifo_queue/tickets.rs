//! The tickets of one key among those of all keys.

use std::ops::RangeInclusive;

use traffik_core::storage::Ticket;

/// Returns the range of all tickets of a key.
pub(super) fn tickets_of(key: u64) -> RangeInclusive<Ticket> {
    Ticket { key, number: 0 }..=Ticket { key, number: u64::MAX }
}
