//! The image of a storage of firmware: bytes that outlast a reset.
//!
//! An image is a magic number with the version of the form, the form of the states, the time of saving, the
//! part that the storage writes, and a checksum of all that. Numbers are little-endian.

use super::{ErrorKind, StorageError};
use crate::Timestamp;
use crate::strategy::wire::form;
use crate::strategy::{DecodeError, Reader, State, Writer};

/// The first bytes of an image of a storage of one key, version 1.
pub(super) const ONE: u32 = u32::from_le_bytes(*b"tfo1");
/// The first bytes of an image of a table, version 1.
pub(super) const TABLE: u32 = u32::from_le_bytes(*b"tft1");
/// The bytes of an image beside the part of the storage: magic number, form, time, checksum.
pub(super) const FRAME: usize = 4 + 4 + 8 + 4;

/// Writes an image without its checksum. Returns its length.
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

/// An image that is being read, at the beginning of the part of the storage.
pub(super) struct Image<'a> {
    bytes: &'a [u8],
    pub(super) at: Timestamp,
    pub(super) body: Reader<'a>,
}

impl<'a> Image<'a> {
    /// Opens an image of states of this type.
    pub(super) fn open<T: State>(bytes: &'a [u8], magic: u32) -> Result<Self, DecodeError> {
        let mut body = Reader::new(bytes);
        // The form names the type of the states, so an image of another strategy is refused and never
        // misread.
        let is_like = body.u32()? == magic && body.u32()? == form::<T>();
        let at = Timestamp::from_micros(body.u64()?);
        if is_like { Ok(Self { bytes, at, body }) } else { Err(DecodeError) }
    }

    /// Checks that the bytes up to `end` have the checksum that follows them.
    ///
    /// Bytes behind the checksum do not matter: a page of flash is longer than an image.
    pub(super) fn check(&self, end: &Reader<'a>) -> Result<(), DecodeError> {
        // read = length - left: all bytes from the magic number up to `end`.
        let read = self.bytes.len().checked_sub(end.left()).and_then(|read| self.bytes.get(..read));
        if end.clone().u32()? == checksum(read.ok_or(DecodeError)?) { Ok(()) } else { Err(DecodeError) }
    }
}

/// Returns the CRC-32 with the polynomial of IEEE 802.3, 0x04C11DB7, reflected.
///
/// It is computed bit by bit, since a table would take more room than all the rest.
fn checksum(bytes: &[u8]) -> u32 {
    // For each bit: sum = (sum >> 1) ^ (0xedb88320 if the lowest bit of sum was set).
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

const SHORT: StorageError =
    StorageError::new(ErrorKind::Invalid, "the buffer is too short for the image; give it SAVED bytes");

impl From<DecodeError> for StorageError {
    /// Returns the error of bytes that cannot be restored.
    fn from(DecodeError: DecodeError) -> Self {
        Self::new(
            ErrorKind::Corrupt,
            "the image is cut short, was changed, or is of another storage; begin with an empty storage",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value in tables of checksums for CRC-32/ISO-HDLC.
    #[test]
    fn the_checksum_is_the_one_of_ethernet() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }
}
