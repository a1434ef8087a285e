//! A hyper-util client whose calls wait for their turn: one a second. A call that would wait for more than
//! 1.5 s fails.

use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use traffik::runtime::Tokio;
use traffik::web::Outgoing;
use traffik::{Gcra, rate};

/// Makes four calls at once.
async fn calls(url: &str) -> Result<Vec<Result<StatusCode, String>>, BoxError> {
    let outgoing = Outgoing::in_memory(Gcra::new(rate!("1/s")), Tokio).max_wait(Duration::from_millis(1_500));
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let client = ServiceBuilder::new().layer(outgoing).service(client);
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        calls.spawn(client.clone().oneshot(Request::get(url).body(Empty::new())?));
    }
    let answers = calls.join_all().await.into_iter();
    Ok(answers
        .map(|answer| answer.map(|answer| answer.status()).map_err(|error| error.to_string()))
        .collect())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    for answer in calls("http://127.0.0.1:3000/").await? {
        println!("{answer:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
