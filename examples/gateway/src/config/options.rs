//! The options of the command line. An error names the option, the value and a correct example.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;
use http::{HeaderName, HeaderValue, Method, Uri};
use tokio_util::task::TaskTracker;
use traffik::runtime::Tokio;
use traffik::web::{ClassHeaders, Networks};
use traffik::{MemcachedStorage, Rate};

use crate::config::auth_options::AuthOptions;
use crate::config::listener_options::ListenerOptions;
use crate::config::operation_options::OperationOptions;
use crate::config::proxy_options::ProxyOptions;
use crate::config::rls_options::RlsOptions;
use crate::config::{envoy_file, file};
use crate::limits::denial_reply::DenialReply;
use crate::limits::descriptors::DescriptorSpec;
use crate::limits::keys::KeySpec;
use crate::limits::parameters::PositiveDuration;
use crate::limits::plain::message;
use crate::limits::plan::{CommonSettings, Headers, IPV6_PREFIX, OnErrorSpec, ThrottlePlan};
use crate::limits::spec::{self, Spec};
use crate::limits::storage::StorageSpec;

/// A reverse proxy that rate-limits the requests it forwards.
#[derive(Clone, Parser)]
#[command(name = "traffik-gateway", version)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) listener: ListenerOptions,

    #[command(flatten)]
    pub(crate) proxy: ProxyOptions,

    #[command(flatten)]
    pub(crate) auth: AuthOptions,

    #[command(flatten)]
    pub(crate) operation: OperationOptions,

    #[command(flatten)]
    pub(crate) rls: RlsOptions,

    /// Limit and period, such as 100/min. Given several times, a request must pass every rate, and a denied
    /// request is charged to none.
    #[arg(long, value_name = "RATE", default_value = "10/10s", conflicts_with = "config")]
    #[arg(allow_hyphen_values = true)]
    pub(crate) rate: Vec<Rate>,

    // Not a doc comment, because the list of strategies is built from the table of `plain`.
    #[arg(help = spec::HELP, long_help = spec::long_help())]
    #[arg(long, value_name = "SPEC", default_value = "fixed-window", conflicts_with = "config")]
    pub(crate) strategy: Spec,

    /// Storage of the counts: this process, Redis or Memcached.
    ///
    /// memory: or memory:capacity=100000,full=evict|refuse; redis://USER:PASSWORD@HOST:PORT/DATABASE,
    /// redis+cluster://ONE:PORT,OTHER:PORT, redis+sentinel://ONE:PORT,OTHER:PORT/MASTER/DATABASE, each with
    /// rediss for TLS and with valkey as another word for redis; redis+unix:///PATH?db=DATABASE; or
    /// memcached://HOST:PORT, for several servers memcached://ONE:PORT,OTHER:PORT. Name each Memcached server
    /// whose address may change: memcached://a=ONE:PORT,b=OTHER:PORT. The user and the password of a URL with
    /// sentinels are those of the master.
    #[arg(long, value_name = "URL", default_value = "memory:", conflicts_with = "config")]
    pub(crate) storage: StorageSpec,

    /// Prefix of all key names on a shared storage: 1 to 64 letters, digits, or . : _ - @ /
    #[arg(long, value_name = "NAME", default_value = "traffik", value_parser = namespace)]
    pub(crate) namespace: String,

    /// Deadline of one call to a shared storage, such as 500ms or 2s. A request whose call misses the
    /// deadline is handled by --on-error. A call takes one or two round trips, and more if another gateway
    /// changes the same key meanwhile, so allow for at least three.
    #[arg(long, value_name = "TIME", default_value = "50ms", allow_hyphen_values = true)]
    pub(crate) timeout: PositiveDuration,

    /// Deadline of one attempt to connect to a shared storage. Attempts run in the background, so requests
    /// wait for them no longer than --timeout.
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true)]
    pub(crate) connect_timeout: PositiveDuration,

    /// Identity that a request is counted by: peer, forwarded (the address that a trusted proxy writes),
    /// header:NAME, cookie:NAME, query:NAME, host, method or global (one bucket for all). Given several
    /// times, the identities are combined.
    ///
    /// forwarded reads X-Forwarded-For alone. If your proxy writes another header, name that header:
    /// forwarded:rfc7239 for Forwarded, or a header with one address, such as forwarded:x-real-ip,
    /// forwarded:cf-connecting-ip, forwarded:true-client-ip or forwarded:fly-client-ip. Name only a header
    /// that the proxy writes itself: clients choose the value of any header that the proxy merely passes on.
    ///
    /// The value of a header, a cookie or a query parameter may be a secret, so the page shows only the first
    /// digits of its SHA-256, as printf VALUE | sha256sum prints them. A request that sends it twice is
    /// answered 400. Requests without it share one bucket.
    #[arg(long, value_name = "KEY", default_value = "peer", conflicts_with = "config")]
    pub(crate) key: Vec<KeySpec>,

    /// Length of the prefix, 1 to 128, by which IPv6 addresses are counted: a single client often has a whole
    /// /64, and some have a /56 or a /48.
    #[arg(long, value_name = "BITS", default_value_t = IPV6_PREFIX, conflicts_with = "config")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=128))]
    pub(crate) ipv6_prefix: u8,

    /// Network whose clients are not limited, such as 10.0.0.0/8; may be given several times.
    ///
    /// Behind a trusted proxy, the client's address is read from the header that --key names, else from
    /// X-Forwarded-For. A client is never exempt if that header holds anything but an address.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(crate) exempt: Vec<String>,

    /// Lets CORS preflight requests pass without counting them.
    #[arg(long)]
    pub(crate) bypass_preflights: bool,

    /// Network of proxies whose headers are trusted, such as 10.0.0.0/8; may be given several times.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(crate) trusted_proxy: Vec<String>,

    /// Header that names a request's tier; read from trusted proxies only, unless
    /// --trust-class-headers is given.
    #[arg(long, value_name = "NAME", value_parser = header)]
    pub(crate) tier_header: Option<HeaderName>,

    /// Header that names a request's priority; read from trusted proxies only, unless
    /// --trust-class-headers is given.
    #[arg(long, value_name = "NAME", value_parser = header)]
    pub(crate) priority_header: Option<HeaderName>,

    /// Header that names a request's region; read from trusted proxies only, unless
    /// --trust-class-headers is given.
    #[arg(long, value_name = "NAME", value_parser = header)]
    pub(crate) region_header: Option<HeaderName>,

    /// Trusts the tier, priority and region headers of every client, not only of trusted proxies.
    #[arg(long)]
    pub(crate) trust_class_headers: bool,

    /// Header that holds the cost of a request, a whole number, instead of 1. Unless a trusted proxy sent the
    /// request, 0 counts as 1.
    #[arg(long, value_name = "NAME", value_parser = header, conflicts_with = "config")]
    pub(crate) cost_header: Option<HeaderName>,

    /// Action when the storage fails: throttle (answer 503 with Retry-After: 1 s, or as given by
    /// throttle:wait=5s), allow (let the request pass), or fallback (count in the memory of this process, at
    /// the full limit, or at a quarter of it with fallback:instances=4).
    #[arg(long, value_name = "ACTION", default_value = "throttle", conflicts_with = "config")]
    pub(crate) on_error: OnErrorSpec,

    /// Format of the rate-limit headers in responses.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Headers::Draft10, conflicts_with = "config")]
    pub(crate) headers: Headers,

    /// TOML file of throttles; reloaded when the file changes and on SIGHUP. REFERENCE.md lists its keys.
    ///
    /// A reload keeps the clients' counts. A throttle starts over with empty counts if its storage, its sort
    /// of keys, its number of rates or the size class of its states changes, or on a shared storage its kind
    /// of strategy; the log names each throttle that does.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Checks the options and the file, prints the resulting throttles, asks each shared storage to write,
    /// and exits.
    #[arg(long)]
    pub(crate) check: bool,

    /// With --check, contacts no storage.
    #[arg(long, requires = "check")]
    pub(crate) offline: bool,

    /// With --check, explains how a request such as "POST /login" is handled: the rule it matches, the client
    /// and limits it is counted by, or the reason it is not counted.
    #[arg(long, value_name = "REQUEST", requires = "check", value_parser = request)]
    pub(crate) request: Option<(Method, Uri)>,

    /// Client address of the request of --request.
    #[arg(long, value_name = "ADDR", requires = "request", default_value = "127.0.0.1")]
    #[arg(value_parser = address)]
    pub(crate) request_from: IpAddr,

    /// Header of the request of --request, such as "X-Api-Key: a"; may be given several times.
    #[arg(long, value_name = "HEADER", requires = "request", value_parser = request_header)]
    pub(crate) request_header: Vec<(HeaderName, HeaderValue)>,
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an IP address; write 192.0.2.1 or 2001:db8::1"))
}

/// Parses the prefix of key names, by the rule of the strictest store.
fn namespace(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the namespace is empty; use 1 to 64 letters, digits, or . : _ - @ /".to_owned());
    }
    let store = MemcachedStorage::url(Tokio, "memcached://localhost").map_err(message)?;
    store.namespace(text).build().map(|_| text.to_owned()).map_err(message)
}

/// Parses a method and a target, the beginning of a request line.
fn request(text: &str) -> Result<(Method, Uri), String> {
    let read = || {
        let (method, target) = text.trim().split_once(' ')?;
        Some((method.parse().ok()?, target.trim().parse().ok()?))
    };
    read().ok_or_else(|| format!("{text:?} is not a method and a path; write \"POST /login\""))
}

fn request_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let read = || {
        let (name, value) = text.split_once(':')?;
        Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
    };
    read().ok_or_else(|| format!("{text:?} is not a header; write \"X-Api-Key: a\""))
}

/// Parses a network: an address and a prefix length.
fn network(text: &str) -> Result<String, String> {
    Networks::parse([text]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn header(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| format!("{text:?} is not a header name; write one such as x-tier"))
}

impl Options {
    /// Returns the throttles to build, from the file if `--config` names one, else from the command line.
    pub(crate) fn plans(&self) -> Result<Vec<ThrottlePlan>, String> {
        if let Some(key) = self.key.iter().find(|key| matches!(key, KeySpec::Path(_))) {
            return Err(format!(
                "--key {key}: placeholders stand in the rules of a file; write --config FILE"
            ));
        }
        let mut plans = match &self.config {
            Some(path) => file::read(path)?,
            None => vec![self.own_plan()],
        };
        for path in &self.rls.rls_config {
            plans.extend(envoy_file::read(path, &self.own_plan())?);
        }
        envoy_file::check(&plans)?;
        let is_blind = |plan: &&ThrottlePlan| plan.reads_response();
        if let (Some(address), Some(plan)) = (self.auth.auth, plans.iter().find(is_blind)) {
            return Err(format!(
                "--auth {address}: {}the charge of the throttle {} depends on the response, which a proxy that asks \
                 never shows; leave out count and the cost by the response, or --auth",
                plan.place, plan.uid
            ));
        }
        if let (Some(address), true) = (self.rls.rls, self.strategy.delays()) {
            return Err(format!(
                "--rls {address}: a queue delays requests, and a rate limit service answers at once; write \
                 --strategy leaky-bucket"
            ));
        }
        match (&self.config, self.rls.rls) {
            (Some(path), Some(address)) if plans.iter().all(|plan| plan.descriptors.is_none()) => {
                Err(format!(
                    "--rls {address}: no throttle of --config {} has descriptors; write domain = \"edge\" and \
                     descriptors = [{{ key = \"remote_address\" }}] into one, or add --rls-config FILE",
                    path.display()
                ))
            }
            _ => Ok(plans),
        }
    }

    /// Returns the throttle of the command line.
    fn own_plan(&self) -> ThrottlePlan {
        let is_offered = self.rls.rls.is_some() && self.rls.rls_config.is_empty();
        ThrottlePlan {
            descriptors: is_offered.then(|| DescriptorSpec::of_keys(&self.key)),
            uid: "gateway".to_owned(),
            names: (1..=self.rate.len()).map(|number| format!("rate-{number}")).collect(),
            rates: self.rate.clone(),
            strategy: self.strategy.clone(),
            storage: self.storage.clone(),
            keys: self.key.clone(),
            ipv6_prefix: self.ipv6_prefix,
            exempt: Networks::default(),
            cost: 1,
            cost_header: self.cost_header.clone(),
            cost_after: None,
            count: None,
            rules: Vec::new(),
            on_error: self.on_error,
            headers: self.headers.into(),
            reply: DenialReply::default(),
            denied_headers: Vec::new(),
            enforce: None,
            shadow: false,
            place: String::new(),
        }
    }

    /// Returns the files that the throttles come from.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let limits = self.rls.rls_config.iter().flat_map(|path| envoy_file::files(path).unwrap_or_default());
        self.config.iter().cloned().chain(limits).collect()
    }

    /// Returns the settings that all throttles share.
    pub(crate) fn common(&self) -> Result<CommonSettings, String> {
        let networks = |texts: &[String]| {
            Networks::parse(texts.iter().map(String::as_str)).map_err(|error| error.to_string())
        };
        let trusted = networks(&self.trusted_proxy)?;
        let classes = |mut classes: ClassHeaders| {
            if let Some(header) = &self.tier_header {
                classes = classes.tier(header.clone());
            }
            if let Some(header) = &self.priority_header {
                classes = classes.priority(header.clone());
            }
            if let Some(header) = &self.region_header {
                classes = classes.region(header.clone());
            }
            classes
        };
        let believed = match self.trust_class_headers {
            true => ClassHeaders::from_anyone(),
            false => ClassHeaders::from(trusted.clone()),
        };
        Ok(CommonSettings {
            tasks: TaskTracker::new(),
            namespace: self.namespace.clone(),
            is_check: self.check,
            timeout: self.timeout.0,
            connect_timeout: self.connect_timeout.0,
            bypass_preflights: self.bypass_preflights,
            exempt: networks(&self.exempt)?,
            trusted,
            classes: classes(believed),
            asked_classes: classes(ClassHeaders::from_anyone()),
        })
    }
}
