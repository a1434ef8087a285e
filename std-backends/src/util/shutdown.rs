//! The gate of a storage: closing waits for calls under way, and refuses new ones.

use std::sync::Arc;

use async_lock::{RwLock, RwLockReadGuardArc};
use traffik_core::storage::{BackendError, ErrorKind};

/// A gate that all clones of a storage share.
#[derive(Default)]
pub(crate) struct ShutdownGate {
    is_closed: Arc<RwLock<bool>>,
}

impl ShutdownGate {
    /// Returns the guard of a call, which is under way until the guard is dropped.
    ///
    /// Fails with `Closed` if the gate is closed or closing.
    pub(crate) fn enter(&self) -> Result<RwLockReadGuardArc<bool>, BackendError> {
        self.is_closed.try_read_arc().filter(|is_closed| !**is_closed).ok_or_else(closed)
    }

    /// Refuses new calls, waits until all guards are dropped, and closes the gate. If the future is dropped
    /// before, the gate stays open. Returns whether the gate was open before.
    pub(crate) async fn close(&self) -> bool {
        !std::mem::replace(&mut *self.is_closed.write().await, true)
    }
}

/// Returns the failure of calls after the gate closed.
pub(crate) fn closed() -> BackendError {
    BackendError::new(ErrorKind::Closed, "the storage has been closed")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn closing_waits_for_who_is_inside_and_lets_nobody_in_meanwhile() {
        let gate = ShutdownGate::default();
        let (first, second) = (gate.enter().unwrap(), gate.enter().unwrap());
        let mut closing = Box::pin(gate.close());
        let mut is_done = || closing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!is_done());
        assert_eq!(gate.enter().unwrap_err().kind(), ErrorKind::Closed);
        drop(first);
        assert!(!is_done());
        drop(second);
        assert!(is_done());
        assert_eq!(gate.enter().unwrap_err().kind(), ErrorKind::Closed);
        assert!(pin!(gate.close()).poll(&mut Context::from_waker(Waker::noop())).is_ready(), "again");
    }

    #[test]
    fn a_closing_that_is_dropped_closes_nothing() {
        let gate = ShutdownGate::default();
        let _inside = gate.enter().unwrap();
        assert!(pin!(gate.close()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(gate.enter().is_ok());
    }
}
