//! The limit that the options come to, in front of the service behind it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::Service;
use traffik::http::{Composite, Header, NameError, Peer, ResponseBody, Throttle, Throttled};
use traffik::storage::{BoxFuture, Local};
use traffik::{All, FixedWindow, Gcra, Memory, Rate, Strategy, TokenBucket};

use crate::options::{KeySpec, Options, StrategySpec};
use crate::upstream::Upstream;

/// The body of a reply.
pub(crate) type Body = ResponseBody<UnsyncBoxBody<Bytes, hyper::Error>>;

/// Answers requests; the same type whatever the strategy.
pub(crate) type Handler =
    Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Result<Response<Body>, Infallible>> + Send + Sync>;

/// Everything behind the server: the limit, and behind it the upstream.
pub(crate) fn handler(options: &Options) -> Result<Handler, String> {
    let rates = &options.rate;
    match options.strategy {
        StrategySpec::FixedWindow => together(options, each(rates, |rate| Ok(FixedWindow::new(rate)))?),
        StrategySpec::TokenBucket { burst, debt } => {
            let bucket = |rate| match burst {
                Some(burst) => TokenBucket::new(rate).burst(burst)?.debt(debt),
                None => TokenBucket::new(rate).debt(debt),
            };
            together(options, each(rates, bucket)?)
        }
        StrategySpec::Gcra { burst, tolerance } => {
            let gcra = |rate| match (burst, tolerance) {
                (Some(burst), _) => Gcra::new(rate).burst(burst),
                (None, Some(tolerance)) => Gcra::new(rate).tolerance(tolerance),
                (None, None) => Ok(Gcra::new(rate)),
            };
            together(options, each(rates, gcra)?)
        }
    }
}

fn each<S>(rates: &[Rate], limit: impl Fn(Rate) -> Result<S, traffik::TooLarge>) -> Result<Vec<S>, String> {
    rates.iter().map(|rate| limit(*rate).map_err(|error| format!("--rate {rate}: {error}"))).collect()
}

/// Several limits as one: all admit or none is charged.
fn together<S: Strategy>(options: &Options, limits: Vec<S>) -> Result<Handler, String> {
    macro_rules! by_number {
        ($($number:literal)*) => {
            match limits.len() {
                $($number => match <[S; $number]>::try_from(limits) {
                    Ok(limits) => throttled(options, All(limits)).map_err(|error| error.to_string()),
                    Err(_) => Err("the number of rates changed while it was read".to_owned()),
                },)*
                more => Err(format!("--rate is given {more} times; at most 8 rates are one limit")),
            }
        };
    }
    by_number!(1 2 3 4 5 6 7 8)
}

fn throttled<S: Strategy>(options: &Options, limit: S) -> Result<Handler, NameError> {
    let storage = Memory::builder().capacity(options.storage.capacity).when_full(options.storage.when_full);
    let keys = options.key.iter().fold(Composite::new(), |keys, key| match key {
        KeySpec::Peer => keys.and(Peer::default()),
        KeySpec::Header(name) => keys.and(Header(name.clone())),
    });
    let names: Vec<_> = (1..=options.rate.len()).map(|number| format!("rate-{number}")).collect();
    let throttle = Throttle::builder("gateway", limit, Local(storage.build()))
        .identifier(keys)
        .headers(options.headers.into())
        .policies(names.iter().map(String::as_str))
        .build()?;
    let service = Throttled::new(Upstream::new(options.upstream.clone()), throttle);
    Ok(Arc::new(move |request| Box::pin(service.call(request))))
}
