//! A connection as one call uses it: each command knows whether it may have been sent.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind as Kind, RedisError, Value};

use super::connect::Connection;
use super::wire::Position;
use crate::redis::failure::{not_sent, words};

/// A connection for one call, which has so long.
pub(in super::super) struct NetSession {
    connection: Arc<Connection>,
    until: Instant,
    /// Whether each command is about a key that is just being moved to this server.
    is_asking: bool,
}

impl NetSession {
    pub(super) fn new(connection: Arc<Connection>, until: Instant, is_asking: bool) -> Self {
        Self { connection, until, is_asking }
    }

    /// Sends a command and waits for its answer, for as long as the call has left.
    pub(in super::super) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let mut redis = self.connection.redis.clone();
        redis.set_response_timeout(self.until.saturating_duration_since(Instant::now()));
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

    /// Whether a command that failed was certainly not sent: the connection broke, and no byte was written
    /// since the command was handed over. Where bytes cannot be seen, it failed before it could be. A command
    /// whose time is over may yet be written by a connection that goes on.
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
