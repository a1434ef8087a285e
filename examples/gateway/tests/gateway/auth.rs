//! Forward auth: proxies of others ask whether they may pass a request on.

use std::ops::Deref;

use traffik_test_support::folder;
use traffik_test_support::program::curl;
use traffik_test_support::servers::{Redis, Setup, free_port};

use super::{Gateway, refused};

/// A gateway that answers questions, and the URL that it does so at.
struct Asked {
    gateway: Gateway,
    auth: String,
}

impl Asked {
    fn start(options: &[&str]) -> Self {
        let auth = format!("127.0.0.1:{}", free_port());
        let doors = ["--auth", &auth, "--trusted-proxy", "127.0.0.0/8"];
        let gateway = Gateway::start(&[&doors, options].concat());
        Self { gateway, auth }
    }

    /// Returns the status line, the fields and the body of the answer to a question with these fields.
    fn answer(&self, fields: &[&str]) -> String {
        let headers = fields.iter().flat_map(|field| ["-H", field]);
        curl(
            &["-i"]
                .into_iter()
                .chain(headers)
                .chain([&*format!("http://{}/", self.auth)])
                .collect::<Vec<_>>(),
        )
    }

    fn status(&self, fields: &[&str]) -> String {
        self.answer(fields)[9..12].to_owned()
    }
}

impl Deref for Asked {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

/// The fields of a question about a request of this client.
fn of(client: &str) -> [String; 4] {
    [
        format!("X-Forwarded-For: {client}"),
        "X-Forwarded-Method: GET".to_owned(),
        "X-Forwarded-Uri: /".to_owned(),
        "X-Forwarded-Host: a.example".to_owned(),
    ]
}

fn fields(of: &[String]) -> Vec<&str> {
    of.iter().map(String::as_str).collect()
}

/// Returns a file of the setups, with the port of the gateway's questions and that of the service behind.
fn setup(name: &str, auth: &str, service: &str) -> String {
    let path = folder::workspace().join("examples/gateway/setups").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("127.0.0.1:8081") || text.contains("127.0.0.1:3000"), "{name}");
    text.replace("127.0.0.1:8081", auth).replace("127.0.0.1:3000", service)
}

/// Asks a proxy as clients at these addresses of the loopback network, in turn; returns the answers.
fn ask(proxy: &Setup, path: &str, clients: &[&str]) -> Vec<String> {
    let url = format!("http://{}{path}", proxy.address());
    // The field by which a client would like to be somebody else.
    let ask = |client: &&str| curl(&["-i", "--interface", client, "-H", "X-Forwarded-For: 192.0.2.1", &url]);
    clients.iter().map(ask).collect()
}

/// Returns the statuses of replies.
fn statuses(replies: &[String]) -> Vec<&str> {
    replies.iter().map(|reply| &reply[9..12]).collect()
}

fn has_field(reply: &str, field: &str) -> bool {
    reply.lines().any(|line| line.to_ascii_lowercase().starts_with(&format!("{field}: ")))
}

/// Asserts that a proxy admits two requests of each client, denies the third with the time to wait, and
/// that the gateway's own listener counts the same client.
fn admits_two_of_each_client(gateway: &Asked, proxy: &Setup) {
    let replies = ask(proxy, "/a?b=c", &["127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3"]);
    assert_eq!(statuses(&replies), ["200", "200", "429", "200"], "{replies:#?}");
    assert!(replies[0].ends_with("ok\n"), "{}", replies[0]);
    assert!(has_field(&replies[2], "retry-after"), "{}", replies[2]);
    let own = |client| curl(&["-i", "--interface", client, &gateway.url])[9..12].to_owned();
    assert_eq!([own("127.0.0.3"), own("127.0.0.3"), own("127.0.0.2")], ["200", "429", "429"]);
}

#[test]
fn nginx_asks_before_it_passes_a_request_on() {
    let service = Gateway::start(&["--rate", "100/w", "--headers", "none"]);
    for key in ["peer", "forwarded"] {
        let gateway = Asked::start(&["--rate", "2/w", "--auth-denied-status", "403", "--key", key]);
        let text = setup("nginx/nginx.conf", &gateway.auth, service.address());
        let nginx = Setup::nginx(text, Vec::new(), ("listen 80", "listen 127.0.0.1:{}"));
        admits_two_of_each_client(&gateway, &nginx);
        let replies = ask(&nginx, "/", &["127.0.0.4", "127.0.0.4", "127.0.0.4"]);
        assert!(replies.iter().all(|reply| has_field(reply, "ratelimit")), "{replies:#?}");
        assert!(
            !replies[0].contains("retry-after") && replies[2].ends_with("over the limit\n"),
            "{replies:#?}"
        );
        // Without the gateway, nothing passes.
        drop(gateway);
        assert_eq!(statuses(&ask(&nginx, "/", &["127.0.0.5"])), ["500"]);
    }
}

#[test]
fn caddy_asks_before_it_passes_a_request_on() {
    let service = Gateway::start(&["--rate", "100/w", "--headers", "none"]);
    let gateway = Asked::start(&["--rate", "2/w"]);
    let text = setup("caddy/Caddyfile", &gateway.auth, service.address());
    let caddy = Setup::caddy(text, (":80 {", "http://:{} {"));
    admits_two_of_each_client(&gateway, &caddy);
    let replies = ask(&caddy, "/", &["127.0.0.2"]);
    assert!(has_field(&replies[0], "ratelimit") && replies[0].contains("violated-policies"), "{replies:#?}");
    drop(gateway);
    assert_eq!(statuses(&ask(&caddy, "/", &["127.0.0.5"])), ["502"]);
}

#[test]
fn haproxy_asks_before_it_passes_a_request_on() {
    let service = Gateway::start(&["--rate", "100/w", "--headers", "none"]);
    let gateway = Asked::start(&["--rate", "2/w"]);
    let lua = setup("haproxy/limit.lua", &gateway.auth, service.address());
    let text = setup("haproxy/haproxy.cfg", &gateway.auth, service.address());
    let haproxy = Setup::haproxy(text, vec![("limit.lua", lua)], ("bind :80", "bind 127.0.0.1:{}"));
    admits_two_of_each_client(&gateway, &haproxy);
    let replies = ask(&haproxy, "/", &["127.0.0.4", "127.0.0.4", "127.0.0.4"]);
    assert!(replies.iter().all(|reply| has_field(reply, "ratelimit")), "{replies:#?}");
    drop(gateway);
    assert_eq!(statuses(&ask(&haproxy, "/", &["127.0.0.5"])), ["503"]);
}

/// Two gateways behind a load balancer admit the limit together.
#[test]
fn gateways_behind_a_load_balancer_have_one_limit() {
    let redis = Redis::start();
    let service = Gateway::start(&["--rate", "1000/w", "--headers", "none"]);
    let url = redis.url();
    let shared = ["--upstream", &service.url, "--rate", "5/w", "--storage", &url, "--timeout", "5s"];
    let options = [&shared[..], &["--trusted-proxy", "127.0.0.1", "--key", "forwarded"]].concat();
    let path = folder::workspace().join("examples/gateway/setups/load-balancer/haproxy.cfg");
    let mut text = std::fs::read_to_string(path).unwrap();
    let gateways = [1, 2].map(|number| {
        let admin = free_port();
        let gateway = Gateway::start(&[&options[..], &["--admin", &format!("127.0.0.1:{admin}")]].concat());
        let line = format!("10.0.0.{number}:8080 check port 9090");
        assert!(text.contains(&line), "{text}");
        text = text.replace(&line, &format!("{} check port {admin}", gateway.address()));
        gateway
    });
    let balancer = Setup::haproxy(text, Vec::new(), ("bind :80", "bind 127.0.0.1:{}"));
    for client in ["127.0.0.2", "127.0.0.3"] {
        let replies = ask(&balancer, "/", &[client; 12]);
        assert_eq!(statuses(&replies).iter().filter(|status| **status == "200").count(), 5, "{client}");
    }
    drop(gateways);
}

/// Traefik's fields, and those that nginx' documentation and ingress-nginx use, describe the same client.
#[test]
fn proxies_name_a_request_in_several_ways() {
    let gateway = Asked::start(&["--rate", "1/w"]);
    let ways: [&[&str]; 4] = [
        &["X-Forwarded-For: IP", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /", "X-Forwarded-Host: a"],
        &["X-Real-IP: IP", "X-Original-Method: GET", "X-Original-URI: /", "X-Forwarded-Host: a"],
        &["X-Real-IP: IP", "X-Original-Method: GET", "X-Original-URL: https://a/b"],
        &[
            "X-Real-IP: 127.0.0.9",
            "X-Forwarded-For: IP, 127.0.0.9",
            "X-Forwarded-Method: GET",
            "X-Forwarded-Uri: /",
            "X-Forwarded-Host: a",
        ],
    ];
    for (number, first) in ways.iter().enumerate() {
        let named = |way: &[&str]| {
            way.iter()
                .map(|it| {
                    it.replace("IP,", &format!("192.0.2.{number},"))
                        .replace(": IP", &format!(": 192.0.2.{number}"))
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(gateway.status(&fields(&named(first))), "200", "{first:?}");
        for way in ways {
            assert_eq!(gateway.status(&fields(&named(way))), "429", "{first:?} {way:?}");
        }
    }
}

/// The rule, the class and the key are those of the request, not of the question.
#[test]
fn a_question_is_judged_as_the_request_is() {
    let file = super::config::File::new(
        "auth",
        "[[throttle]]\nuid = \"logins\"\nrate = \"1/w\"\nkey = [\"peer\", \"header:x-user\"]\n\
         rules = { path = \"/login\", methods = [\"POST\"] }\n\
         [[throttle]]\nuid = \"tiers\"\nrate = \"1/w\"\nstrategy = \"tiered(free=1,premium=3)/fixed-window\"\n\
         rules = { path = \"/tiers\" }\n",
    );
    let gateway = Asked::start(&["--config", file.path(), "--tier-header", "x-tier"]);
    let ask = |method: &str, path: &str, more: &str| {
        let [method, path] = [format!("X-Forwarded-Method: {method}"), format!("X-Forwarded-Uri: {path}")];
        gateway.status(&["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: a", &method, &path, more])
    };
    for (expected, method, path, more) in [
        ("200", "POST", "/login?next=a", "X-User: ann"),
        ("429", "POST", "/login", "X-User: ann"),
        ("200", "POST", "/login", "X-User: bob"),
        ("200", "GET", "/login", "X-User: ann"),
        ("200", "GET", "/tiers", "X-Tier: premium"),
        ("200", "GET", "/tiers", "X-Tier: premium"),
        ("200", "GET", "/tiers", "X-Tier: premium"),
        ("429", "GET", "/tiers", "X-Tier: premium"),
        ("429", "HEAD", "/tiers", "X-Tier: premium"),
        ("400", "GET", "/a/../login", "X-User: ann"),
        ("200", "GET", "/_traffik/health", "X-User: ann"),
    ] {
        assert_eq!(ask(method, path, more), expected, "{method} {path} {more}");
    }
}

/// A field that is missing, unreadable or contradicted is refused, since a guess would count another client.
#[test]
fn a_question_that_is_not_clear_is_refused() {
    let gateway = Asked::start(&["--rate", "100/w"]);
    let known = of("192.0.2.1");
    for (number, said) in ["client's address", "the method", "the path", "the host"].into_iter().enumerate() {
        let mut known = fields(&known);
        known.remove(number);
        let answer = gateway.answer(&known);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(said), "{answer}");
    }
    for (more, said) in [
        ("X-Original-Method: POST", "contradict each other"),
        ("X-Original-URI: /other", "contradict each other"),
        ("X-Forwarded-Method: GET", "is sent twice"),
        ("X-Real-IP: 192.0.2.2", "name different clients"),
    ] {
        let answer = gateway.answer(&[&fields(&known)[..], &[more]].concat());
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(said), "{more}: {answer}");
    }
    for (at, wrong) in
        [(1, "X-Forwarded-Method: G T"), (2, "X-Forwarded-Uri: a"), (3, "X-Forwarded-Host: a b")]
    {
        let mut known = fields(&known);
        known[at] = wrong;
        let answer = gateway.answer(&known);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("cannot be read"), "{answer}");
    }
    // Nothing was charged.
    let answer = gateway.answer(&fields(&known));
    assert!(answer.contains("r=99"), "{answer}");
}

#[test]
fn only_a_trusted_proxy_may_ask() {
    let auth = format!("127.0.0.1:{}", free_port());
    let gateway = Gateway::start(&["--auth", &auth, "--trusted-proxy", "127.0.0.9"]);
    let gateway = Asked { gateway, auth };
    let answer = gateway.answer(&fields(&of("192.0.2.1")));
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("127.0.0.1 is no trusted proxy"),
        "{answer}"
    );
    let said = refused(&["--auth", "127.0.0.1:0"]);
    assert!(said.contains("--trusted-proxy"), "{said}");
    // A throttle that counts failures only needs the response, which no question shows.
    let text = "[[throttle]]\nuid = \"failures\"\nrate = \"5/min\"\ncount = \"status >= 400\"\n";
    let file = super::config::File::new("auth-blind", text);
    let said = refused(&["--auth", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1", "--config", file.path()]);
    assert!(said.contains("the throttle failures depends on the response"), "{said}");
    let said =
        refused(&["--auth", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1", "--auth-denied-status", "503"]);
    assert!(said.contains("\"503\" is not a status from 400 to 499; write 403 for nginx"), "{said}");
}

/// A throttle's own status is that of the denial, unless the option names one that the proxy takes.
#[test]
fn a_denial_has_the_status_of_the_throttle_or_of_the_option() {
    let text = "[[throttle]]\nuid = \"own\"\nrate = \"1/w\"\nstatus = 503\nbody = \"later\"\n";
    let file = super::config::File::new("auth-status", text);
    for (options, status) in [(&[][..], "503"), (&["--auth-denied-status", "403"], "403")] {
        let gateway = Asked::start(&[&["--config", file.path()], options].concat());
        let known = of("192.0.2.1");
        assert_eq!(gateway.status(&fields(&known)), "200");
        let denied = gateway.answer(&fields(&known));
        assert!(denied[9..].starts_with(status) && denied.ends_with("later"), "{denied}");
        assert!(has_field(&denied, "retry-after"), "{denied}");
    }
}

/// Without a store the answer is 503, which is no denial.
#[test]
fn a_store_that_fails_is_no_denial() {
    let options = ["--storage", "redis://127.0.0.1:1", "--auth-denied-status", "403"];
    let gateway = Asked::start(&options);
    assert_eq!(gateway.status(&fields(&of("192.0.2.1"))), "503");
    let gateway = Asked::start(&[&options[..], &["--on-error", "allow"]].concat());
    assert_eq!(gateway.status(&fields(&of("192.0.2.1"))), "200");
}
