//! A hyper client whose calls wait for their turn: of six calls at once, two a second are sent, and each that
//! would wait for more than 1.2 s fails. tonic's channels take the same layer.
//!
//! `cargo run -p traffik-examples --features hyper --bin hyper_service`, and in another terminal
//! `cargo run -p traffik-examples --features tower --bin outgoing_tower`.

use std::time::Duration;

use http::Request;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, ServiceExt};
use traffik::runtime::Tokio;
use traffik::web::Outgoing;
use traffik::{Gcra, rate};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let outgoing = Outgoing::in_memory(Gcra::new(rate!("2/s")), Tokio).max_wait(Duration::from_millis(1_200));
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let client = ServiceBuilder::new().layer(outgoing).service(client);
    let mut calls = Vec::new();
    for _ in 0..6 {
        let call = Request::get(format!("http://{server}/")).body(Empty::new())?;
        calls.push(tokio::spawn(client.clone().oneshot(call)));
    }
    for call in calls {
        match call.await? {
            Ok(response) => println!("{}", response.status()),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
