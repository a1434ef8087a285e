//! A glob of the facade beside the crates that programs use it with: no name means two things.

use axum::Router;
use bytes::Bytes;
use futures_util::future::Ready;
use http::Request;
use http_body_util::Full;
use hyper::body::Body;
use redis::Client;
use reqwest::Url;
use rusqlite::Connection;
use serde_json::Value;
use smol::Timer as SmolTimer;
use tokio::time::Instant;
use tonic::Status;
use tower::ServiceBuilder;
use traffik::*;

#[test]
fn no_name_of_the_facade_is_that_of_a_crate() {
    fn is_named<T: ?Sized>() -> &'static str {
        std::any::type_name::<T>()
    }
    let theirs = [
        is_named::<Router>(),
        is_named::<Bytes>(),
        is_named::<Ready<()>>(),
        is_named::<Request<()>>(),
        is_named::<Full<Bytes>>(),
        is_named::<dyn Body<Data = Bytes, Error = ()>>(),
        is_named::<Client>(),
        is_named::<Url>(),
        is_named::<Connection>(),
        is_named::<Value>(),
        is_named::<SmolTimer>(),
        is_named::<Instant>(),
        is_named::<Status>(),
        is_named::<ServiceBuilder<()>>(),
    ];
    assert!(theirs.iter().all(|name| !name.contains("traffik")));
    let throttle = web::Throttle::in_memory("api", TokenBucket::new(rate!("1/s"))).build().unwrap();
    assert_eq!(throttle.uid(), "api");
}
