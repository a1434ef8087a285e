//! The access to the admin paths: the hosts that `--admin` answers to, and the token.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use traffik_test_support::folder;
use traffik_test_support::servers::{free_port, until};

use super::config::File;
use super::heard::{heard, record};
use super::{Gateway, PROGRAM, Program, client, curl, get, refused};

/// Starts a gateway with a listener for the admin paths at `address`. Returns it and that listener's URL.
pub(super) fn with_admin(address: &str, options: &[&str]) -> (Gateway, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--admin", address, "--log-level", "warn"]).args(options);
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
    let mut after = |before| lines.next().unwrap().unwrap().strip_prefix(before).unwrap().to_owned();
    let (url, admin) = (after("listening on "), after("admin paths on "));
    (Gateway(Program { process, url }), admin)
}

/// Returns the status and the body of a request by curl with these options.
pub(super) fn ask(url: &str, options: &[&str]) -> (u16, String) {
    let written = curl(&[&["--write-out", "\n%{http_code}", url], options].concat());
    let (body, status) = written.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// Returns an address of this machine that is not loopback, if it has one.
fn outer_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the system only chooses the address that it would send from.
    match socket.connect("198.51.100.1:9") {
        Ok(()) => socket.local_addr().unwrap().ip(),
        Err(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

/// A site whose name was made to resolve to the gateway calls it by that name.
#[test]
fn the_admin_listener_answers_to_its_own_names_alone() {
    let hosts = ["--admin-host", "Gateway.Example.", "--admin-host", "[2001:DB8::1]"];
    let (_gateway, admin) = with_admin("0.0.0.0:0", &hosts);
    let port = admin.rsplit_once(':').unwrap().1;
    let outer = outer_address();
    let url = format!("http://{outer}:{port}/_traffik/");
    let (inner, reset) = (format!("http://127.0.0.1:{port}/_traffik/"), "reset?key=127.0.0.1");
    for http in ["--http1.1", "--http2-prior-knowledge"] {
        let to = |url: &str, host: &str| {
            let host = format!("Host: {host}");
            let host = if host.ends_with(": ") { Vec::new() } else { vec!["--header", &host] };
            ask(url, &[&[http], &host[..]].concat())
        };
        for host in [
            "",
            "localhost",
            "127.0.0.1:80",
            "[::1]",
            &format!("{outer}:{port}"),
            &outer.to_string(),
            "gateway.example",
            "GATEWAY.example.:9090",
            "[2001:db8:0::1]:9090",
        ] {
            assert_eq!(to(&format!("{url}metrics"), host).0, 200, "{http} {host:?}");
            assert_eq!(to(&format!("{url}stat?key=127.0.0.1"), host).0, 200, "{http} {host:?}");
        }
        // The outer address is that of another connection.
        for host in ["evil.example", "localhost.evil.example", "203.0.113.7", "gateway.example.evil.example"]
        {
            for path in ["", "metrics", "events", "denied", "stat?key=127.0.0.1", "page.js", "none"] {
                let (status, body) = to(&format!("{url}{path}"), host);
                assert_eq!(status, 421, "{http} {host} {path}");
                assert!(body.contains("--admin-host NAME"), "{body}");
            }
        }
        let of_outer = if outer.is_loopback() { 200 } else { 421 };
        assert_eq!(to(&format!("{inner}metrics"), &outer.to_string()).0, of_outer, "{http}");
        // Probes get the status of any name, and nothing that a page could learn.
        for path in ["livez", "readyz", "health"] {
            assert_eq!(to(&format!("{url}{path}"), "evil.example"), (200, String::new()), "{http} {path}");
            assert_ne!(to(&format!("{url}{path}"), "").1, "", "{http} {path}");
        }
        // A page has the same origin as its host, or another.
        for (status, origin, host) in [
            (200, "https://gateway.example", "gateway.example"),
            (200, "http://localhost:9090", "localhost:9090"),
            (421, "http://evil.example", "evil.example"),
            (403, "http://evil.example", "localhost"),
            (403, "null", "localhost"),
            (403, "https://gateway.example:1", "gateway.example"),
        ] {
            let (origin, host) = (format!("Origin: {origin}"), format!("Host: {host}"));
            let options = [http, "--request", "POST", "--header", &origin, "--header", &host];
            let (received, body) = ask(&format!("{url}{reset}"), &options);
            assert_eq!(received, status, "{http} {origin} {host}: {body}");
            assert!(status == 200 || body.contains("--admin-host"), "{body}");
        }
    }
    let nameless = ["--http1.0", "--header", "Host:"];
    let status = |path: &str| ask(&format!("{url}{path}"), &nameless).0;
    assert_eq!([status("readyz"), status("metrics")], [200, 421], "HAProxy probes without a host by default");
}

/// A program that ends when dropped, and with this one.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real Prometheus reads the metrics by the gateway's addresses and by `localhost` without an option.
#[test]
fn prometheus_reads_the_metrics() {
    let (_gateway, admin) = with_admin("0.0.0.0:0", &[]);
    let port = admin.rsplit_once(':').unwrap().1;
    let hosts = [outer_address().to_string(), "127.0.0.1".to_owned(), "localhost".to_owned()];
    let targets = hosts.map(|host| format!("'{host}:{port}'")).join(", ");
    let config = File::new(
        "prometheus",
        &format!(
            "scrape_configs:\n- job_name: gateway\n  scrape_interval: 1s\n  metrics_path: /_traffik/metrics\n  \
             static_configs:\n  - targets: [{targets}]\n"
        ),
    );
    let (own, data) = (free_port(), folder::temporary().join(format!("prometheus-{}", std::process::id())));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "prometheus", "--config.file", config.path()]);
    command.arg(format!("--web.listen-address=127.0.0.1:{own}"));
    command.arg(format!("--storage.tsdb.path={}", data.display()));
    let watcher = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let watcher = Watcher(watcher.expect("scripts/install promtool=prometheus setpriv=util-linux"));
    // The connection is refused until Prometheus listens.
    let query = format!("http://127.0.0.1:{own}/api/v1/query?query=sum(up)%2Bsum(traffik_build_info)");
    until(Duration::from_secs(30), "three targets are up", || {
        let output = Command::new("curl").args(["--silent", "--max-time", "5", &query]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains(",\"6\"]")
    });
    drop(watcher);
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn a_host_is_a_name_without_scheme_and_port() {
    for host in ["http://gateway.example", "gateway.example:9090", "127.0.0.1:80", "two words", "", "."] {
        let error = refused(&["--admin", "127.0.0.1:0", "--admin-host", host]);
        assert!(error.contains("--admin-host") && error.contains(": gateway.example"), "{host}: {error}");
    }
    assert!(refused(&["--admin-host", "gateway.example"]).contains("--admin <ADDR>"));
}

/// A token, and its file.
const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn token_file(name: &str, text: &str) -> File {
    let file = File::new(name, text);
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// Returns the header of a token.
fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[tokio::test]
async fn counts_of_clients_need_the_token_on_both_listeners() {
    let file = token_file("token-both", &format!("{SECRET}\nsecond line\n"));
    let alone = Gateway::start(&["--admin-token-file", file.path(), "--rate", "1/w"]);
    let options = ["--admin-token-file", file.path(), "--rate", "1/w"];
    let (beside, admin) = with_admin("127.0.0.1:0", &options);
    for (gateway, url) in [(&alone, alone.url.as_str()), (&beside, admin.as_str())] {
        let http = client(false);
        let status = async || get(&http, &gateway.url, &[]).await.status().as_u16();
        assert_eq!([status().await, status().await], [200, 429]);
        for (method, path) in
            [("GET", "stat?key=127.0.0.1"), ("GET", "denied"), ("POST", "reset?key=127.0.0.1")]
        {
            let path = format!("{url}/_traffik/{path}");
            let reply = curl(&["--include", "--request", method, &path]);
            assert!(
                reply.starts_with("HTTP/1.1 401 ") && reply.contains("www-authenticate: Bearer\r\n"),
                "{reply}"
            );
            assert!(!reply.contains("current_count") && !reply.contains("127.0.0.1"), "{reply}");
            let wrong = curl(&["--include", "--request", method, "--header", &bearer("wrong"), &path]);
            assert!(wrong.starts_with("HTTP/1.1 401 "), "{wrong}");
            assert!(wrong.contains("www-authenticate: Bearer error=\"invalid_token\"\r\n"), "{wrong}");
        }
        assert_eq!(status().await, 429, "nothing was reset");
        for path in ["", "page.js", "page.css", "health", "livez", "readyz", "metrics"] {
            assert_eq!(ask(&format!("{url}/_traffik/{path}"), &[]).0, 200, "{path}");
        }
        let lower = format!("authorization: bearer  {SECRET} ");
        assert_eq!(ask(&format!("{url}/_traffik/stat?key=127.0.0.1"), &["--header", &lower]).0, 200);
        let right = bearer(SECRET);
        let with = |path: &str, method: &str| {
            ask(&format!("{url}/_traffik/{path}"), &["--request", method, "--header", &right])
        };
        assert!(with("stat?key=127.0.0.1", "GET").1.contains("\"current_count\": 1"));
        assert_eq!(with("denied", "GET"), (200, "2\t127.0.0.1 gateway\n".to_owned()));
        assert_eq!(with("reset?key=127.0.0.1", "POST").0, 200);
        assert_eq!(status().await, 200);
    }
    // The token opens no door to other machines and other sites.
    let stat = format!("{}/_traffik/stat?key=127.0.0.1", alone.url);
    let right = bearer(SECRET);
    assert_eq!(ask(&stat, &["--header", &right, "--header", "X-Forwarded-For: 192.0.2.1"]).0, 404);
    assert_eq!(ask(&stat, &["--header", &right, "--header", "Host: evil.example"]).0, 404);
    let stat = format!("{admin}/_traffik/stat?key=127.0.0.1");
    assert_eq!(ask(&stat, &["--header", &right, "--header", "Host: evil.example"]).0, 421);
}

#[test]
fn wrong_tokens_are_limited_and_the_right_one_never() {
    let file = token_file("token-limited", SECRET);
    let (gateway, log) = heard(&["--admin-token-file", file.path()]);
    let url = format!("{}/_traffik/denied", gateway.url);
    let with = |header: &str| ask(&url, &["--header", header]).0;
    let twice = || ask(&url, &["--header", &bearer(SECRET), "--header", &bearer("other")]).0;
    let odd = [twice(), with("Authorization: Bearer"), with(&format!("Authorization: Basic {SECRET}"))];
    assert_eq!(odd, [401; 3]);
    let mut refused = odd.len();
    let reply = loop {
        let reply = curl(&["--include", "--header", &bearer(&format!("guess-{refused}")), &url]);
        assert_eq!(with(&bearer(SECRET)), 200, "the owner is not locked out");
        assert_eq!(ask(&url, &[]).0, 401, "a request without a token is no guess");
        if !reply.starts_with("HTTP/1.1 401 ") {
            break reply;
        }
        refused += 1;
    };
    // A minute of the clock can end in between.
    assert!((10..=20).contains(&refused), "{refused}");
    assert!(reply.starts_with("HTTP/1.1 429 "), "{reply}");
    let wait = reply.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap().trim();
    assert!((1..=60).contains(&wait.parse::<u32>().unwrap()), "{reply}");
    let log = log.rest(gateway);
    assert_eq!(log.matches("has a wrong token").count(), refused, "{log}");
    for secret in [SECRET, "guess", "other", "Basic"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn a_new_token_is_read_on_sighup() {
    let file = token_file("token-new", SECRET);
    let (gateway, mut log) = heard(&["--admin-token-file", file.path()]);
    let with =
        |token: &str| ask(&format!("{}/_traffik/denied", gateway.url), &["--header", &bearer(token)]).0;
    assert_eq!([with(SECRET), with("another-token-of-mine")], [200, 401]);
    file.write("short");
    gateway.signal("HUP");
    let line = log.line("the first line has 5 characters");
    assert_eq!(record(&line).0, "ERROR");
    log.line("the previous token stays in use");
    assert_eq!([with(SECRET), with("another-token-of-mine")], [200, 401]);
    file.write("another-token-of-mine\n");
    gateway.signal("HUP");
    log.line("everybody on this machine can read the token");
    log.line("the token was read again");
    assert_eq!([with(SECRET), with("another-token-of-mine")], [401, 200]);
}

#[test]
fn a_file_without_a_token_is_refused() {
    let path = |file: &File| file.path().to_owned();
    let short = token_file("token-short", "tooshortsecret\n0f1e2d3c4b5a69788796a5b4c3d2e1f0\n");
    let empty = token_file("token-empty", "");
    let blanks = token_file("token-blanks", "0f1e2d3c4b5a 9788796a5b4c3d2e1f0");
    let foreign = token_file("token-foreign", "0f1e2d3c4b5a69788796ä5b4c3d2e1f0");
    for (path, expected) in [
        (
            path(&short),
            "the first line has 14 characters; write a token of at least 16, such as the output of openssl",
        ),
        (path(&empty), "the first line has 0 characters; write a token of at least 16"),
        (path(&blanks), "a character that no header can hold; write letters, digits and signs of ASCII"),
        (path(&foreign), "a character that no header can hold"),
        ("/none".to_owned(), "No such file"),
        ("/dev/zero".to_owned(), "the path names a device; name a regular file"),
    ] {
        for check in [&[][..], &["--check"]] {
            let error = refused(&[&["--listen", "127.0.0.1:0", "--admin-token-file", &path], check].concat());
            assert!(error.contains(&format!("--admin-token-file {path}: ")), "{error}");
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("secret") && !error.contains("0f1e"), "{error}");
        }
    }
    let check = |file: &File| {
        let output =
            Command::new(PROGRAM).args(["--check", "--admin-token-file", file.path()]).output().unwrap();
        assert!(output.status.success());
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let file = token_file("token-checked", SECRET);
    let [limits, log] = check(&file);
    assert_eq!(log, "");
    assert!(!limits.contains(SECRET), "{limits}");
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let [limits, log] = check(&file);
    assert!(
        log.contains("WARN") && log.contains("everybody on this machine can read the token; chmod o-r"),
        "{log}"
    );
    assert!(!log.contains(SECRET) && !limits.contains(SECRET), "{log}");
}
