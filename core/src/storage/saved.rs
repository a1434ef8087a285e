//! The memory of a storage of firmware, as bytes that outlast a reset.
//!
//! An image is a magic number with the version of the form, the form of the states, the time of saving, what
//! the storage writes, and a checksum of it all. Numbers are little-endian.

use super::{ErrorKind, StorageError};
use crate::Timestamp;
use crate::strategy::wire::form;
use crate::strategy::{DecodeError, Reader, State, Writer};

/// The first bytes of an image of a storage of one key, version 1.
pub(super) const ONE: u32 = u32::from_le_bytes(*b"tfo1");
/// The first bytes of an image of a table, version 1.
pub(super) const TABLE: u32 = u32::from_le_bytes(*b"tft1");
/// The bytes of an image but for what the storage writes: magic number, form, time, checksum.
pub(super) const FRAME: usize = 4 + 4 + 8 + 4;

/// Writes an image but for its checksum. Returns its length.
pub(super) fn write<T: State>(
    out: &mut [u8],
    magic: u32,
    at: Timestamp,
    body: impl FnOnce(&mut Writer<'_>),
) -> Result<usize, StorageError> {
    let mut writer = Writer::new(out);
    writer.u32(magic);
    writer.u32(form::<T>());
    writer.u64(at.as_micros());
    body(&mut writer);
    writer.length().ok_or(SHORT)
}

/// Appends the checksum of an image of this length. Returns the whole length.
pub(super) fn seal(out: &mut [u8], length: usize) -> Result<usize, StorageError> {
    let (image, rest) = out.split_at_mut_checked(length).ok_or(SHORT)?;
    *rest.first_chunk_mut().ok_or(SHORT)? = checksum(image).to_le_bytes();
    Ok(length + 4)
}

/// An image, opened where the storage's own part begins.
pub(super) struct Image<'a> {
    bytes: &'a [u8],
    pub(super) at: Timestamp,
    pub(super) body: Reader<'a>,
}

impl<'a> Image<'a> {
    /// Opens an image of states of this type.
    pub(super) fn open<T: State>(bytes: &'a [u8], magic: u32) -> Result<Self, DecodeError> {
        let mut body = Reader::new(bytes);
        let is_like = body.u32()? == magic && body.u32()? == form::<T>();
        let at = Timestamp::from_micros(body.u64()?);
        if is_like { Ok(Self { bytes, at, body }) } else { Err(DecodeError) }
    }

    /// Checks that what was read up to `end` is what was written. What is behind the checksum does not
    /// matter: a page of flash is longer than an image.
    pub(super) fn check(&self, end: &Reader<'a>) -> Result<(), DecodeError> {
        let read = self.bytes.len().checked_sub(end.left()).and_then(|read| self.bytes.get(..read));
        if end.clone().u32()? == checksum(read.ok_or(DecodeError)?) { Ok(()) } else { Err(DecodeError) }
    }
}

/// CRC-32 with the polynomial of IEEE 802.3, 0x04C11DB7, reflected. Bit by bit, since a table would take more
/// room than all the rest.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

const SHORT: StorageError =
    StorageError::new(ErrorKind::Invalid, "the buffer is too short; give SAVED bytes");

impl From<DecodeError> for StorageError {
    /// The error of bytes that cannot be restored.
    fn from(DecodeError: DecodeError) -> Self {
        Self::new(
            ErrorKind::Corrupt,
            "these bytes are cut short or changed, or saved by another storage; begin with an empty one",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value that tables of checksums list for CRC-32/ISO-HDLC.
    #[test]
    fn the_checksum_is_the_one_of_ethernet() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }
}
