//! nginx as the upstream, and as the proxy that is the gateway's counterpart.

use std::io;
use std::process::Command;

use crate::child::{Child, folder, free_port, text_of};

/// Starts nginx that answers `ok` itself.
pub(crate) fn answering() -> io::Result<Child> {
    start("upstream", 1, "", "return 200 \"ok\\n\";")
}

/// Starts nginx with two workers as a proxy that limits each address, at a rate that no client reaches.
pub(crate) fn limiting(upstream: &Child) -> io::Result<Child> {
    let before = format!(
        "limit_req_zone $binary_remote_addr zone=peers:10m rate=1000000r/s;\n\
         upstream behind {{ server {}; keepalive 64; keepalive_requests 100000000; }}",
        upstream.address
    );
    let location = "limit_req zone=peers burst=1000000 nodelay; proxy_pass http://behind;\n\
                    proxy_http_version 1.1; proxy_set_header Connection \"\";";
    start("proxy", 2, &before, location)
}

fn start(name: &str, workers: u32, before: &str, location: &str) -> io::Result<Child> {
    let (folder, port) = (folder(name)?, free_port()?);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|it| format!("{it}_temp_path {it};\n")).concat();
    let text = format!(
        "daemon off;\npid nginx.pid;\nworker_processes {workers};\nevents {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 100000000;\n{temporary}{before}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}\n}}\n"
    );
    std::fs::write(folder.join("nginx.conf"), text)?;
    // The workers must end with the suite, also with one that is interrupted.
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "TERM",
        "nginx",
        "-p",
        &text_of(&folder),
        "-e",
        "stderr",
        "-c",
        "nginx.conf",
    ]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    Child::listening(command, port)
}
