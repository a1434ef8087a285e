//! The end of the process: how long it drains, and how a second signal cuts that short.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::Gateway;

/// Starts a gateway with a request under way that its upstream never answers, and signals it to end.
fn draining(options: &[&str], signal: &str) -> (Gateway, TcpStream, TcpStream) {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let gateway = Gateway::start(&[&["--upstream", &url], options].concat());
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n").unwrap();
    let (mut at_upstream, _) = upstream.accept().unwrap();
    assert!(at_upstream.read(&mut [0; 1024]).unwrap() > 0);
    gateway.signal(signal);
    // It drains once it accepts no longer.
    while TcpStream::connect(gateway.address()).is_ok() {
        std::thread::yield_now();
    }
    (gateway, client, at_upstream)
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, status) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130)] {
        let (mut gateway, _client, _upstream) = draining(&["--drain", "1h"], first);
        assert_eq!(gateway.process.try_wait().unwrap(), None, "{first} alone drains");
        gateway.signal(second);
        assert_eq!(gateway.process.wait().unwrap().code(), Some(status), "{first}, {second}");
    }
}

#[test]
fn draining_ends_after_the_time_of_the_option() {
    let (mut gateway, _client, _upstream) = draining(&["--drain", "100ms"], "TERM");
    let start = Instant::now();
    assert_eq!(gateway.process.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "not the default of 10 s: {:?}", start.elapsed());
}
