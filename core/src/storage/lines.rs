//! The lines in which waiters stand, one for each key.

use core::task::{Context, Poll};

use crate::ErasedKey;

/// A line of waiters for each key: what makes [`Limiter::until_ready`](crate::Limiter::until_ready) fair.
///
/// `traffik-backends` has one, `FirstCome`. A storage holds it and returns it from
/// [`Storage::lines`](super::Storage::lines), which MUST return the same one every time.
///
/// * Places of a key MUST be kept in the order in which they were taken, each until it is left.
/// * A place that becomes the first of its line MUST be woken, and no other.
/// * Nothing MUST be kept of a key for which nobody waits.
pub trait Lines: Send + Sync {
    /// Reports whether nobody waits for a key.
    fn is_empty(&self, key: &dyn ErasedKey) -> bool;

    /// Takes the last place in the line of a key.
    fn join(&self, key: &dyn ErasedKey) -> Place;

    /// Waits until a place is the first of its line, and keeps the waker meanwhile. Ready at once for a place
    /// that was left.
    fn poll_turn(&self, place: Place, context: &mut Context<'_>) -> Poll<()>;

    /// Leaves a place. If it was the first of its line, wakes the next one. Does nothing for a place that was
    /// left.
    fn leave(&self, place: Place);
}

/// A place in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which line.
    pub line: u64,
    /// Which place in it; smaller ones are in front.
    pub ticket: u64,
}
