//! What is asked for on the command line; whatever is wrong is told with what would be right.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use http::{HeaderName, HeaderValue, Method, Uri};
use tokio_util::task::TaskTracker;
use traffik::runtime::Tokio;
use traffik::web::{ClassHeaders, Networks};
use traffik::{MemcachedStorage, Rate};

use crate::config;
use crate::keys::KeySpec;
use crate::parameters::PositiveDuration;
use crate::plain::message;
use crate::plan::{CommonSettings, Headers, OnErrorSpec, StorageSpec, ThrottlePlan, server};
use crate::spec::{self, Spec};

/// A reverse proxy that limits what passes through it.
#[derive(Clone, Parser)]
#[command(name = "traffik-gateway", version)]
pub(crate) struct Options {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = socket)]
    pub(crate) listen: SocketAddr,

    /// Where to send admitted requests, such as http://127.0.0.1:3000; without it they are answered "ok".
    #[arg(long, value_name = "URL", value_parser = upstream)]
    pub(crate) upstream: Option<Uri>,

    /// How much is allowed in how long, such as 100/min. Several are one limit: all admit or none is charged.
    #[arg(long, value_name = "RATE", default_value = "10/10s", conflicts_with = "config")]
    #[arg(allow_hyphen_values = true)]
    pub(crate) rate: Vec<Rate>,

    // Not a doc comment: the list of strategies is made where they are defined.
    #[arg(help = spec::HELP, long_help = spec::long_help())]
    #[arg(long, value_name = "SPEC", default_value = "fixed-window", conflicts_with = "config")]
    pub(crate) strategy: Spec,

    /// memory:, memory:capacity=100000,full=evict|refuse, redis://HOST:PORT,
    /// redis+cluster://ONE:PORT,OTHER:PORT (rediss:// and rediss+cluster:// for TLS), or
    /// memcached://HOST:PORT, of several servers
    /// memcached://ONE:PORT,OTHER:PORT, each with a name of its own if its address may change:
    /// memcached://a=ONE:PORT,b=OTHER:PORT.
    #[arg(long, value_name = "URL", default_value = "memory:", conflicts_with = "config")]
    pub(crate) storage: StorageSpec,

    /// What the names of all keys on a shared storage begin with.
    #[arg(long, value_name = "NAME", default_value = "traffik", value_parser = namespace)]
    pub(crate) namespace: String,

    /// How long one call of a shared storage may take, such as 500ms or 2s. A request that waits longer is
    /// answered as --on-error says. A call takes one round trip, or two where the storage does not know the
    /// strategy: take three round trips at least.
    #[arg(long, value_name = "TIME", default_value = "50ms", allow_hyphen_values = true)]
    pub(crate) timeout: PositiveDuration,

    /// How long connecting to a shared storage may take. It goes on in the background: requests wait no
    /// longer than --timeout for it.
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true)]
    pub(crate) connect_timeout: PositiveDuration,

    /// Whom to count for: peer, forwarded (as trusted proxies tell it) or header:NAME. Several are combined.
    ///
    /// forwarded reads X-Forwarded-For alone. For proxies that write something else, name it:
    /// forwarded:rfc7239 for Forwarded, or a header with one address, such as forwarded:x-real-ip,
    /// forwarded:cf-connecting-ip, forwarded:true-client-ip or forwarded:fly-client-ip. Name only one that
    /// the proxy writes itself: one that it passes on is the client's to choose. A value may be a secret, so
    /// the page shows the first digits of its SHA-256, as printf VALUE | sha256sum does. A header that is
    /// sent twice is answered 400.
    #[arg(long, value_name = "KEY", default_value = "peer", conflicts_with = "config")]
    pub(crate) key: Vec<KeySpec>,

    /// Whom not to count, such as 10.0.0.0/8; may be given several times.
    ///
    /// A client behind a trusted proxy is exempt by the header that --key names, else by X-Forwarded-For;
    /// never where something else than an address is told.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(crate) exempt: Vec<String>,

    /// Lets the preflights of browsers (CORS) pass, uncounted.
    #[arg(long)]
    pub(crate) bypass_preflights: bool,

    /// Who may say who the client is, such as 10.0.0.0/8; may be given several times.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(crate) trusted_proxy: Vec<String>,

    /// The header that names a request's tier; believed from trusted proxies only.
    #[arg(long, value_name = "NAME", value_parser = header)]
    pub(crate) tier_header: Option<HeaderName>,

    /// The header that names a request's priority; believed from trusted proxies only.
    #[arg(long, value_name = "NAME", value_parser = header)]
    pub(crate) priority_header: Option<HeaderName>,

    /// The header that names a request's region; believed from trusted proxies only.
    #[arg(long, value_name = "NAME", value_parser = header)]
    pub(crate) region_header: Option<HeaderName>,

    /// Believes the headers of tier, priority and region from everybody.
    #[arg(long)]
    pub(crate) trust_class_headers: bool,

    /// The header that tells what a request costs, instead of 1.
    #[arg(long, value_name = "NAME", value_parser = header, conflicts_with = "config")]
    pub(crate) cost_header: Option<HeaderName>,

    /// What happens when the store fails: throttle (503, to be tried again after 1 s, or throttle:wait=5s),
    /// allow, or fallback (memory of this process, at the whole limit or with fallback:instances=4 at its
    /// share).
    #[arg(long, value_name = "ACTION", default_value = "throttle", conflicts_with = "config")]
    pub(crate) on_error: OnErrorSpec,

    /// How clients are told where they stand.
    #[arg(long, value_name = "DIALECT", value_enum, default_value_t = Headers::Draft10, conflicts_with = "config")]
    pub(crate) headers: Headers,

    /// How many messages of each WebSocket connection to /ws are allowed, such as 10/s, limited by the same
    /// strategy. The handshake counts as a request.
    #[arg(long, value_name = "RATE", conflicts_with = "upstream", allow_hyphen_values = true)]
    pub(crate) ws_rate: Option<Rate>,

    /// What becomes of a message that is too many: it is dropped, with a message that tells so; the
    /// connection is closed; or it waits.
    #[arg(long, value_enum, default_value_t = WsActionOption::Message, requires = "ws_rate")]
    pub(crate) ws_action: WsActionOption,

    /// Throttles in TOML; read again when the file changes and on SIGHUP.
    ///
    /// What was used stays used then. A throttle that is quite another one, such as with more rates, another
    /// storage or, where that is shared, another strategy, begins anew; that is told when the file is read.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where to listen for the paths below /_traffik/ alone; they are then told nowhere else.
    ///
    /// Else they are told to whoever calls this machine by its own address or localhost from this machine,
    /// without a header that proxies write; give it where a proxy on this machine writes none. Pages of other
    /// sites are told nothing.
    #[arg(long, value_name = "ADDR", value_parser = socket)]
    pub(crate) admin: Option<SocketAddr>,

    /// Checks all that was asked for, prints what it comes to, asks each shared storage to write, and ends.
    #[arg(long)]
    pub(crate) check: bool,

    /// With --check, asks no storage.
    #[arg(long, requires = "check")]
    pub(crate) offline: bool,

    /// With --check, explains what becomes of a request, such as "POST /login": the rule it meets, the client
    /// and the limits it is counted by, or why it is not counted.
    #[arg(long, value_name = "REQUEST", requires = "check", value_parser = request)]
    pub(crate) request: Option<(Method, Uri)>,

    /// The address that the request of --request comes from.
    #[arg(long, value_name = "ADDR", requires = "request", default_value = "127.0.0.1")]
    #[arg(value_parser = address)]
    pub(crate) request_from: IpAddr,

    /// A header of the request of --request, such as "X-Api-Key: a"; may be given several times.
    #[arg(long, value_name = "HEADER", requires = "request", value_parser = request_header)]
    pub(crate) request_header: Vec<(HeaderName, HeaderValue)>,
}

/// What becomes of a WebSocket message that is too many.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum WsActionOption {
    Message,
    Close,
    Delay,
}

/// An address and a port.
fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.rsplit_once(':') {
        Some(("", port)) if port.parse::<u16>().is_ok() => format!(
            "it has no address; write 0.0.0.0:{port} for all, or 127.0.0.1:{port} for this machine alone"
        ),
        Some((host, port)) if host.parse::<Ipv4Addr>().is_ok() || host.ends_with(']') => {
            format!("{port:?} is no port; write one of 1 to 65535, or 0 for any that is free")
        }
        _ => "write an address and a port, such as 127.0.0.1:8080, [::1]:8080, or 0.0.0.0:8080 for all \
              addresses"
            .to_owned(),
    })
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no address; write 192.0.2.1 or 2001:db8::1"))
}

/// The beginning of the names of keys, if a store takes it.
fn namespace(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty; take 1 to 64 letters, digits, or . : _ - @ /".to_owned());
    }
    let store = MemcachedStorage::url(Tokio, "memcached://localhost").map_err(message)?;
    store.namespace(text).build().map(|_| text.to_owned()).map_err(message)
}

/// A method and a target, as they begin a request.
fn request(text: &str) -> Result<(Method, Uri), String> {
    let read = || {
        let (method, target) = text.trim().split_once(' ')?;
        Some((method.parse().ok()?, target.trim().parse().ok()?))
    };
    read().ok_or_else(|| format!("{text:?} is no beginning of a request; write \"POST /login\""))
}

fn request_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let read = || {
        let (name, value) = text.split_once(':')?;
        Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
    };
    read().ok_or_else(|| format!("{text:?} is no header; write \"X-Api-Key: a\""))
}

/// A network by its address and the length of its prefix.
fn network(text: &str) -> Result<String, String> {
    Networks::parse([text]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn header(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| format!("{text:?} is no name of a header; write one such as x-tier"))
}

impl Options {
    /// What is to be limited, out of the file or the command line.
    pub(crate) fn plans(&self) -> Result<Vec<ThrottlePlan>, String> {
        match &self.config {
            Some(path) => config::read(path),
            None => Ok(vec![ThrottlePlan {
                uid: "gateway".to_owned(),
                names: (1..=self.rate.len()).map(|number| format!("rate-{number}")).collect(),
                rates: self.rate.clone(),
                strategy: self.strategy.clone(),
                storage: self.storage.clone(),
                keys: self.key.clone(),
                cost: 1,
                cost_header: self.cost_header.clone(),
                rules: Vec::new(),
                on_error: self.on_error,
                headers: self.headers.into(),
                shadow: false,
                place: String::new(),
            }]),
        }
    }

    /// What all throttles have in common.
    pub(crate) fn common(&self) -> Result<CommonSettings, String> {
        let networks = |texts: &[String]| {
            Networks::parse(texts.iter().map(String::as_str)).map_err(|error| error.to_string())
        };
        let trusted = networks(&self.trusted_proxy)?;
        let mut classes = match self.trust_class_headers {
            true => ClassHeaders::from_anyone(),
            false => ClassHeaders::from(trusted.clone()),
        };
        if let Some(header) = &self.tier_header {
            classes = classes.tier(header.clone());
        }
        if let Some(header) = &self.priority_header {
            classes = classes.priority(header.clone());
        }
        if let Some(header) = &self.region_header {
            classes = classes.region(header.clone());
        }
        Ok(CommonSettings {
            tasks: TaskTracker::new(),
            namespace: self.namespace.clone(),
            is_check: self.check,
            timeout: self.timeout.0,
            connect_timeout: self.connect_timeout.0,
            bypass_preflights: self.bypass_preflights,
            exempt: networks(&self.exempt)?,
            trusted,
            classes,
        })
    }
}

fn upstream(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}; write http://HOST:PORT"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) => server(authority.as_str()).map(|()| uri.clone()),
        _ => Err("only http is spoken to an upstream; write http://HOST:PORT".to_owned()),
    }
}
