//! A client on async-std that limits its own requests: it sends six to a web server, never faster than the
//! server allows.
//!
//! `cargo run -p traffik-examples --features smol --bin smol_server`, and in another terminal
//! `cargo run -p traffik-examples --features async-std --bin async_std_client`. The server allows five
//! requests in ten seconds. The client allows itself only four, since requests may arrive closer together
//! than it sent them. So none is denied.

use std::io;

use async_std::io::{ReadExt, WriteExt};
use traffik::runtime::{AsyncStd, Connect, Runtime};
use traffik::{Limiter, Memory, TokenBucket, rate};

/// Longest time to wait for the server.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let limiter = Limiter::new(TokenBucket::new(rate!("4/10s")), Memory::new(100));
    async_std::task::block_on(async {
        for _ in 0..6 {
            let _ = limiter.until_ready(server.as_str(), &AsyncStd).await?;
            println!("{}", AsyncStd.timeout(PATIENCE, ask(&server)).await??);
        }
        Ok(())
    })
}

/// Sends a request and returns the first line of the response.
async fn ask(server: &str) -> io::Result<String> {
    let mut stream = AsyncStd.connect(server).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
