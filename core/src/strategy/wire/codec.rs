//! Writing states as bytes and reading them back, without allocation and without trusting the bytes.

use core::fmt;

/// The state of a key under a strategy, with its encoding as bytes.
///
/// Implement it for a strategy of your own; the states of this crate have it.
///
/// ```
/// use traffik::strategy::{DecodeError, Reader, State, Writer, decode, encode};
///
/// #[derive(Clone, Debug, Default, PartialEq)]
/// struct Counter(u32);
///
/// impl State for Counter {
///     const FRESH: Self = Self(0);
///     const MAX_LEN: usize = 5;
///     fn encode(&self, out: &mut Writer<'_>) {
///         out.u8(0x80); // tags from 0x80 on are free for your strategies
///         out.u32(self.0);
///     }
///     fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
///         input.tag(0x80)?;
///         Ok(Self(input.u32()?))
///     }
/// }
///
/// let mut bytes = [0; Counter::MAX_LEN];
/// assert_eq!(encode(&Counter(7), &mut bytes), Some(5));
/// assert_eq!(decode(&bytes), Ok(Counter(7)));
/// ```
///
/// * `Default` and [`FRESH`](Self::FRESH) MUST be the state of a key never seen.
/// * The encoded form MUST determine its own length, start with a tag that names the strategy and the version
///   of the form, and be no longer than `MAX_LEN`.
/// * `decode` MUST refuse, without panicking, any bytes that `encode` cannot have written.
pub trait State: Default + Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The state of a key never seen, as a constant, so that a storage can be a `static`.
    const FRESH: Self;
    /// The length of the longest encoded form, in bytes.
    const MAX_LEN: usize;

    /// Appends the encoded form.
    fn encode(&self, out: &mut Writer<'_>);

    /// Reads the encoded form.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are no state of this strategy and version.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// A writer to the front of a buffer of fixed size, for [`State::encode`].
///
/// Writing beyond the end makes [`encode`] return `None`.
///
/// ```
/// use traffik::strategy::{State, encode};
/// use traffik::{FixedWindow, Strategy};
///
/// let state = <FixedWindow as Strategy>::State::default();
/// assert_eq!(encode(&state, &mut [0; 32]), Some(13));
/// assert_eq!(encode(&state, &mut [0; 12]), None);
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    overflowed: bool,
}

impl<'a> Writer<'a> {
    /// Returns a writer to the front of a buffer.
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0, overflowed: false }
    }

    /// Returns the number of bytes written, or `None` if the buffer is too short.
    pub(crate) fn length(&self) -> Option<usize> {
        (!self.overflowed).then_some(self.length)
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        // After an overflow a shorter piece may still fit, which is harmless: no length is returned then.
        match self.buffer.get_mut(self.length..self.length.saturating_add(bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.overflowed = true,
        }
    }

    /// Appends a byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Appends four bytes, least significant first.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Appends eight bytes, least significant first.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }
}

/// A reader from the front of some bytes, for [`State::decode`].
///
/// ```
/// use traffik::strategy::Reader;
///
/// let mut reader = Reader::new(&[0x80, 7, 0, 0, 0]);
/// reader.tag(0x80)?;
/// assert_eq!(reader.u32()?, 7);
/// assert!(reader.is_empty());
/// # Ok::<(), traffik::strategy::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Returns a reader of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes `N` bytes.
    ///
    /// # Errors
    ///
    /// Fails if fewer bytes are left.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// Fails if none is left.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.bytes().map(u8::from_le_bytes)
    }

    /// Takes four bytes, least significant first.
    ///
    /// # Errors
    ///
    /// Fails if fewer bytes are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.bytes().map(u32::from_le_bytes)
    }

    /// Takes eight bytes, least significant first.
    ///
    /// # Errors
    ///
    /// Fails if fewer bytes are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Takes one byte, which must be `tag`.
    ///
    /// # Errors
    ///
    /// Fails if it is another one, or if none is left.
    pub fn tag(&mut self, tag: u8) -> Result<(), DecodeError> {
        if self.u8()? == tag { Ok(()) } else { Err(DecodeError) }
    }

    /// Returns the number of bytes left.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Reports whether no byte is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// The error of bytes that are no state of this strategy and version.
///
/// ```
/// use traffik::strategy::{DecodeError, decode};
/// use traffik::{FixedWindow, Strategy};
///
/// type State = <FixedWindow as Strategy>::State;
/// assert_eq!(decode::<State>(b"no state"), Err(DecodeError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DecodeError;

texts! { DecodeError:
    Self => "the bytes are not a state of this strategy and version",
}

/// Returns the form of a state as a number: its tag and its longest length.
///
/// The length belongs to the form, since a form with less room cannot read one with more.
pub(crate) fn form<T: State>() -> u32 {
    let mut tag = [0];
    // The buffer holds only the tag, so `encode` returns `None`, but has written it.
    let _ = encode(&T::default(), &mut tag);
    // MAX_LEN · 256 + tag
    u32::try_from(T::MAX_LEN).unwrap_or(u32::MAX) << 8 | u32::from(tag[0])
}

/// Writes a state to the front of `buffer` and returns its length, or `None` if the buffer is too short.
///
/// A buffer of [`State::MAX_LEN`] bytes is always long enough.
#[must_use]
pub fn encode<T: State>(state: &T, buffer: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(buffer);
    state.encode(&mut writer);
    writer.length()
}

/// Reads a state that takes up all of `bytes`.
///
/// # Errors
///
/// Fails if the bytes are no state of this strategy and version, or if bytes are left over.
pub fn decode<T: State>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let state = T::decode(&mut reader)?;
    // Bytes left over belong to no state that was written.
    if reader.is_empty() { Ok(state) } else { Err(DecodeError) }
}
