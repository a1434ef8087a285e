//! Scripts that the server runs: sent by their hash, and by their text if it does not know them.

use std::borrow::Cow;
use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use super::link::Session;

/// A script of ours.
pub(super) struct Script {
    text: Cow<'static, str>,
    hash: String,
}

impl Script {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self { hash: redis::Script::new(&text).get_hash().to_owned(), text }
    }

    /// Runs it on keys. A server that was restarted or told to forget its scripts is sent the text, which does nothing
    /// that was done before: one that does not know a script has not run it.
    pub(super) async fn run(
        &self,
        session: &Session,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<Value, RedisError> {
        match session.ask(&command("EVALSHA", &self.hash, keys, arguments)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // Servers from 7.4 on forget scripts that were only ever run. A client that may not load them may yet
                // run them.
                let loaded = session.ask(redis::cmd("SCRIPT").arg("LOAD").arg(&*self.text)).await;
                if let Err(error) = loaded
                    && error.code().is_none()
                {
                    return Err(error);
                }
                session.ask(&command("EVAL", &self.text, keys, arguments)).await
            }
            answer => answer,
        }
    }
}

fn command(verb: &str, script: &str, keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script).arg(keys.len());
    for argument in keys.iter().chain(arguments) {
        command.arg(*argument);
    }
    command
}

/// Tells what is stored at a key, and the time.
pub(super) static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("load.lua")));

/// Stores bytes at a key if it holds what it held.
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("swap.lua")));

/// Grants, renews and releases a name.
pub(super) static LOCK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lock.lua")));
