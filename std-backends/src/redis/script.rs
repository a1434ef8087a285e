//! Scripts that the server runs: sent by their hash, and by their text if it does not know them.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use super::link::Session;

/// A script of ours.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Runs it on a key. A server that was restarted or told to forget its scripts is sent the text, which does nothing
    /// that was done before: one that does not know a script has not run it.
    pub(super) async fn run(
        &self,
        session: &Session,
        key: &[u8],
        arguments: &[&[u8]],
    ) -> Result<Value, RedisError> {
        match session.ask(&Self::command("EVALSHA", &self.hash, key, arguments)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                session.ask(&Self::command("EVAL", self.text, key, arguments)).await
            }
            answer => answer,
        }
    }

    fn command(verb: &str, script: &str, key: &[u8], arguments: &[&[u8]]) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(1).arg(key);
        for argument in arguments {
            command.arg(*argument);
        }
        command
    }
}

/// Tells what is stored at a key, and the time.
pub(super) static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("load.lua")));

/// Stores bytes at a key if it holds what it held.
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("swap.lua")));

/// Decides on a hit as the strategies that it knows do.
pub(super) static CHECK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("check.lua")));

/// Grants, renews and releases a name.
pub(super) static LOCK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lock.lua")));
