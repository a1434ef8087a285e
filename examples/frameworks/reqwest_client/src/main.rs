//! A reqwest client whose calls wait for their turn: one a second to each host. A call that would wait for
//! more than 1.5 s fails.

use std::time::Duration;

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tokio::task::JoinSet;
use traffik::runtime::Tokio;
use traffik::web::Outgoing;
use traffik::{Gcra, rate};

fn client() -> ClientWithMiddleware {
    let outgoing = Outgoing::in_memory(Gcra::new(rate!("1/s")), Tokio)
        .key_by(|call| call.uri.host().unwrap_or_default().to_owned())
        .max_wait(Duration::from_millis(1_500));
    ClientBuilder::new(reqwest::Client::new()).with(outgoing).build()
}

/// Makes four calls to each address at once. Returns the number that were answered.
async fn calls(addresses: &[&str]) -> usize {
    let client = client();
    let mut calls = JoinSet::new();
    for address in addresses.repeat(4) {
        calls.spawn(client.get(address).send());
    }
    let answers = calls.join_all().await;
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        println!("{error}");
    }
    answers.iter().flatten().filter(|answer| answer.status().is_success()).count()
}

#[tokio::main]
async fn main() {
    println!("{} answered", calls(&["http://127.0.0.1:3000/", "http://localhost:3000/"]).await);
}

#[cfg(test)]
mod tests;
