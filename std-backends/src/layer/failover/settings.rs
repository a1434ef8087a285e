//! The settings of a failover, and its changes of sides.

use std::fmt;
use std::sync::Arc;

use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::strategy::CapacityError;

/// A change of the side that decides, for the keys of one node or for all keys.
///
/// [`FailoverBuilder::on_change`](crate::layer::FailoverBuilder::on_change) passes it to a listener. It
/// implements `Display` for logs.
///
/// ```
/// use traffik::layer::FailoverChange;
///
/// fn log(change: &FailoverChange) {
///     match change {
///         FailoverChange::Away { node, cause, .. } => eprintln!("{node:?} failed: {cause}"),
///         FailoverChange::Back { node, .. } => eprintln!("{node:?} is back"),
///         other => eprintln!("{other}"),
///     }
/// }
/// # let _ = log;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FailoverChange {
    /// A node of the primary failed. The fallback decides on its keys.
    #[non_exhaustive]
    Away {
        /// The node; `None` for a primary that is a single node.
        node: Option<Arc<str>>,
        /// The failure.
        cause: BackendError,
    },
    /// A node of the primary answered again.
    #[non_exhaustive]
    Back {
        /// The node; `None` for a primary that is a single node.
        node: Option<Arc<str>>,
    },
}

impl fmt::Display for FailoverChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the primary storage")?;
        let (Self::Away { node, .. } | Self::Back { node }) = self;
        if let Some(node) = node {
            write!(f, " at {node}")?;
        }
        match self {
            Self::Away { cause, .. } => write!(f, " failed, and the fallback decides: {cause}"),
            Self::Back { .. } => f.write_str(" answers again, and decides"),
        }
    }
}

/// The settings of a failover.
pub(super) struct FailoverSettings<S> {
    pub(super) on: fn(ErrorKind) -> bool,
    pub(super) after_timeouts: bool,
    pub(super) share: Option<ShareFunction<S>>,
    pub(super) warm: bool,
    pub(super) merge: bool,
    pub(super) listeners: Vec<FailoverListener>,
}

type ShareFunction<S> = Box<dyn Fn(&S) -> Result<S, CapacityError> + Send + Sync>;
type FailoverListener = Box<dyn Fn(&FailoverChange) + Send + Sync>;
