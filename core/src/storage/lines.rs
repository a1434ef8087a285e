//! Where those who wait for a key stand in line: first come, first served.

use core::task::{Context, Poll};

use crate::strategy::{decode, encode};
use crate::{ErasedKey, State, Timestamp};

/// The lines of those who wait, one for each key: what makes [`Limiter::until_ready`](crate::Limiter::until_ready) fair.
///
/// `traffik-backends` has one, `FirstCome`. A storage holds it and hands it out as [`Storage::lines`](super::Storage::lines).
///
/// * Places of a key MUST be kept in the order in which they were taken, each until it is left.
/// * Whose turn it becomes MUST be woken, and nobody else.
/// * Nothing MUST be kept of a key for which nobody waits.
pub trait Lines: Send + Sync {
    /// Whether nobody waits for a key.
    fn is_empty(&self, key: &dyn ErasedKey) -> bool;

    /// Takes the last place in the line of a key, as what `arrive` makes of who stands in front.
    fn join(&self, key: &dyn ErasedKey, arrive: &mut dyn FnMut(Ahead<'_>) -> Waiter) -> Place;

    /// Notes when who stands at a place will wake by itself, and not be called before; `None` if it will not.
    fn set_alarm(&self, place: Place, alarm: Option<Timestamp>);

    /// Whether it is the turn of a place: it is the first of its line, and has no alarm. Else the waker is kept, and woken
    /// by [`call`](Self::call).
    fn poll_turn(&self, place: Place, context: &mut Context<'_>) -> Poll<()>;

    /// Leaves a place. If it was the first of its line, tells which is now, and when who stands there will wake by itself.
    fn leave(&self, place: Place) -> Option<(Place, Option<Timestamp>)>;

    /// Takes the alarm of a place back and wakes who stands there, if anybody does.
    fn call(&self, place: Place);
}

/// A place in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which line.
    pub line: u64,
    /// Which place in it; smaller ones are in front.
    pub ticket: u64,
}

/// Who stands in front when somebody joins a line.
#[derive(Clone, Copy, Debug)]
pub enum Ahead<'a> {
    /// Nobody.
    Nobody,
    /// Somebody, and what is expected of the last one if that is known.
    Somebody(Option<&'a Foreseen>),
}

/// What a line keeps of who joins it.
#[derive(Clone, Debug, Default)]
pub struct Waiter {
    /// When it will wake by itself.
    pub alarm: Option<Timestamp>,
    /// What is expected of it.
    pub foreseen: Option<Foreseen>,
}

/// What is expected of who waits: when it will be admitted, and the state of the key from then on, if nothing comes
/// between. What a strategy decides depends on nothing else, so whoever is next can tell its own time from it.
#[derive(Clone, Debug)]
pub struct Foreseen {
    at: Timestamp,
    /// The state in its encoded form: lines do not know whose they are.
    state: [u8; Self::ROOM],
    length: usize,
}

impl Foreseen {
    /// Enough for all states but logs and tables.
    const ROOM: usize = 128;

    /// None for a state that is too long.
    pub(crate) fn new<T: State>(at: Timestamp, state: &T) -> Option<Self> {
        let mut bytes = [0; Self::ROOM];
        let length = encode(state, &mut bytes)?;
        Some(Self { at, state: bytes, length })
    }

    /// When it will be.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    pub(crate) fn state<T: State>(&self) -> Option<T> {
        decode(self.state.get(..self.length)?).ok()
    }
}
