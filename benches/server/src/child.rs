//! The servers that are measured: each ends with its value, and says within a deadline where it listens.

use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest time that a server may take to start.
const START: Duration = Duration::from_secs(20);

/// Longest time that a server then has to end by itself.
const END: Duration = Duration::from_secs(2);

/// A server.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    /// Its host and port.
    pub(crate) address: String,
    /// From its start to the line that says where it listens.
    pub(crate) took: Duration,
}

impl Child {
    /// Starts a program that says where it listens.
    pub(crate) fn saying(mut command: Command) -> io::Result<Self> {
        let start = Instant::now();
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let out = process.stdout.take();
        let mut child = Self { process, address: String::new(), took: Duration::ZERO };
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(out?).lines();
            sender.send(lines.next()?.ok()?).ok()?;
            // Its further lines must find a reader.
            lines.for_each(drop);
            Some(())
        });
        let line = said.recv_timeout(START).map_err(|_| io::Error::other("a server did not start"))?;
        child.took = start.elapsed();
        let address = line.strip_prefix("listening on http://");
        address.ok_or_else(|| io::Error::other(line.clone()))?.clone_into(&mut child.address);
        Ok(child)
    }

    /// Starts a program that listens on an address, and waits until it does.
    pub(crate) fn listening(mut command: Command, port: u16) -> io::Result<Self> {
        let start = Instant::now();
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut child = Self { process, address: format!("127.0.0.1:{port}"), took: Duration::ZERO };
        while std::net::TcpStream::connect(&child.address).is_err() {
            if start.elapsed() > START || child.process.try_wait()?.is_some() {
                return Err(io::Error::other(format!("{command:?} did not start")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.took = start.elapsed();
        Ok(child)
    }

    /// Starts this program as a server that only answers.
    pub(crate) fn answering(kind: &str) -> io::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([kind, &port.to_string()]);
        Self::listening(command, port)
    }

    /// Returns the bytes of its memory.
    pub(crate) fn resident(&self) -> io::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        let kilobytes = line.and_then(|line| line.trim().parse::<f64>().ok());
        kilobytes.map(|it| it * 1024.0).ok_or_else(|| io::Error::other("the system tells no VmRSS"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // nginx ends its workers on TERM; without a master they would go on.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && start.elapsed() < END {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the gateway that lies in the target directory.
pub(crate) fn gateway(options: &[&str]) -> io::Result<Child> {
    // This program lies in `bench/release` there.
    let path = std::env::current_exe()?.with_file_name("../../release/traffik-gateway");
    let mut command = Command::new(path);
    command.args(["--listen", "127.0.0.1:0", "--log-level", "error"]).args(options);
    command.env("TOKIO_WORKER_THREADS", "2");
    Child::saying(command)
}

/// Returns a port that was free a moment ago.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Returns the folder of this process's files.
pub(crate) fn folder(name: &str) -> io::Result<PathBuf> {
    let folder = std::env::current_exe()?.with_file_name(format!("server-{}", std::process::id())).join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Writes a file of text. Returns its path.
pub(crate) fn file(name: &str, text: &str) -> io::Result<String> {
    bytes(name, text.as_bytes())
}

/// Writes a file. Returns its path.
pub(crate) fn bytes(name: &str, bytes: &[u8]) -> io::Result<String> {
    let path = folder("files")?.join(name);
    std::fs::write(&path, bytes)?;
    Ok(text_of(&path))
}

/// Returns a path as text.
pub(crate) fn text_of(path: &Path) -> String {
    path.display().to_string()
}
