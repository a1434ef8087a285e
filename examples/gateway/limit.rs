//! The limit that the options come to, in front of the service behind it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::Service;
use traffik::http::{Composite, Header, Peer, ResponseBody, Throttle, Throttled};
use traffik::runtime::Tokio;
use traffik::storage::{AsyncStorage, BoxFuture, Local};
use traffik::strategy::Single;
use traffik::{All, Denied, FixedWindow, HeapLog, Memory, Rate, RedisStorage, Strategy};

use crate::options::{KeySpec, Options, StorageSpec};
use crate::strategy::Limits;
use crate::upstream::Upstream;

/// The body of a reply.
pub(crate) type Body = ResponseBody<UnsyncBoxBody<Bytes, hyper::Error>>;

/// Answers requests; the same type whatever the strategy.
pub(crate) type Handler =
    Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Result<Response<Body>, Infallible>> + Send + Sync>;

/// Everything behind the server: the limit, and behind it the upstream.
#[derive(Clone)]
pub(crate) struct Limited {
    /// Answers a request.
    pub(crate) handler: Handler,
    /// Tells who was denied most.
    pub(crate) denied: DeniedMost,
}

/// Tells who was denied most, as far as the storage knows.
type DeniedMost = Arc<dyn Fn() -> Vec<Denied> + Send + Sync>;

/// How many of those denied most are known by name.
const NAMES: usize = 1_000;

/// How many of them are told.
const TOLD: usize = 20;

pub(crate) fn limited(options: &Options) -> Result<Limited, String> {
    match options.strategy.limits(&options.rate)? {
        Limits::Small(limits) => {
            together(options, limits, Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))))
        }
        Limits::SmallWrapped(limits) => {
            together(options, limits, Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))))
        }
        Limits::Large(limits) => {
            together(options, limits, Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))))
        }
        Limits::LargeWrapped(limits) => {
            together(options, limits, Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))))
        }
        Limits::Log(limits) => {
            let unlimited = HeapLog::new(Rate::UNLIMITED).map_err(|error| error.to_string())?;
            together(options, limits, unlimited)
        }
    }
}

/// Several limits as one: all admit or none is charged. Unlimited ones, which are never told, make up the number.
fn together<S: Strategy>(options: &Options, limits: Vec<S>, unlimited: S) -> Result<Limited, String> {
    fn all<S: Strategy, const N: usize>(limits: Vec<S>, unlimited: &S) -> All<S, N> {
        let mut limits = limits.into_iter();
        All(std::array::from_fn(|_| limits.next().unwrap_or_else(|| unlimited.clone())))
    }
    match limits.len() {
        1 => throttled(options, all::<S, 1>(limits, &unlimited)),
        2 => throttled(options, all::<S, 2>(limits, &unlimited)),
        3..=8 => throttled(options, all::<S, 8>(limits, &unlimited)),
        more => Err(format!("--rate is given {more} times; at most 8 rates are one limit")),
    }
}

fn throttled<S: Strategy>(options: &Options, limit: S) -> Result<Limited, String> {
    match &options.storage {
        StorageSpec::Memory { capacity, when_full } => {
            let storage = Memory::builder().capacity(*capacity).when_full(*when_full).names(NAMES).build();
            let storage = Arc::new(storage);
            let denied = storage.clone();
            stored(options, limit, Local(storage), Arc::new(move || denied.denied(TOLD)))
        }
        StorageSpec::Redis(url) => {
            let storage = RedisStorage::url(url).map_err(|error| error.to_string())?;
            let storage = storage.namespace(&options.namespace).timeout(options.timeout.0).build();
            let storage = storage.map_err(|error| error.to_string())?;
            stored(options, limit, storage, Arc::new(Vec::new))
        }
    }
}

fn stored<S: Strategy, M: AsyncStorage<S> + 'static>(
    options: &Options,
    limit: S,
    storage: M,
    denied: DeniedMost,
) -> Result<Limited, String> {
    let keys = options.key.iter().fold(Composite::new(), |keys, key| match key {
        KeySpec::Peer => keys.and(Peer::default()),
        KeySpec::Header(name) => keys.and(Header(name.clone())),
    });
    let names: Vec<_> = (1..=options.rate.len()).map(|number| format!("rate-{number}")).collect();
    let throttle = Throttle::builder("gateway", limit, storage)
        .identifier(keys)
        .class(options.strategy.class())
        .headers(options.headers.into())
        .runtime(Tokio)
        .policies(names.iter().map(String::as_str))
        .build()
        .map_err(|error| error.to_string())?;
    let service = Throttled::new(Upstream::new(options.upstream.clone()), throttle);
    Ok(Limited { handler: Arc::new(move |request| Box::pin(service.call(request))), denied })
}
