//! Writing states as bytes and reading them back, without allocation and without trust.

use core::fmt;

/// The state of a key under a strategy.
///
/// * `Default` and [`FRESH`](Self::FRESH) MUST be the state of a key never seen.
/// * The encoded form MUST tell its own end, start with a tag that names the strategy and the version of the
///   form, and be no longer than `MAX_LEN`.
/// * `decode` MUST refuse, without panicking, whatever `encode` cannot have written.
pub trait State: Default + Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The state of a key never seen, as a constant, of which a storage can be made that is a `static`.
    const FRESH: Self;
    /// The longest encoded form, in bytes.
    const MAX_LEN: usize;

    /// Appends the encoded form.
    fn encode(&self, out: &mut Writer<'_>);

    /// Reads the encoded form.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Appends to a buffer of fixed size.
///
/// Writing beyond its end is remembered, and makes [`encode`] answer `None`.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    overflowed: bool,
}

impl<'a> Writer<'a> {
    /// Writes to the front of a buffer.
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0, overflowed: false }
    }

    /// How many bytes were written; `None` if the buffer is shorter.
    pub(crate) fn length(&self) -> Option<usize> {
        (!self.overflowed).then_some(self.length)
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
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

/// Takes from the front of some bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes a known number of bytes.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes a byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.bytes().map(u8::from_le_bytes)
    }

    /// Takes four bytes, least significant first.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.bytes().map(u32::from_le_bytes)
    }

    /// Takes eight bytes, least significant first.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Takes a byte that must be this one.
    pub fn tag(&mut self, tag: u8) -> Result<(), DecodeError> {
        if self.u8()? == tag { Ok(()) } else { Err(DecodeError) }
    }

    /// How many bytes are left.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// These bytes are no state of this strategy and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DecodeError;

texts! { DecodeError:
    Self => "these bytes are no state of this strategy and version",
}

/// The form of a state as a number: its tag, with its longest length, since a form with more room than
/// another is none that the other can read.
pub(crate) fn form<T: State>() -> u32 {
    let mut tag = [0];
    // Of the whole there is room for the tag alone.
    let _ = encode(&T::default(), &mut tag);
    u32::try_from(T::MAX_LEN).unwrap_or(u32::MAX) << 8 | u32::from(tag[0])
}

/// Writes a state to the front of `buffer` and tells its length; `None` if the buffer is shorter than it.
/// A buffer of [`State::MAX_LEN`] bytes is always long enough.
#[must_use]
pub fn encode<T: State>(state: &T, buffer: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(buffer);
    state.encode(&mut writer);
    writer.length()
}

/// Reads a state that takes up all of `bytes`.
pub fn decode<T: State>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let state = T::decode(&mut reader)?;
    if reader.is_empty() { Ok(state) } else { Err(DecodeError) }
}
