//! A call on a server, by whatever connection.

use redis::{Cmd, RedisError, Value};

use super::net::NetSession;
use super::transport::Errand;

/// The means by which a call asks its server.
pub(super) enum Session {
    /// A connection that the storage made.
    Net(NetSession),
    /// A connection of the user's.
    Errand(Errand),
}

impl Session {
    /// Sends a command and waits for its answer, for as long as the call has left.
    #[inline]
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Net(net) => net.ask(command).await,
            Self::Errand(errand) => errand.ask(command).await,
        }
    }
}
