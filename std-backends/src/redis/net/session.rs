//! A connection as one call uses it: each command knows whether it may have been sent.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind as Kind, RedisError, Value};

use super::connect::Connection;
use super::wire::Position;
use crate::redis::failure::{not_sent, words};

/// A connection for one call.
pub(in super::super) struct NetSession {
    connection: Arc<Connection>,
    until: Instant,
    /// Whether the call's key is being moved to this server, so that each command follows `ASKING`.
    is_asking: bool,
}

impl NetSession {
    pub(super) fn new(connection: Arc<Connection>, until: Instant, is_asking: bool) -> Self {
        Self { connection, until, is_asking }
    }

    /// Sends a command, and waits for its answer as long as the call may take.
    pub(in super::super) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let mut redis = self.connection.redis.clone();
        // Each command has what is left of the call's time, so a call of several commands ends in time.
        redis.set_response_timeout(self.until.saturating_duration_since(Instant::now()));
        // Noted before the command is handed over: any write from here on may be this command.
        let before = self.connection.wire.as_ref().map(|wire| wire.position());
        let mut polls = 0u32;
        let answer = if self.is_asking {
            let mut both = redis::pipe();
            both.cmd("ASKING").add_command(command.clone());
            let answers = redis.req_packed_commands(&both, 1, 1).await;
            answers.and_then(|answers| {
                answers.into_iter().next().ok_or((Kind::Parse, "an answer is missing").into())
            })
        } else {
            // A future that failed at its first poll never reached the driver; see `is_unsent`.
            let mut answer = redis.req_packed_command(command);
            poll_fn(|context| {
                polls = polls.saturating_add(1);
                answer.as_mut().poll(context)
            })
            .await
        };
        match answer {
            Ok(answer) => answer.extract_error(),
            Err(error) if self.is_unsent(before, polls, &error) => Err(not_sent(words(&error))),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a command that failed was certainly not sent: the connection broke, and no byte was
    /// written since the command was handed over. Where bytes are not visible, the command failed at its
    /// first poll. A command whose time is over may still be written later.
    #[cold]
    fn is_unsent(&self, before: Option<Position>, polls: u32, error: &RedisError) -> bool {
        match (&self.connection.wire, before) {
            (Some(wire), Some(before)) => {
                error.is_io_error() && !error.is_timeout() && wire.position() == before
            }
            _ => polls == 1 && error.is_connection_dropped(),
        }
    }
}
