//! The listener over TLS.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use traffik_test_support::folder::target;
use traffik_test_support::servers::Identity;

use super::upstream::mirror;
use super::{Gateway, curl, refused};

/// A certificate and its key in files.
pub(super) struct Files {
    certificate: String,
    key: String,
}

impl Files {
    pub(super) fn new(name: &str) -> Self {
        let folder = target().join(format!("tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name| folder.join(name).display().to_string();
        let files = Self { certificate: path("cert.pem"), key: path("key.pem") };
        files.write(&Identity::of(&["127.0.0.1", "localhost"]));
        files
    }

    fn write(&self, identity: &Identity) {
        std::fs::write(&self.certificate, &identity.certificate).unwrap();
        std::fs::write(&self.key, &identity.key).unwrap();
    }

    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    pub(super) fn start(&self, options: &[&str]) -> Gateway {
        let tls = ["--tls-cert", &self.certificate, "--tls-key", &self.key];
        Gateway::start(&[&tls[..], options].concat())
    }

    /// Returns what curl receives, which trusts the certificate as it is now.
    fn curl(&self, options: &[&str]) -> String {
        curl(&[&["--cacert", &self.certificate], options].concat())
    }
}

#[test]
fn clients_choose_their_version_of_http_and_the_upstream_is_told_of_tls() {
    let files = Files::new("versions");
    let gateway = files.start(&["--upstream", &mirror(), "--rate", "100/s"]);
    assert!(gateway.url.starts_with("https://127.0.0.1:"), "{}", gateway.url);
    for (version, status) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let reply = files.curl(&[version, "--include", "--header", "X-Forwarded-Proto: http", &gateway.url]);
        assert!(reply.starts_with(status), "{reply}");
        assert_eq!(reply.matches("x-forwarded-proto: ").count(), 1);
        assert!(reply.contains("x-forwarded-proto: https\r\n"), "{reply}");
    }
}

#[test]
fn a_certificate_that_changes_is_read_again() {
    let files = Files::new("reload");
    let gateway = files.start(&["--rate", "100000/s"]);
    assert_eq!(files.curl(&[&gateway.url]), "ok\n");
    let old = std::fs::read_to_string(&files.certificate).unwrap();
    files.write(&Identity::of(&["127.0.0.1", "localhost"]));
    let is_new = || {
        let options = ["--silent", "--cacert", &files.certificate, &gateway.url];
        std::process::Command::new("curl").args(options).status().unwrap().success()
    };
    // Until the files were looked at, the old one is shown, which is no longer trusted.
    while !is_new() {
        std::thread::yield_now();
    }
    // What cannot be used changes nothing.
    let new = std::fs::read_to_string(&files.certificate).unwrap();
    std::fs::write(&files.certificate, old).unwrap();
    gateway.signal("HUP");
    std::fs::write(&files.key, "nothing").unwrap();
    let trusted = format!("{}.new", files.certificate);
    std::fs::write(&trusted, new).unwrap();
    for _ in 0..100 {
        assert_eq!(curl(&["--cacert", &trusted, &gateway.url]), "ok\n");
    }
}

#[test]
fn a_client_that_speaks_no_tls_is_closed_within_the_deadline() {
    let files = Files::new("plain");
    let gateway = files.start(&["--head-timeout", "300ms", "--rate", "100/s"]);
    let address = gateway.url.strip_prefix("https://").unwrap();
    for sent in [&b""[..], b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n", &[22, 3, 1, 2]] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        std::io::Write::write_all(&mut stream, sent).unwrap();
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        assert!(!String::from_utf8_lossy(&reply).contains("200 OK"), "{sent:?}");
    }
    assert_eq!(files.curl(&[&gateway.url]), "ok\n");
}

#[test]
fn files_that_cannot_be_used_are_refused_with_the_option() {
    let (files, other) = (Files::new("refused"), Files::new("other"));
    let empty = format!("{}.empty", files.certificate);
    std::fs::write(&empty, "").unwrap();
    for (certificate, key, expected) in [
        (&*files.certificate, &*other.key, "--tls-key"),
        ("/no/such", &files.key, "--tls-cert /no/such: No such file"),
        (&files.certificate, "/no/such", "--tls-key /no/such: No such file"),
        (&empty, &files.key, "there is no certificate in it"),
        (&files.key, &files.key, "there is no certificate in it"),
        (&files.certificate, &files.certificate, "name a PEM file with the private key"),
        ("/dev/zero", &files.key, "name a regular file"),
    ] {
        let options = ["--listen", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key];
        let error = refused(&options);
        assert!(error.contains(expected), "{certificate} {key}: {error}");
        assert!(!error.contains("PRIVATE KEY-"), "{error}");
    }
    let error = refused(&["--tls-cert", &files.certificate]);
    assert!(error.contains("--tls-key"), "{error}");
}
