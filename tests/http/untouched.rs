//! Requests that pass a throttle are not touched, nor are their responses: bodies frame by frame.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tower::{Layer, ServiceExt, service_fn};
use traffik::storage::Local;
use traffik::web::{Peer, Throttle, ThrottleLayer, Throttled};
use traffik::{Gcra, Memory, rate};

/// A body of given frames, each of which is only there when asked for again.
struct Frames {
    frames: VecDeque<Frame<Bytes>>,
    asked: bool,
}

impl Frames {
    fn new() -> Self {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
        let frames = [Frame::data(Bytes::from_static(b"one")), Frame::data(Bytes::new())];
        Self { frames: frames.into_iter().chain([Frame::trailers(trailers)]).collect(), asked: false }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.asked = !self.asked;
        if self.asked {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(3)
    }
}

/// Noted on a message by its sender.
#[derive(Clone, Debug, PartialEq)]
struct Noted(u8);

fn throttle() -> Throttle<Gcra, Local<Memory<Gcra>>> {
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), Local(Memory::new(1)));
    throttle.identifier(Peer::default().or_anonymous()).build().unwrap()
}

fn request() -> Request<Frames> {
    let request = Request::put("/a/path?query=1")
        .version(Version::HTTP_2)
        .header("x-asked", "a")
        .header("x-asked", "b");
    request.extension(Noted(1)).body(Frames::new()).unwrap()
}

/// Answers with what it was asked, if it was asked what was sent.
async fn echo(request: Request<Frames>) -> Result<Response<Frames>, Infallible> {
    let (parts, body) = request.into_parts();
    let asked = parts.headers.get_all("x-asked").iter();
    assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("PUT", "/a/path?query=1"));
    assert!(asked.eq(["a", "b"]) && parts.headers.len() == 2 && parts.extensions.get() == Some(&Noted(1)));
    let response =
        Response::builder().status(206).version(Version::HTTP_2).header("x-told", "c").header("x-told", "d");
    Ok(response.extension(Noted(2)).body(body).unwrap())
}

async fn is_what_was_answered(response: Response<impl Body<Data = Bytes, Error = Infallible> + Unpin>) {
    let (parts, mut body) = response.into_parts();
    let told = parts.headers.get_all("x-told").iter();
    assert_eq!((parts.status.as_u16(), parts.version), (206, Version::HTTP_2));
    assert!(told.eq(["c", "d"]) && parts.headers.len() == 2 && parts.extensions.get() == Some(&Noted(2)));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(3), false));
    for expected in Frames::new().frames {
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!((frame.data_ref(), frame.trailers_ref()), (expected.data_ref(), expected.trailers_ref()));
    }
    assert!(body.is_end_stream() && body.frame().await.is_none());
}

#[tokio::test]
async fn a_tower_service_sees_the_request_and_its_client_the_response() {
    is_what_was_answered(
        ThrottleLayer::new(throttle()).layer(service_fn(echo)).oneshot(request()).await.unwrap(),
    )
    .await;
}

#[tokio::test]
async fn a_hyper_service_sees_the_request_and_its_client_the_response() {
    let service = Throttled::new(hyper::service::service_fn(echo), throttle());
    is_what_was_answered(hyper::service::Service::call(&service, request()).await.unwrap()).await;
}
