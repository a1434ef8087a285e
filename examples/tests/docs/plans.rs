//! The API with plans, behind a real nginx, whose database changes and fails.

use std::process::Command;

use rusqlite::Connection;
use traffik_test_support::folder;
use traffik_test_support::program::{Program, curl};
use traffik_test_support::servers::Setup;

/// The API and nginx in front of it. Plans are looked up anew for each request.
struct Site {
    database: Connection,
    api: Program,
    nginx: Setup,
}

impl Site {
    fn start(name: &str) -> Self {
        let file = folder::temporary().join(format!("{name}.db"));
        let _ = std::fs::remove_file(&file);
        let mut command = Command::new(env!("CARGO_BIN_EXE_axum_plans"));
        command.args(["127.0.0.1:0", file.to_str().unwrap(), "0"]);
        let api = Program::run(command);
        let nginx = Setup::nginx_serving(&format!(
            "location / {{ proxy_pass {}; proxy_set_header X-Real-IP $remote_addr; }}",
            api.url
        ));
        let site = Self { database: Connection::open(file).unwrap(), api, nginx };
        // Nothing drains while the test runs.
        site.sql("UPDATE plans SET rate = replace(rate, '/min', '/d')");
        site
    }

    fn sql(&self, statements: &str) {
        self.database.execute_batch(statements).unwrap();
    }

    /// Returns the statuses of so many requests through nginx, without repetitions: `200 x5, 429 x2`.
    fn ask(&self, times: usize, arguments: &[&str]) -> String {
        statuses(&format!("http://{}", self.nginx.address()), times, arguments)
    }
}

fn statuses(url: &str, times: usize, arguments: &[&str]) -> String {
    let mut runs: Vec<(String, usize)> = Vec::new();
    for _ in 0..times {
        let status =
            curl(&[&["--output", "/dev/null", "--write-out", "%{http_code}", url], arguments].concat());
        match runs.last_mut().filter(|(last, _)| *last == status) {
            Some((_, times)) => *times += 1,
            None => runs.push((status, 1)),
        }
    }
    runs.iter().map(|(status, times)| format!("{status} x{times}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_key_has_the_limit_of_its_plan() {
    let site = Site::start("plans");
    let free = ["-H", "x-api-key: free-1"];
    assert_eq!(site.ask(12, &free), "200 x10, 429 x2");
    assert_eq!(site.ask(1, &["-H", "x-api-key: free-1", "--interface", "127.0.0.2"]), "429 x1");
    assert_eq!(site.ask(21, &["-H", "x-api-key: pro-1"]), "200 x20, 429 x1");
    assert_eq!(site.ask(40, &["-H", "x-api-key: big-1"]), "200 x40");
    // A better plan takes effect, and what was used stays used: 10 of 20.
    site.sql("UPDATE keys SET plan = 'pro' WHERE key = 'free-1'");
    assert_eq!(site.ask(11, &free), "200 x10, 429 x1");
    site.sql("UPDATE keys SET rate = '0/0' WHERE key = 'pro-1'");
    assert_eq!(site.ask(1, &["-H", "x-api-key: pro-1"]), "429 x1", "the limit that was known goes on");
    // A client that tries keys is stopped by its address, and others are not.
    assert_eq!(site.ask(31, &["-H", "x-api-key: guess"]), "401 x30, 429 x1");
    assert_eq!(site.ask(1, &["-H", "x-api-key: guess", "--interface", "127.0.0.2"]), "401 x1");
}

#[test]
fn without_a_key_an_address_counts_as_nginx_reports_it() {
    let site = Site::start("plans_by_address");
    assert_eq!(site.ask(6, &["--interface", "127.0.0.2"]), "200 x5, 429 x1");
    assert_eq!(site.ask(1, &["--interface", "127.0.0.3"]), "200 x1");
    for forged in ["X-Real-IP: 6.6.6.6", "X-Forwarded-For: 6.6.6.7", "Forwarded: for=6.6.6.8"] {
        assert_eq!(site.ask(1, &["--interface", "127.0.0.2", "-H", forged]), "429 x1", "{forged}");
        // Past nginx, the peer itself is the client.
        let direct = ["--interface", "127.0.0.2", "-H", forged];
        assert_eq!(statuses(&site.api.url, 1, &direct), "429 x1", "{forged}");
    }
}

#[test]
fn a_lookup_that_fails_admits_nobody_uncounted() {
    let site = Site::start("plans_down");
    assert_eq!(site.ask(1, &["-H", "x-api-key: free-1"]), "200 x1");
    site.sql("ALTER TABLE keys RENAME TO gone");
    assert_eq!(site.ask(1, &["-H", "x-api-key: pro-1"]), "503 x1", "a plan that is not known");
    assert_eq!(site.ask(10, &["-H", "x-api-key: free-1"]), "200 x9, 429 x1");
    assert_eq!(site.ask(6, &[]), "200 x5, 429 x1");
    site.sql("ALTER TABLE gone RENAME TO keys");
    assert_eq!(site.ask(1, &["-H", "x-api-key: pro-1"]), "200 x1");
}
