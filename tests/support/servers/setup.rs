//! A server set up by a file of the documentation, whose addresses are replaced by those of the test.

use std::fs;
use std::io::{self, Error};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::server::{Program, Server};
use crate::folder::target;

pub type Setup = Server<SetupFile>;

/// A file, and the program that reads it.
pub struct SetupFile {
    program: String,
    arguments: Vec<String>,
    files: Vec<(&'static str, String)>,
    /// The text in place of which the server's own address is written, and the form of that address.
    listens: (&'static str, &'static str),
}

impl Setup {
    /// Starts nginx with these lines in its block `server`, such as a `location`.
    pub fn nginx_serving(lines: &str) -> Self {
        let text = format!(
            "events {{}}\nhttp {{\n    server {{\n        listen PORT;\n        {lines}\n    }}\n}}\n"
        );
        Self::nginx(text, Vec::new(), ("listen PORT", "listen 127.0.0.1:{}"))
    }

    /// Starts nginx by this text, in which the second of `listens` with the port replaces the first.
    /// It may read the files in `more`.
    pub fn nginx(
        text: String,
        more: Vec<(&'static str, String)>,
        listens: (&'static str, &'static str),
    ) -> Self {
        let debian = "/usr/sbin/nginx"; // where only root looks for programs
        let program = if Path::new(debian).exists() { debian } else { "nginx" };
        // One process, and all its files in its directory.
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders = folders.map(|it| format!("    {it}_temp_path {it};\n")).concat();
        let text = text.replacen("http {\n", &format!("http {{\n    access_log off;\n{folders}"), 1);
        let text = format!("daemon off;\nmaster_process off;\npid nginx.pid;\n{text}");
        Self::start(
            program,
            &["-p", ".", "-e", "stderr", "-c", "nginx.conf"],
            [vec![("nginx.conf", text)], more].concat(),
            listens,
        )
    }

    pub fn caddy(text: String, listens: (&'static str, &'static str)) -> Self {
        let options =
            "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tstorage file_system caddy\n}\n";
        let files = vec![("Caddyfile", format!("{options}{text}"))];
        let program = python("caddy");
        Self::start(&program, &["run", "--config", "Caddyfile", "--adapter", "caddyfile"], files, listens)
    }

    /// Starts HAProxy by this text; `more` are other files that it reads.
    pub fn haproxy(
        text: String,
        more: Vec<(&'static str, String)>,
        listens: (&'static str, &'static str),
    ) -> Self {
        let files = [vec![("haproxy.cfg", text)], more].concat();
        let debian = "/usr/sbin/haproxy";
        let program = if Path::new(debian).exists() { debian } else { "haproxy" };
        Self::start(program, &["-db", "-f", "haproxy.cfg"], files, listens)
    }

    fn start(
        program: &str,
        arguments: &[&str],
        files: Vec<(&'static str, String)>,
        listens: (&'static str, &'static str),
    ) -> Self {
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        Server::launch(SetupFile { program: program.to_owned(), arguments, files, listens })
    }
}

/// A program of a package in the Python of the target directory.
fn python(name: &str) -> String {
    let program = target().join("python/bin").join(name);
    assert!(program.exists(), "{name} is missing: scripts/test gateway installs it");
    program.to_str().unwrap().to_owned()
}

impl Program for SetupFile {
    const NAME: &'static str = "a proxy";

    fn path(&self) -> String {
        self.program.clone()
    }

    fn arguments(&self, _: u16) -> Vec<String> {
        self.arguments.clone()
    }

    fn prepare(&self, directory: &Path, port: u16) {
        let (before, after) = self.listens;
        for (number, (name, text)) in self.files.iter().enumerate() {
            assert!(number > 0 || text.contains(before), "{name} listens at {before}");
            let text = text.replace(before, &after.replace("{}", &port.to_string()));
            fs::write(directory.join(name), text).unwrap();
        }
    }

    /// The process that holds the listening socket, as the system lists it.
    fn process_at(&self, address: SocketAddr) -> io::Result<u32> {
        let sockets = fs::read_to_string("/proc/net/tcp")? + &fs::read_to_string("/proc/net/tcp6")?;
        let (port, listening) = (format!(":{:04X}", address.port()), "0A");
        let inode = sockets.lines().find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            (fields.get(1)?.ends_with(&port) && fields.get(3)? == &listening).then(|| fields.get(9))?.copied()
        });
        let inode = format!("socket:[{}]", inode.ok_or_else(|| Error::other("nobody listens there"))?);
        let holds = |process: &PathBuf| {
            let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
            files
                .flatten()
                .any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == &*inode))
        };
        let processes = fs::read_dir("/proc")?.flatten().map(|entry| entry.path());
        let process = processes.filter(|path| path.join("fd").exists()).find(holds);
        let id = process.and_then(|path| path.file_name()?.to_str()?.parse().ok());
        id.ok_or_else(|| Error::other("no process has that socket"))
    }
}
