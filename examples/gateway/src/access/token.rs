//! The token of `--admin-token-file`, which the admin paths that show keys of clients need.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use traffik::storage::Storage;
use traffik::web::{Identity, Peer};
use traffik::{FixedWindow, Hit, Memory, Op, rate};

use crate::config::file::reading;
use crate::limits::plan::IPV6_PREFIX;
use crate::response::{GatewayResponse, text};

/// Fewest characters of a token: a guess then has no chance, however many are made.
const SHORTEST: usize = 16;

/// Most addresses whose wrong tokens are counted.
const COUNTED: usize = 1_000;

/// The right of everybody to read a file.
const OTHERS_READ: u32 = 0o004;

/// The check of tokens.
pub(crate) struct TokenCheck {
    path: PathBuf,
    token: ArcSwap<TokenHash>,
    /// Limits the wrong tokens of each address. A right token is never counted here, so a stranger who
    /// shares the owner's address does not lock the owner out.
    wrong: Memory<FixedWindow>,
}

/// The SHA-256 of a token. Hashes have one length, so a comparison shows nothing of the token's length.
struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl TokenCheck {
    /// Reads the token from a file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or its first line is no token.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let token = ArcSwap::from_pointee(token(path)?);
        let wrong = Memory::builder().capacity(COUNTED).build();
        Ok(Self { path: path.to_owned(), token, wrong })
    }

    /// Returns the refusal of a request that does not send the right token: 401, or 429 once its address has
    /// sent ten wrong ones within a minute.
    pub(crate) fn refusal(&self, headers: &HeaderMap, peer: IpAddr) -> Option<GatewayResponse> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Some(unauthorized("Bearer", "this path needs the token of --admin-token-file\n")),
            (Some(line), None) if self.is_right(line) => None,
            _ => Some(self.refuse_wrong(peer)),
        }
    }

    fn is_right(&self, line: &HeaderValue) -> bool {
        let Some((scheme, sent)) = line.as_bytes().split_at_checked(SCHEME.len()) else { return false };
        let sent = TokenHash::of(sent.trim_ascii());
        scheme.eq_ignore_ascii_case(SCHEME) && bool::from(sent.0.ct_eq(&self.token.load().0))
    }

    fn refuse_wrong(&self, peer: IpAddr) -> GatewayResponse {
        let identity = Peer::ipv6_prefix(IPV6_PREFIX).of(peer.to_canonical());
        let limit = FixedWindow::new(rate!("10/min"));
        let wait = match identity {
            Identity::Key(client) => self.wrong.apply_now(&limit, &client, &Op::Check(Hit::new(1))),
            _ => return unauthorized(WRONG, "the token is wrong\n"),
        };
        match wait.ok().and_then(|decision| decision.retry_after()) {
            // The limit bounds these lines as well.
            None => {
                tracing::warn!(%peer, "a request for the admin paths has a wrong token");
                unauthorized(WRONG, "the token is wrong; it is the first line of --admin-token-file\n")
            }
            Some(wait) => {
                let seconds = wait.as_secs() + 1;
                let advice = format!("too many wrong tokens; try again in {seconds} s\n");
                let mut reply = text(StatusCode::TOO_MANY_REQUESTS, advice);
                reply.headers_mut().insert(RETRY_AFTER, seconds.into());
                reply
            }
        }
    }

    /// Reads the token again.
    ///
    /// # Errors
    ///
    /// Fails if the file has no token; the token before then stays in use.
    pub(crate) fn reload(&self) -> Result<(), String> {
        self.token.store(Arc::new(token(&self.path)?));
        Ok(())
    }
}

/// The beginning of a header with a token.
const SCHEME: &[u8] = b"Bearer ";

/// The challenge after a wrong token (RFC 6750, section 3).
const WRONG: &str = "Bearer error=\"invalid_token\"";

fn unauthorized(challenge: &'static str, advice: &'static str) -> GatewayResponse {
    let mut reply: Response<_> = text(StatusCode::UNAUTHORIZED, advice);
    reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    reply
}

/// Returns the hash of the token of a file. No error and no line of the log has any part of the file.
fn token(path: &Path) -> Result<TokenHash, String> {
    let option = format!("--admin-token-file {}", path.display());
    let bytes = reading::bytes(path).map_err(|error| format!("{option}: {error}"))?;
    let token = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if token.len() < SHORTEST {
        return Err(format!(
            "{option}: the first line has {} characters; write a token of at least {SHORTEST}, such as the \
             output of openssl rand -hex 32",
            token.len()
        ));
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(format!(
            "{option}: the token has a character that no header can hold; write letters, digits and signs of \
             ASCII, without spaces"
        ));
    }
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & OTHERS_READ != 0) {
        tracing::warn!("{option}: everybody on this machine can read the token; chmod o-r takes that away");
    }
    Ok(TokenHash::of(token))
}
