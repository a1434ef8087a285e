//! nginx as a process, in front of another server.

use std::io::{self, Error, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::server::{Program, Server};
use super::wait::SOON;

pub type Nginx = Server<NginxOptions>;

/// The lines of its block `server`.
pub struct NginxOptions {
    server: String,
}

/// The path that answers with the id of the process.
const PROCESS: &str = "/process-of-nginx";

impl Nginx {
    /// Starts it with these lines in that block, such as a `location`.
    pub fn start(server: &str) -> Self {
        Server::launch(NginxOptions { server: server.to_owned() })
    }
}

impl Program for NginxOptions {
    const NAME: &'static str = "nginx";

    fn path(&self) -> String {
        // Debian puts it where only root looks for programs.
        let debian = "/usr/sbin/nginx";
        if Path::new(debian).exists() { debian } else { Self::NAME }.to_owned()
    }

    fn arguments(&self, _: u16) -> Vec<String> {
        // All its files lie in its directory.
        ["-p", ".", "-e", "stderr", "-c", "nginx.conf"].map(str::to_owned).to_vec()
    }

    fn prepare(&self, directory: &Path, port: u16) {
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders = folders.map(|it| format!("    {it}_temp_path {it};\n")).concat();
        // One process, so that the one that answers is the one that was started.
        let text = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nevents {{}}\nhttp {{\n    access_log off;\n\
             {folders}    server {{\n        listen 127.0.0.1:{port};\n        \
             location = {PROCESS} {{ return 200 $pid; }}\n        {}\n    }}\n}}\n",
            self.server
        );
        std::fs::write(directory.join("nginx.conf"), text).unwrap();
    }

    fn process_at(&self, address: SocketAddr) -> io::Result<u32> {
        let mut stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(format!("GET {PROCESS} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let id = answer.split("\r\n\r\n").nth(1).and_then(|body| body.trim().parse().ok());
        id.ok_or_else(|| Error::other("the answer is no process"))
    }
}
