//! tonic's client calling tonic's server over a socket, with a throttle in front.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::{Response, Uri};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyper_util::service::TowerToHyperService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use tower::Layer;
use traffik::web::{OnError, Throttle, ThrottleLayer, Throttled};
use traffik::{ErrorKind, Gcra, rate};

use crate::Broken;
use crate::sockets::serve;

pub(crate) type Caller = tonic::client::Grpc<Client<HttpConnector, tonic::body::Body>>;

/// Messages that are bytes.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Answers a message with itself; an empty one is refused.
pub(crate) async fn echo<B>(request: http::Request<B>) -> Result<Response<tonic::body::Body>, Infallible>
where
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send> + Send + 'static,
{
    let answer = tower::service_fn(|request: tonic::Request<Bytes>| async move {
        match request.into_inner() {
            empty if empty.is_empty() => Err(Status::invalid_argument("nothing to say")),
            message => Ok(tonic::Response::new(message)),
        }
    });
    Ok(tonic::server::Grpc::new(Plain).unary(answer, request).await)
}

pub(crate) fn caller(address: SocketAddr) -> Caller {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let origin = Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/");
    Caller::with_origin(client, origin.build().unwrap())
}

pub(crate) async fn call(caller: &mut Caller, message: &'static str) -> Result<Bytes, Status> {
    caller.ready().await.unwrap();
    let request = tonic::Request::new(Bytes::from(message));
    let path = "/package.Service/Echo".parse().unwrap();
    caller.unary(request, path, Plain).await.map(tonic::Response::into_inner)
}

/// How long a status asks to wait.
fn pushback(status: &Status) -> Option<Duration> {
    let told = status.metadata().get("grpc-retry-pushback-ms")?.to_str().ok()?;
    told.parse().ok().map(Duration::from_millis)
}

/// As a tower layer and as a hyper service: what passes is untouched, the statuses of the service among it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_that_the_resource_is_exhausted_and_until_when() {
    let limit = Gcra::new(rate!("3/1h")).burst(3).unwrap();
    let throttle = || Throttle::in_memory("api", limit).build().unwrap();
    let layered = ThrottleLayer::new(throttle()).layer(tower::service_fn(echo));
    for address in [
        serve(TowerToHyperService::new(layered)).await,
        serve(Throttled::new(service_fn(echo), throttle())).await,
    ] {
        let mut caller = caller(address);
        assert_eq!(call(&mut caller, "hello").await.unwrap(), "hello");
        assert_eq!(call(&mut caller, "").await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(call(&mut caller, "again").await.unwrap(), "again");
        let denied = call(&mut caller, "more").await.unwrap_err();
        assert_eq!((denied.code(), denied.message()), (Code::ResourceExhausted, "too many requests"));
        let wait = pushback(&denied).unwrap();
        assert!(wait > Duration::from_secs(1_100) && wait <= Duration::from_secs(1_200), "{wait:?}");
    }
}

/// A call that can never pass forbids a retry, and a call without a decision is unavailable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_what_is_in_vain_and_what_is_unavailable() {
    let never = Throttle::in_memory("api", Gcra::new(rate!("1/s"))).cost(2).build().unwrap();
    let mut caller = caller(serve(Throttled::new(service_fn(echo), never)).await);
    let denied = call(&mut caller, "hello").await.unwrap_err();
    assert_eq!((denied.code(), pushback(&denied)), (Code::ResourceExhausted, None));
    assert_eq!(denied.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    let broken = Throttle::builder("api", Gcra::new(rate!("1/s")), Broken(ErrorKind::Unavailable))
        .on_error(OnError::ThrottleFor(Duration::from_secs(2)))
        .build()
        .unwrap();
    let mut caller = self::caller(serve(Throttled::new(service_fn(echo), broken)).await);
    let failed = call(&mut caller, "hello").await.unwrap_err();
    assert_eq!((failed.code(), pushback(&failed)), (Code::Unavailable, Some(Duration::from_secs(2))));
}
