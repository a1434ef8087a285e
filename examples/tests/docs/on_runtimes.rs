//! The examples on tokio, smol and async-std, as a user runs them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use traffik_test_support::program::Program;

/// Starts an example that is a server, on a free port.
fn serving(program: &str) -> Program {
    let mut command = Command::new(program);
    command.arg("127.0.0.1:0");
    Program::run(command)
}

/// Two connections of one address have no more bandwidth than one would have, and lose nothing.
#[test]
fn tokio_server_gives_an_address_one_pace_for_all_its_connections() {
    let server = serving(env!("CARGO_BIN_EXE_tokio_server"));
    let began = Instant::now();
    let clients: Vec<_> = (0..2u8)
        .map(|client| {
            let address = server.address().to_owned();
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let mut other = stream.try_clone().unwrap();
                let sent: Vec<u8> = (0..12 << 10).map(|at: u32| (at % 200) as u8 + client).collect();
                let bytes = sent.clone();
                let writer = thread::spawn(move || stream.write_all(&bytes).unwrap());
                let mut received = vec![0; sent.len()];
                other.read_exact(&mut received).unwrap();
                writer.join().unwrap();
                assert!(received == sent);
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    // Of 24 KiB, 4 KiB pass at once, and the rest at 32 KiB a second.
    assert!(began.elapsed() >= Duration::from_millis(20 * 1_000 / 32));
}

#[test]
fn smol_server_allows_five_and_tells_the_sixth_to_wait() {
    let server = serving(env!("CARGO_BIN_EXE_smol_server"));
    let ask = || {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();
        received
    };
    let began = Instant::now();
    let mut passed = 0;
    let denied = loop {
        let received = ask();
        if !received.starts_with("HTTP/1.1 200") {
            break received;
        }
        assert!(received.ends_with("hello\n"), "{received}");
        passed += 1;
    };
    // Five at once, and one more in every two seconds that the requests took.
    assert!((5..=5 + began.elapsed().as_secs() / 2).contains(&passed), "{passed} in {:?}", began.elapsed());
    let wait = denied.lines().find_map(|line| line.strip_prefix("retry-after: "));
    assert!(denied.starts_with("HTTP/1.1 429") && matches!(wait, Some("1" | "2")), "{denied}");
}

/// The client sends the first four at once, then waits for longer than the server's limit demands.
#[test]
fn async_std_client_is_never_denied() {
    let server = serving(env!("CARGO_BIN_EXE_smol_server"));
    let mut client = Command::new(env!("CARGO_BIN_EXE_async_std_client"));
    let output = client.arg(server.address()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let received = String::from_utf8(output.stdout).unwrap();
    assert_eq!(received.lines().collect::<Vec<_>>(), ["HTTP/1.1 200 OK"; 6]);
}
