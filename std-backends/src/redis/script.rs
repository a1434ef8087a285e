//! Scripts that the server runs, called by their hash and loaded when the server does not know them.

use std::borrow::Cow;
use std::sync::LazyLock;

use redis::{Arg, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use super::known::KnownScripts;
use super::session::Session;

/// A script and its hash.
pub(super) struct Script {
    text: Cow<'static, str>,
    hash: String,
}

impl Script {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self { hash: redis::Script::new(&text).get_hash().to_owned(), text }
    }

    /// Returns a call of the script on keys, without its arguments. Connections made from now on load the
    /// script.
    pub(super) fn call(&'static self, known: &KnownScripts, keys: &[&[u8]]) -> Cmd {
        known.note(&self.text);
        // Room for a check of one limit; more is allocated for others.
        let mut call = Cmd::with_capacity(16, 192);
        call.arg("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys);
        call
    }

    /// Runs a call. If the server does not know the script, loads it and calls again: a server that does not
    /// know a script has run nothing.
    pub(super) async fn run(&self, session: &mut Session, call: &Cmd) -> Result<Value, RedisError> {
        match session.ask(call).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // Servers from 7.4 on forget scripts that were only run by `EVAL`, hence `SCRIPT LOAD`. A
                // client that may not load scripts may yet run them, so a refusal here is not final.
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

    /// Returns the same call with the text in place of the hash.
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

/// Returns the scripts that any storage may run at any time.
pub(super) fn at_first() -> KnownScripts {
    let known = KnownScripts::default();
    [&LOAD, &SWAP].into_iter().for_each(|script| known.note(&script.text));
    known
}

/// The script that reads the value of a key, and the time.
pub(super) static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("load.lua")));

/// The script that replaces the value of a key if it is still the loaded one.
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("swap.lua")));
