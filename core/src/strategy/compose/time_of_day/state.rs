//! The state of a limit by time of day.

use crate::Timestamp;
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::strategy::{DecodeError, Reader, State, Writer};

/// The state of a [`TimeOfDay`](crate::strategy::TimeOfDay): the wrapped strategy's state, and its time.
///
/// ```
/// use traffik::strategy::TimeOfDayState;
/// use traffik::{Hit, Hours, Ratio, Strategy, TimeOfDay, Timestamp, TokenBucket, rate};
///
/// let night = Hours::new((22, 0), (6, 0), Ratio::new(1, 2)?);
/// let strategy = TimeOfDay::new(TokenBucket::new(rate!("2/h")), [night])?;
/// let mut state = TimeOfDayState::default();
/// strategy.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, TimeOfDayState::default());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TimeOfDayState<T> {
    /// The time of the last charged hit, which the inner state was brought forward to.
    pub(super) at: Timestamp,
    pub(super) inner: T,
}

impl<T: State> TimeOfDayState<T> {
    pub(super) fn new(at: Timestamp, inner: T) -> Self {
        if inner == T::default() { Self::default() } else { Self { at, inner } }
    }
}

serde_as_bytes!([T: State] TimeOfDayState<T>);

impl<T: State> State for TimeOfDayState<T> {
    const FRESH: Self = Self { at: Timestamp::EPOCH, inner: T::FRESH };
    const MAX_LEN: usize = 1 + 8 + T::MAX_LEN;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::TIME_OF_DAY);
        out.u64(self.at.as_micros());
        self.inner.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::TIME_OF_DAY)?;
        let at = Timestamp::from_micros(input.u64()?);
        let state = Self::new(at, T::decode(input)?);
        // A fresh state has one encoded form: that of a key never seen.
        if state.at == at { Ok(state) } else { Err(DecodeError) }
    }
}
