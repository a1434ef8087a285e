//! Whether calls may still come, and who is inside: so that closing waits for those on their way, and for no others.

use std::sync::Arc;

use async_lock::{RwLock, RwLockReadGuardArc};
use traffik_core::storage::{ErrorKind, Failure};

/// Shared by all clones of a storage.
#[derive(Debug, Default)]
pub(crate) struct Door {
    is_closed: Arc<RwLock<bool>>,
}

/// A call on its way, for as long as it is kept.
pub(crate) type Inside = RwLockReadGuardArc<bool>;

impl Door {
    /// Comes in, unless it is closed or closing.
    pub(crate) fn enter(&self) -> Result<Inside, Failure> {
        self.is_closed.try_read_arc().filter(|is_closed| !**is_closed).ok_or_else(closed)
    }

    /// Lets nobody in from now on, and waits until all have left. Nothing is closed if this is dropped before. Tells whether it
    /// was open until then.
    pub(crate) async fn close(&self) -> bool {
        !std::mem::replace(&mut *self.is_closed.write().await, true)
    }
}

/// What those are told who come too late.
pub(crate) fn closed() -> Failure {
    Failure::new(ErrorKind::Closed, "the storage has been closed")
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn closing_waits_for_who_is_inside_and_lets_nobody_in_meanwhile() {
        let door = Door::default();
        let (first, second) = (door.enter().unwrap(), door.enter().unwrap());
        let mut closing = Box::pin(door.close());
        let mut is_done = || closing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!is_done());
        assert_eq!(door.enter().unwrap_err().kind(), ErrorKind::Closed);
        drop(first);
        assert!(!is_done());
        drop(second);
        assert!(is_done());
        assert_eq!(door.enter().unwrap_err().kind(), ErrorKind::Closed);
        assert!(pin!(door.close()).poll(&mut Context::from_waker(Waker::noop())).is_ready(), "again");
    }

    #[test]
    fn a_closing_that_is_dropped_closes_nothing() {
        let door = Door::default();
        let _inside = door.enter().unwrap();
        assert!(pin!(door.close()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(door.enter().is_ok());
    }
}
