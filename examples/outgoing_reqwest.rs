//! A reqwest client whose calls wait for their turn: at most four a second to each host.
//!
//! `cargo run -p traffik-examples --features hyper --bin hyper_service`, and in another terminal
//! `cargo run -p traffik-examples --features reqwest --bin outgoing_reqwest`.

use reqwest_middleware::ClientBuilder;
use traffik::runtime::Tokio;
use traffik::web::Outgoing;
use traffik::{Gcra, rate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let outgoing = Outgoing::in_memory(Gcra::new(rate!("4/s")), Tokio)
        .key_by(|call| call.uri.host().unwrap_or_default().to_owned());
    let client = ClientBuilder::new(reqwest::Client::new()).with(outgoing).build();
    for _ in 0..4 {
        let answer = client.get(format!("http://{server}/")).send().await?;
        println!("{}", answer.status());
    }
    Ok(())
}
