//! A call on a server, over either kind of connection.

use redis::{Cmd, RedisError, Value};

use super::net::NetSession;
use super::transport::TransportSession;

/// The connection of one call.
pub(super) enum Session {
    /// A connection that the storage made.
    Net(NetSession),
    /// A connection of the user's.
    User(TransportSession),
}

impl Session {
    /// Sends a command, and waits for its answer as long as the call may take.
    #[inline]
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Net(net) => net.ask(command).await,
            Self::User(session) => session.ask(command).await,
        }
    }
}
