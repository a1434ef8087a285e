//! The failures of the storage: their kinds, and advice in words.

use rusqlite::ErrorCode;
use traffik::ErrorKind;
use traffik::storage::{BackendError, StorageError};

/// A failure of SQLite, with the kind that decides what layers make of it, and advice.
#[derive(Debug)]
pub(super) struct Fault(ErrorKind, &'static str, rusqlite::Error);

impl Fault {
    /// Returns the failure of a commit. It may have reached the file, unless a lock or a full disk is why.
    pub(super) fn of_commit(cause: rusqlite::Error) -> Self {
        match Self::from(cause) {
            fault @ Self(ErrorKind::Unavailable | ErrorKind::Full, ..) => fault,
            Self(_, advice, cause) => Self(ErrorKind::Timeout, advice, cause),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(cause: rusqlite::Error) -> Self {
        let (kind, advice) = match cause.sqlite_error_code() {
            // Not `Contended`: the lock is on the whole file, so a fallback should take over.
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (ErrorKind::Unavailable, "another process keeps the file locked: end its transaction")
            }
            Some(ErrorCode::DiskFull) => (ErrorKind::Full, "the disk is full: make room for the file"),
            Some(ErrorCode::ReadOnly) => (ErrorKind::Denied, "the file is read-only: change its permissions"),
            // Not `Corrupt`, which means one key.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                (ErrorKind::Other, "the file is damaged: move it away, and start with fresh limits")
            }
            _ => (ErrorKind::Other, "SQLite failed: check the disk, and that the table `limits` is there"),
        };
        Self(kind, advice, cause)
    }
}

/// Drops the cause, for which a `StorageError` has no room: a service would log it here.
impl From<Fault> for StorageError {
    fn from(Fault(kind, advice, _): Fault) -> Self {
        Self::new(kind, advice)
    }
}

impl From<Fault> for BackendError {
    fn from(Fault(kind, advice, cause): Fault) -> Self {
        Self::new(kind, format!("{advice} ({cause})"))
    }
}
