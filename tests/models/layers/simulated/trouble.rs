//! The troubles of a node, and what a call makes of each.

use std::time::Duration;

use traffik::ErrorKind;

use traffik_test_support::faulty::{CONNECTING, Course, READ_ONLY, SECOND, WELL, before};

use super::history::Store;

/// The state of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// It cannot be reached.
    Dead,
    /// Calls take effect and are not answered in time.
    Slow,
    /// It answers and cannot write.
    NotWriting,
    /// It has closed the connection, and the next call finds out before anything is sent.
    IdleClose,
    /// To connect takes longer than a call.
    Connecting,
    /// Another master has been named, and calls still go to the old one.
    Demoted,
}

impl Trouble {
    pub(crate) const ALL: [Self; 6] =
        [Self::Dead, Self::Slow, Self::NotWriting, Self::IdleClose, Self::Connecting, Self::Demoted];

    /// Brings it upon a node.
    pub(crate) fn befall(self, node: &Store) {
        match self {
            Self::Dead => node.always(before(ErrorKind::Unavailable)),
            Self::Slow => node.always(Course { takes: [Duration::ZERO, SECOND * 100], ..WELL }),
            Self::NotWriting => node.always(READ_ONLY),
            Self::IdleClose => node.next(&[before(ErrorKind::Unavailable)]),
            Self::Connecting => node.always(CONNECTING),
            Self::Demoted => node.demote(),
        }
    }

    /// Foretells a call of a node in this trouble, which may be tried again.
    pub(crate) const fn call(self, changes: bool, is_tried_again: bool) -> Call {
        match self {
            Self::Slow if changes => Call::Hangs,
            Self::NotWriting if !changes => Call::Well,
            Self::IdleClose if is_tried_again => Call::Well,
            Self::Demoted => Call::Well,
            _ => Call::Fails,
        }
    }
}

/// The course of a call of a node, as its caller sees it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Call {
    Well,
    /// It charges nothing and fails.
    Fails,
    /// It charges and is not answered.
    Hangs,
}
