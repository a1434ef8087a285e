//! The admin paths: statistics, reset, metrics, health, and a separate listener.

use http::Request;
use http_body_util::{BodyExt, Empty};
use serde_json::Value;

use super::admin::with_admin;
use super::{Gateway, client, curl, get};

pub(crate) async fn body(gateway: &Gateway, path: &str) -> String {
    let response = get(&client(false), &format!("{}/_traffik/{path}", gateway.url), &[]).await;
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

async fn post(gateway: &Gateway, path: &str) -> u16 {
    let request = Request::post(format!("{}/_traffik/{path}", gateway.url)).body(Empty::new()).unwrap();
    client(false).request(request).await.unwrap().status().as_u16()
}

/// Returns a statistic of a policy of the only throttle.
async fn figure(gateway: &Gateway, query: &str, policy: usize, name: &str) -> Value {
    let reply: Value = serde_json::from_str(&body(gateway, &format!("stat?{query}")).await).unwrap();
    reply["throttles"][0]["policies"][policy]["figures"][name].clone()
}

#[tokio::test]
async fn figures_are_told_and_nothing_is_consumed() {
    let gateway = Gateway::start(&["--rate", "5/w", "--rate", "9/52w"]);
    let client = client(false);
    for _ in 0..3 {
        get(&client, &gateway.url, &[]).await;
    }
    for _ in 0..2 {
        assert_eq!(figure(&gateway, "key=127.0.0.1", 0, "current_count").await, 3);
        assert_eq!(figure(&gateway, "key=127.0.0.1", 1, "current_count").await, 3);
        assert_eq!(figure(&gateway, "key=127.0.0.2", 0, "current_count").await, 0);
    }
    let reply: Value = serde_json::from_str(&body(&gateway, "stat?key=127.0.0.1").await).unwrap();
    assert_eq!((&reply["throttles"][0]["throttle"], &reply["key"]), (&"gateway".into(), &"127.0.0.1".into()));
    assert_eq!(reply["throttles"][0]["policies"][1]["policy"], "rate-2");
    assert_eq!(
        [post(&gateway, "reset?key=127.0.0.2").await, post(&gateway, "reset?key=nobody").await],
        [200, 400]
    );
    assert_eq!(figure(&gateway, "key=127.0.0.1", 0, "current_count").await, 3);
    assert_eq!(post(&gateway, "reset?key=127.0.0.1").await, 200);
    assert_eq!(figure(&gateway, "key=127.0.0.1", 0, "current_count").await, 0);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    let wrong =
        async |path: &str| get(&client, &format!("{}/_traffik/{path}", gateway.url), &[]).await.status();
    assert_eq!([wrong("stat").await, wrong("stat?key=a%7Cb").await], [400, 400]);
    assert_eq!([wrong("reset?key=127.0.0.1").await, wrong("none").await], [405, 404]);
    assert_eq!(post(&gateway, "stat?key=127.0.0.1").await, 405);
}

#[tokio::test]
async fn a_key_of_several_parts_is_encoded() {
    let gateway = Gateway::start(&[
        "--rate",
        "5/w",
        "--key",
        "peer",
        "--key",
        "header:x-user",
        "--strategy",
        "tiered(free=1,pro=2)/token-bucket",
        "--tier-header",
        "x-tier",
        "--trust-class-headers",
    ]);
    let client = client(false);
    get(&client, &gateway.url, &[("x-user", "a|b %")]).await;
    get(&client, &gateway.url, &[]).await;
    get(&client, &gateway.url, &[]).await;
    for key in ["127.0.0.1|a%7Cb%20%25", "127.0.0.1%7Ca%257Cb%2520%2525"] {
        assert_eq!(figure(&gateway, &format!("key={key}"), 0, "tokens").await, 4, "{key}");
    }
    assert_eq!(figure(&gateway, "key=127.0.0.1|", 0, "tokens").await, 3, "the anonymous");
    let reply: Value = serde_json::from_str(&body(&gateway, "stat?key=%+1%4%zz%41%c3%").await).unwrap();
    assert_eq!(reply["key"], "%+1%4%zzA\u{fffd}%", "what is no octet stays");
    assert_eq!(figure(&gateway, "key=127.0.0.1|other", 0, "effective_limit").await, 5);
    assert_eq!(figure(&gateway, "key=127.0.0.1|other&tier=pro", 0, "effective_limit").await, 10);
}

#[tokio::test]
async fn what_happens_is_counted() {
    let gateway = Gateway::start(&["--rate", "2/w"]);
    let client = client(false);
    for _ in 0..5 {
        get(&client, &gateway.url, &[]).await;
    }
    let reply = body(&gateway, "metrics").await;
    for line in [
        r#"traffik_requests_total{throttle="gateway",result="allowed"} 2"#,
        r#"traffik_requests_total{throttle="gateway",result="denied"} 3"#,
        r#"traffik_check_seconds_count{throttle="gateway"} 5"#,
        r#"traffik_store_errors_total{kind="timeout"} 0"#,
    ] {
        assert!(reply.lines().any(|it| it == line), "{line}\n{reply}");
    }
    assert!(!reply.contains("127.0.0.1"), "no key is a label");
}

#[tokio::test]
async fn it_is_ready_as_long_as_its_store_answers() {
    let mut redis = traffik_test_support::servers::Redis::start();
    let gateway = Gateway::start(&["--storage", &redis.url(), "--timeout", "200ms"]);
    let client = client(false);
    let health = async || get(&client, &format!("{}/_traffik/health", gateway.url), &[]).await.status();
    assert_eq!(health().await, 200);
    redis.stop();
    assert_eq!(health().await, 503);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 503);
    let reply = body(&gateway, "metrics").await;
    assert!(reply.contains(r#"traffik_requests_total{throttle="gateway",result="failed"} 1"#), "{reply}");
    let open = Gateway::start(&["--storage", &redis.url(), "--timeout", "200ms", "--on-error", "allow"]);
    assert_eq!(get(&client, &open.url, &[]).await.status(), 200);
}

#[tokio::test]
async fn its_own_paths_can_have_a_listener_of_their_own() {
    let (gateway, admin) = with_admin("127.0.0.1:0", &[]);
    let client = client(false);
    let status = async |url: &str, path: &str, headers: &[(&str, &str)]| {
        get(&client, &format!("{url}{path}"), headers).await.status().as_u16()
    };
    assert_eq!(status(&gateway.url, "/_traffik/health", &[]).await, 404);
    assert_eq!(status(&admin, "/_traffik/health", &[("x-forwarded-for", "192.0.2.1")]).await, 200);
    assert_eq!([status(&admin, "/", &[]).await, status(&gateway.url, "/", &[]).await], [404, 200]);
}

/// Returns the status of a request by curl with these options.
fn status(options: &[&str], url: &str) -> u16 {
    let written = curl(&[&["--output", "/dev/null", "--write-out", "%{http_code}", url], options].concat());
    written.parse().unwrap()
}

/// A page of another site, open in a browser on this machine, is a client from this machine.
#[tokio::test]
async fn its_own_paths_are_not_for_other_sites() {
    let gateway = Gateway::start(&["--rate", "5/w"]);
    assert_eq!(get(&client(false), &gateway.url, &[]).await.status(), 200);
    let reset = format!("{}/_traffik/reset?key=127.0.0.1", gateway.url);
    let port = gateway.address().rsplit_once(':').unwrap().1;
    for http in ["--http1.1", "--http2-prior-knowledge"] {
        let post = |headers: &[String]| {
            let headers = headers.iter().flat_map(|header| ["--header", header.as_str()]);
            status(&[http, "--request", "POST"].into_iter().chain(headers).collect::<Vec<_>>(), &reset)
        };
        let (origin, host) = (|it: &str| format!("Origin: {it}"), |it: &str| format!("Host: {it}"));
        for foreign in [
            &[origin("https://evil.example")][..],
            &[origin("https://evil.example"), host("evil.example")],
            &[origin("http://evil.example"), host("evil.example")],
            &[origin("null")],
            &[origin("http://127.0.0.1:1")],
            &[origin(&format!("http://localhost:{port}"))],
            &["Sec-Fetch-Site: cross-site".to_owned()],
            &[host("evil.example")],
            &[host("localhost.evil.example")],
            &[host("192.0.2.1")],
            &[host("127.0.0.1.evil.example:80")],
        ] {
            assert_eq!(post(foreign), 404, "{http} {foreign:?}");
        }
        assert_eq!(figure(&gateway, "key=127.0.0.1", 0, "current_count").await, 1, "it is not forgotten");
    }
    for http in ["--http1.1", "--http2-prior-knowledge"] {
        for own in [
            &[][..],
            &["Host: localhost"],
            &["Host: LocalHost:80"],
            &["Host: [::1]:80"],
            &["Host: 127.1.2.3"],
            &[&format!("Origin: {}", gateway.url), "Sec-Fetch-Site: same-origin"],
            &["Sec-Fetch-Site: none"],
        ] {
            let headers: Vec<_> = own.iter().flat_map(|header| ["--header", header]).collect();
            assert_eq!(status(&[&[http], &headers[..]].concat(), &reset), 405, "{http} {own:?}");
        }
    }
    assert_eq!(status(&["--http1.0", "--header", "Host:"], &reset), 404, "it does not say whom it calls");
}

/// A proxy on this machine adds one of these headers to the requests that it forwards.
#[tokio::test]
async fn its_own_paths_are_not_passed_on() {
    let gateway = Gateway::start(&[]);
    let (client, metrics) = (client(false), format!("{}/_traffik/metrics", gateway.url));
    for name in [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-anything",
        "x-original-forwarded-for",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "cf-connecting-ip",
        "cdn-loop",
        "true-client-ip",
        "fastly-client-ip",
        "fly-client-ip",
    ] {
        assert_eq!(get(&client, &metrics, &[(name, "1.1 proxy")]).await.status(), 404, "{name}");
    }
    assert_eq!(get(&client, &metrics, &[("x-forward", "0")]).await.status(), 200);
}
