//! Scripts that the server runs: sent by their hash, and by their text if it does not know them.

use std::borrow::Cow;
use std::sync::LazyLock;

use redis::{Arg, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use super::known::KnownScripts;
use super::session::Session;

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

    /// A call of it on keys, to which its arguments are to be added. Connections that are made from now
    /// on know it.
    pub(super) fn call(&'static self, known: &KnownScripts, keys: &[&[u8]]) -> Cmd {
        known.note(&self.text);
        // Room for a check of one limit, and more is found for others.
        let mut call = Cmd::with_capacity(16, 192);
        call.arg("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys);
        call
    }

    /// Makes a call. A server that was restarted or told to forget its scripts is sent the text, which does
    /// nothing that was done before: one that does not know a script has not run it.
    pub(super) async fn run(&self, session: &mut Session, call: &Cmd) -> Result<Value, RedisError> {
        match session.ask(call).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // Servers from 7.4 on forget scripts that were only ever run. A client that may not load them
                // may yet run them.
                let loaded = session.ask(redis::cmd("SCRIPT").arg("LOAD").arg(&*self.text)).await;
                if let Err(error) = loaded
                    && error.code().is_none()
                {
                    return Err(error);
                }
                session.ask(&self.in_full(call)).await
            }
            answer => answer,
        }
    }

    /// The same call with the text instead of its hash.
    fn in_full(&self, call: &Cmd) -> Cmd {
        let mut full = redis::cmd("EVAL");
        full.arg(&*self.text);
        for argument in call.args_iter().skip(2) {
            if let Arg::Simple(argument) = argument {
                full.arg(argument);
            }
        }
        full
    }
}

/// The scripts that any storage may run at any time.
pub(super) fn at_first() -> KnownScripts {
    let known = KnownScripts::default();
    [&LOAD, &SWAP].into_iter().for_each(|script| known.note(&script.text));
    known
}

/// Tells what is stored at a key, and the time.
pub(super) static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("load.lua")));

/// Stores bytes at a key if it holds what it held.
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("swap.lua")));
