//! The limit that the options come to, in front of the service behind it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::Service;
use traffik::http::{Composite, Header, NameError, Peer, ResponseBody, Throttle, Throttled};
use traffik::runtime::Tokio;
use traffik::storage::{BoxFuture, Local};
use traffik::strategy::Single;
use traffik::{All, Denied, FixedWindow, HeapLog, Memory, Rate, Strategy};

use crate::options::{KeySpec, Options};
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
    pub(crate) denied: Arc<dyn Fn() -> Vec<Denied> + Send + Sync>,
}

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
        more => return Err(format!("--rate is given {more} times; at most 8 rates are one limit")),
    }
    .map_err(|error| error.to_string())
}

fn throttled<S: Strategy>(options: &Options, limit: S) -> Result<Limited, NameError> {
    let storage = Memory::builder().capacity(options.storage.capacity).when_full(options.storage.when_full);
    let storage = Arc::new(storage.names(NAMES).build());
    let keys = options.key.iter().fold(Composite::new(), |keys, key| match key {
        KeySpec::Peer => keys.and(Peer::default()),
        KeySpec::Header(name) => keys.and(Header(name.clone())),
    });
    let names: Vec<_> = (1..=options.rate.len()).map(|number| format!("rate-{number}")).collect();
    let throttle = Throttle::builder("gateway", limit, Local(storage.clone()))
        .identifier(keys)
        .class(options.strategy.class())
        .headers(options.headers.into())
        .runtime(Tokio)
        .policies(names.iter().map(String::as_str))
        .build()?;
    let service = Throttled::new(Upstream::new(options.upstream.clone()), throttle);
    Ok(Limited {
        handler: Arc::new(move |request| Box::pin(service.call(request))),
        denied: Arc::new(move || storage.denied(TOLD)),
    })
}
