//! An echo server on tokio with the same bandwidth for every address, however many connections an address
//! opens. Each byte costs 1, and a connection waits while its address has used up its bandwidth.
//!
//! `cargo run -p traffik-examples --features tokio --bin tokio_server`, then `yes | nc 127.0.0.1 3000`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use traffik::runtime::Tokio;
use traffik::{Limiter, Memory, TokenBucket, rate};

/// Bytes read at a time, which is also the burst.
const PIECE: u32 = 4 << 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    // 32 KiB a second for each address.
    let pace = TokenBucket::new(rate!("32768/s")).burst(PIECE)?;
    let limiter = Arc::new(Limiter::new(pace, Memory::new(10_000)));

    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let limiter = Arc::clone(&limiter);
        tokio::spawn(async move {
            if let Err(error) = echo(stream, peer.ip(), &limiter).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(
    mut stream: TcpStream,
    peer: IpAddr,
    limiter: &Limiter<TokenBucket, Memory<TokenBucket>>,
) -> io::Result<()> {
    let mut piece = [0; PIECE as usize];
    loop {
        let length = stream.read(&mut piece).await?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
        // The connections of an address wait in one queue.
        let _ = limiter.until_ready_n(&peer, length as u32, &Tokio).await.map_err(io::Error::other)?;
        stream.write_all(read).await?;
    }
}
