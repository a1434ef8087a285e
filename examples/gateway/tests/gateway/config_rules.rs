//! Rules by host, header and query, exceptions, and the keys that only some requests have.

use super::config::{File, check};
use super::{Gateway, client, get, refused, statuses};

/// A file with a throttle that admits one request.
fn once(name: &str, lines: &str) -> File {
    File::new(name, &format!("[[throttle]]\nuid = \"a\"\nrate = \"1/52w\"\n{lines}\n"))
}

type Asked = (&'static str, &'static [(&'static str, &'static str)]);

/// The requests that a rule counts: of each list the first passes and all others are denied.
#[tokio::test]
async fn rules_compare_hosts_headers_and_queries() {
    let counted: [(&str, &[Asked]); 12] = [
        (
            "hosts = [\"api.example.com\"]",
            &[("/", &[("host", "api.example.com")]), ("/", &[("host", "API.example.com.:8080")])],
        ),
        (
            "hosts = \"*.example.com\"",
            &[("/", &[("host", "a.b.example.com")]), ("/", &[("host", "x.Example.com")])],
        ),
        ("hosts = \"re:^api[0-9]\"", &[("/", &[("host", "api1.a")]), ("/", &[("host", "API2.b")])]),
        ("headers = { x-plan = true }", &[("/", &[("x-plan", "a")]), ("/", &[("x-plan", "")])]),
        ("headers = { X-Plan = [\"a\", \"b\"] }", &[("/", &[("x-plan", "a")]), ("/", &[("x-plan", "b")])]),
        (
            "headers = { x-plan = \"re:^fr\" }",
            &[("/", &[("x-plan", "free")]), ("/", &[("x-plan", "friend")])],
        ),
        (
            "headers = { x-plan = \"Free\" }, ignore-case = true",
            &[("/", &[("x-plan", "FREE")]), ("/", &[("x-plan", "free")])],
        ),
        ("query = { page = true }", &[("/?page", &[]), ("/?a=b&page=2", &[])]),
        ("query = { q = \"a b\" }", &[("/?q=a+b", &[]), ("/?%71=a%20b", &[])]),
        ("path = [\"/a\", \"/b\"]", &[("/a/x", &[]), ("/b", &[])]),
        ("not = { path = \"/health\" }", &[("/", &[]), ("/healthy", &[]), ("//health", &[])]),
        (
            "path = \"/api\", not = [{ methods = \"POST\" }, { path = \"/api/open\", query = { key = \"k\" } }]",
            &[("/api", &[]), ("/api/open", &[]), ("/api/open?key=other", &[])],
        ),
    ];
    for (rule, requests) in counted {
        let file = once("counted", &format!("rules = {{ {rule} }}"));
        let gateway = Gateway::start(&["--config", file.path()]);
        let mut expected = vec![429; requests.len()];
        expected[0] = 200;
        assert_eq!(statuses(&gateway, requests).await, expected, "{rule}");
    }
}

#[tokio::test]
async fn requests_that_a_rule_does_not_match_pass() {
    let passing: [(&str, Asked); 9] = [
        ("hosts = [\"api.example.com\"]", ("/", &[("host", "api.example.com.evil.example")])),
        ("hosts = \"*.example.com\"", ("/", &[("host", "example.com")])),
        ("hosts = \"*.example.com\"", ("/", &[("host", "notexample.com")])),
        ("headers = { x-plan = true }", ("/", &[])),
        ("headers = { x-plan = \"a\" }", ("/", &[("x-plan", "A")])),
        ("query = { q = \"a\" }", ("/?q=b", &[])),
        ("not = { path = \"/health\" }", ("/health/", &[])),
        ("not = { hosts = \"a\", headers = { x = \"1\" } }", ("/", &[("host", "a"), ("x", "1")])),
        (
            "path = \"/api\", not = { path = \"/api/open\", query = { key = \"k\" } }",
            ("/api/open?key=k", &[]),
        ),
    ];
    for (rule, request) in passing {
        let file = once("passing", &format!("rules = {{ {rule} }}"));
        let gateway = Gateway::start(&["--config", file.path()]);
        assert_eq!(statuses(&gateway, &[request; 2]).await, [200, 200], "{rule}");
    }
}

#[test]
fn a_rule_that_contradicts_itself_is_refused_with_its_line() {
    for (rule, expected) in [
        ("methods = []", "the list is empty"),
        ("path = []", "the list is empty"),
        ("hosts = []", "the list is empty"),
        ("headers = { x-a = [] }", "the list is empty"),
        ("hosts = [\"http://a.example\"]", "without scheme and path"),
        ("hosts = [\"a.example/x\"]", "without scheme and path"),
        ("hosts = [\"a.example:80\"]", "has a port, which rules do not compare; write \"a.example\""),
        ("hosts = [\"a b\"]", "is not a host"),
        ("hosts = [\"\"]", "is not a host"),
        ("hosts = [\"re:(\"]", "cannot be used"),
        ("headers = { \"x y\" = true }", "is not a header name"),
        ("headers = { \":authority\" = true }", "is not a header name"),
        ("headers = { host = \"a\" }", "write hosts"),
        ("headers = { x-a = false }", "within not"),
        ("path = \"/a\", not = { path = \"/a/b\", not = { path = \"/c\" } }", "not has conditions alone"),
        ("path = \"/a\", not = { path = \"/a/b\", ignore-case = true }", "not has conditions alone"),
        ("headers = { x-a = \" a\" }", "a value that no request has"),
        ("headers = { x-a = \"re:[\" }", "cannot be used"),
        ("query = { \"\" = true }", "the parameter has no name"),
        ("path = \"re:^login\"", "paths begin with a slash"),
        ("not = {}", "not is empty"),
        ("not = { not = { path = \"/\" } }", "not has conditions alone"),
        ("methods = [\"GET\"], not = { methods = [\"GET\", \"POST\"] }", "it excludes all that it requires"),
        ("methods = [\"HEAD\"], not = { methods = \"GET\" }", "it excludes all that it requires"),
        ("path = \"/a/b\", not = { path = \"/a\" }", "it excludes all that it requires"),
        ("hosts = \"a\", not = { hosts = [\"a\", \"b\"] }", "it excludes all that it requires"),
        ("headers = { x = \"1\" }, not = { headers = { x = \"1\" } }", "it excludes all that it requires"),
    ] {
        let file = once("contradicts", &format!("rules = {{ {rule} }}"));
        let error = refused(&["--config", file.path()]);
        assert!(error.contains(expected) && error.contains("line 4"), "{rule}\n{error}");
    }
}

#[test]
fn an_exception_and_a_host_are_explained() {
    let rule = "rules = { path = \"/api\", hosts = \"a.example\", not = { path = \"/api/open\" } }";
    let file = once("explained", rule);
    let explained = |request: &str, host: &str| {
        let header = format!("host: {host}");
        check(&["--config", file.path(), "--request", request, "--request-header", &header])
    };
    let counted = explained("GET /api/x", "A.example:80");
    assert!(counted.contains("rule: /api and below at a.example but not (/api/open and below)"), "{counted}");
    let excepted = explained("GET /api/open", "a.example");
    assert!(excepted.contains("it is not so: but not (/api/open and below)"), "{excepted}");
    assert!(explained("GET /api/x", "b.example").contains("it is not so: at a.example"));
}

/// For each key: two requests of one client, then one of another, then one without the value, twice.
#[tokio::test]
async fn each_key_tells_clients_apart() {
    let keys: [(&str, &str, [Asked; 3]); 5] = [
        (
            "\"cookie:session\"",
            "",
            [("/", &[("cookie", "a=b; session=1")]), ("/", &[("cookie", "session=2")]), ("/", &[])],
        ),
        ("\"query:api_key\"", "", [("/?api_key=a%20b", &[]), ("/?api_key=c", &[]), ("/", &[])]),
        (
            "\"host\"",
            "",
            [("/", &[("host", "A.example.:80")]), ("/", &[("host", "b.example")]), ("/", &[("host", "c")])],
        ),
        (
            "\"path:id\"",
            "rules = [{ path = \"/users/{id}\" }, { path = \"/x/{id}/y\" }]",
            [("/users/1", &[]), ("/users/2/", &[]), ("/x/3/y", &[])],
        ),
        (
            "[\"query:k\", \"header:x-user\"]",
            "",
            [("/?k=1", &[("x-user", "a")]), ("/?k=1", &[("x-user", "b")]), ("/?k=2", &[("x-user", "a")])],
        ),
    ];
    for (key, more, [one, another, absent]) in keys {
        let file = once("keys", &format!("key = {key}\n{more}"));
        let gateway = Gateway::start(&["--config", file.path()]);
        let asked = [one, one, another, absent, another, absent];
        assert_eq!(statuses(&gateway, &asked).await, [200, 429, 200, 200, 429, 429], "{key}");
    }
    let gateway = Gateway::start(&["--rate", "1/52w", "--key", "global"]);
    assert_eq!(statuses(&gateway, &[("/a", &[]), ("/b", &[("x-user", "b")])]).await, [200, 429]);
    assert!(
        refused(&["--key", "path:id"]).contains("--key path:id: placeholders stand in the rules of a file")
    );
}

/// The folded host, the decoded parameter and the other spelling are the same client.
#[tokio::test]
async fn other_spellings_of_a_key_are_the_same_client() {
    let spelled: [(&str, &[Asked]); 3] = [
        (
            "key = \"host\"",
            &[
                ("/", &[("host", "a.example")]),
                ("/", &[("host", "A.EXAMPLE.")]),
                ("/", &[("host", "a.example:9")]),
            ],
        ),
        ("key = \"query:k\"", &[("/?k=a+b", &[]), ("/?%6B=a%20b", &[]), ("/?k=a+b&k=a%20b", &[])]),
        (
            "key = \"path:id\"\nrules = { path = \"/u/{id}\" }",
            &[("/u/a", &[]), ("//u/%61/", &[]), ("/u/a?x", &[])],
        ),
    ];
    for (key, requests) in spelled {
        let file = once("spelled-keys", key);
        let gateway = Gateway::start(&["--config", file.path()]);
        assert_eq!(statuses(&gateway, requests).await, [200, 429, 429], "{key}");
    }
}

#[tokio::test]
async fn a_value_that_is_sent_twice_is_refused() {
    for (key, request) in [
        ("query:k", ("/?k=decoy&k=real", &[][..])),
        ("cookie:s", ("/", &[("cookie", "s=decoy; s=real")][..])),
    ] {
        let gateway = Gateway::start(&["--rate", "1/52w", "--key", key]);
        assert_eq!(statuses(&gateway, &[request; 2]).await, [400, 400], "{key}");
    }
}

/// The admin paths name a client as its requests do, and show secrets by their hash alone.
#[tokio::test]
async fn the_admin_paths_understand_each_key() {
    use http_body_util::BodyExt;
    for (key, more, request, named) in [
        ("cookie:s", "", ("/", &[("cookie", "s=secret")][..]), "secret"),
        ("query:k", "", ("/?k=a%20b", &[][..]), "a%20b"),
        ("host", "", ("/", &[("host", "a.example:80")][..]), "A.example."),
        ("method", "", ("/", &[][..]), "GET"),
        ("global", "", ("/", &[][..]), "global"),
        ("path:id", "rules = { path = \"/u/{id}\" }", ("/u/7", &[][..]), "7"),
    ] {
        let file = once("named", &format!("key = \"{key}\"\n{more}"));
        let gateway = Gateway::start(&["--config", file.path()]);
        assert_eq!(statuses(&gateway, &[request; 2]).await, [200, 429], "{key}");
        let fetched = async |path: &str| {
            let url = format!("{}/_traffik/{path}", gateway.url);
            let reply = get(&client(false), &url, &[]).await;
            String::from_utf8(reply.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
        };
        let stat: serde_json::Value =
            serde_json::from_str(&fetched(&format!("stat?key={named}")).await).unwrap();
        assert_eq!(stat["throttles"][0]["policies"][0]["figures"]["current_count"], 1, "{key} {stat}");
        assert!(!fetched("denied").await.contains("secret"));
    }
}

/// A longer prefix tells networks apart, which the default counts as one.
#[tokio::test]
async fn ipv6_addresses_are_counted_by_the_prefix() {
    let of = |address: &'static str| [("x-forwarded-for", address)];
    let (one, other) = (of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    for (prefix, expected) in [("", [200, 200]), ("ipv6_prefix = 56", [200, 429])] {
        let file = once("prefix", &format!("key = \"forwarded\"\n{prefix}"));
        let gateway = Gateway::start(&["--config", file.path(), "--trusted-proxy", "127.0.0.1"]);
        assert_eq!(statuses(&gateway, &[("/", &one), ("/", &other)]).await, expected, "{prefix}");
    }
    let common = ["--rate", "1/52w", "--key", "forwarded", "--trusted-proxy", "127.0.0.1"];
    for (prefix, expected) in [("64", [200, 200]), ("56", [200, 429])] {
        let gateway = Gateway::start(&[&common[..], &["--ipv6-prefix", prefix]].concat());
        assert_eq!(statuses(&gateway, &[("/", &one), ("/", &other)]).await, expected, "{prefix}");
    }
    let error = refused(&["--ipv6-prefix", "129"]);
    assert!(error.contains("129 is not in 1..=128"), "{error}");
}
