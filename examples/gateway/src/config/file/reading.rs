//! Reads a file whole or not at all.

use std::fs::{Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Largest file that is read, in bytes: some hundred thousand throttles.
const LARGEST: u64 = 64 << 20;

/// Returns the bytes of a regular file of at most 64 MiB.
///
/// # Errors
///
/// Fails if the path names anything else, or the file changed while it was read.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    // Opening a pipe would otherwise wait for its writer.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let mut file = file.map_err(|error| error.to_string())?;
    let before = file.metadata().map_err(|error| error.to_string())?;
    if let Some(kind) = kind_of(&before) {
        return Err(format!("the path names {kind}; name a regular file"));
    }
    let too_large = || "the file is larger than 64 MiB; name a smaller one".to_owned();
    if before.len() > LARGEST {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    let after = file.metadata().map_err(|error| error.to_string())?;
    if after.len() != bytes.len() as u64 || after.modified().ok() != before.modified().ok() {
        return Err("the file changed while it was read; write a new file and rename it".to_owned());
    }
    Ok(bytes)
}

/// Returns the name of what is no regular file.
fn kind_of(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a pipe"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

/// Returns the text of a file.
///
/// # Errors
///
/// Fails with the line of the first byte that is not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line}: the file is not UTF-8; save it as UTF-8")
    })
}

/// The beginnings of the lines of a text.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// Returns the line, counted from 1, of a byte offset.
    pub(crate) fn at(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|end| *end < offset)
    }
}
