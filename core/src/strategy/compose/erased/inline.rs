//! The state of any strategy as inline bytes.

use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::strategy::{DecodeError, Reader, State, Writer, decode, encode};

/// A state whose type is not known, in its encoded form of at most `LEN` bytes.
///
/// ```
/// use traffik::strategy::InlineState;
/// use traffik::{FixedWindow, Hit, Strategy, Timestamp, rate};
///
/// let mut state = Default::default();
/// FixedWindow::new(rate!("2/s")).charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_eq!(InlineState::<32>::of(&state).bytes().len(), 13);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InlineState<const LEN: usize> {
    /// Bytes beyond the length are 0.
    bytes: [u8; LEN],
    length: u16,
}

/// Returns the state of a key never seen, which takes no bytes under any strategy.
impl<const LEN: usize> Default for InlineState<LEN> {
    fn default() -> Self {
        Self::FRESH
    }
}

impl<const LEN: usize> InlineState<LEN> {
    /// Encodes a state, which must fit `LEN` bytes.
    ///
    /// A state that does not fit counts as that of a key never seen; the callers check the length at compile
    /// time.
    #[inline]
    #[must_use]
    pub fn of<T: State>(state: &T) -> Self {
        let mut inline = Self::default();
        if *state != T::default() {
            let length = encode(state, &mut inline.bytes);
            inline.length = length.and_then(|length| u16::try_from(length).ok()).unwrap_or(0);
        }
        inline
    }

    /// Decodes the state, or returns that of a key never seen if these are another strategy's bytes.
    pub(super) fn read<T: State>(&self) -> T {
        decode(self.bytes()).unwrap_or_default()
    }

    /// Reports whether these are the bytes of such a state.
    pub(super) fn is<T: State>(&self) -> bool {
        decode::<T>(self.bytes()).is_ok()
    }

    /// Returns the encoded form; empty for a key never seen.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }
}

/// Takes the encoded form of a state. Fails with [`DecodeError`] if it is longer than `LEN` bytes.
impl<const LEN: usize> TryFrom<&[u8]> for InlineState<LEN> {
    type Error = DecodeError;

    fn try_from(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut inline = Self::default();
        inline.bytes.get_mut(..bytes.len()).ok_or(DecodeError)?.copy_from_slice(bytes);
        inline.length = u16::try_from(bytes.len()).map_err(|_| DecodeError)?;
        Ok(inline)
    }
}

serde_as_bytes!([const LEN: usize] InlineState<LEN>);

impl<const LEN: usize> State for InlineState<LEN> {
    const FRESH: Self = Self { bytes: [0; LEN], length: 0 };
    const MAX_LEN: usize = 1 + 2 + LEN;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::INLINE);
        out.bytes(&self.length.to_le_bytes());
        out.bytes(self.bytes());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::INLINE)?;
        let mut inline = Self { length: u16::from_le_bytes(input.bytes()?), ..Self::default() };
        for byte in inline.bytes.get_mut(..inline.length.into()).ok_or(DecodeError)? {
            *byte = input.u8()?;
        }
        Ok(inline)
    }
}
