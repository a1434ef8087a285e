//! The gateway while it does nothing: the memory of idle connections, and the time of its start.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use traffik_bench_support::Bound::AtMost;
use traffik_bench_support::{Report, median};

use crate::child::{file, gateway};

const CONNECTIONS: usize = 5_000;
const STARTS: usize = 20;
const THROTTLES: usize = 10_000;

pub(crate) fn run(report: &mut Report) -> io::Result<()> {
    report.head("the gateway alone");
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let idle = gateway(&["--rate", "1000000/s"])?;
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(&idle.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let mut reply = Vec::new();
        while !reply.ends_with(b"ok\n") {
            let mut part = [0; 1024];
            let read = stream.read(&mut part)?;
            reply.extend(part.iter().take(read));
            if read == 0 {
                return Err(io::Error::other("an idle connection was closed"));
            }
        }
        connections.push(stream);
    }
    let megabytes = idle.resident()? / 1e6;
    report.line(format!("memory with {CONNECTIONS} idle connections"), megabytes, "MB", Some(AtMost(125.0)));
    drop((connections, idle));

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(gateway(&[])?.took.as_secs_f64() * 1e3);
    }
    report.line(format!("start, median of {STARTS}"), median(starts), "ms", Some(AtMost(50.0)));

    let mut throttles = String::new();
    for number in 0..THROTTLES {
        let rules = format!("rules = {{ path = \"/p{number}\" }}");
        write!(throttles, "[[throttle]]\nuid = \"t{number}\"\nrate = \"5/s\"\n{rules}\n")
            .map_err(io::Error::other)?;
    }
    let path = file("throttles.toml", &throttles)?;
    let took = gateway(&["--config", &path])?.took.as_secs_f64();
    report.line(format!("start with {THROTTLES} throttles"), took, "s", Some(AtMost(2.0)));
    Ok(())
}
