//! Envoy's rate limit service, asked by a real Envoy.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use http_body_util::BodyExt;
use traffik_test_support::servers::{Envoy, Setup, until};

use super::config::File;
use super::{Gateway, Http, PROGRAM, Program, client, get};

/// A gateway with a rate limit service.
pub(super) struct Service {
    pub(super) gateway: Gateway,
    /// The host and the port of the service.
    pub(super) address: String,
}

impl Service {
    pub(super) fn start(options: &[&str]) -> Self {
        Self::listen("127.0.0.1:0", options)
    }

    fn listen(address: &str, options: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0", "--rls", address]).args(options).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut after = |start: &str| lines.next().unwrap().unwrap().strip_prefix(start).unwrap().to_owned();
        let url = after("listening on ");
        let address = after("rate limit service on http://");
        Self { gateway: Gateway(Program { process, url }), address }
    }

    pub(super) fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }
}

/// The configuration that the README shows, with the ports of this test.
const ENVOY: &str = include_str!("../../setups/envoy/envoy.yaml");
const LIMITS: &str = include_str!("../../setups/envoy/limits.toml");

fn envoy(service: &Service, upstream: &Setup, change: impl FnOnce(String) -> String) -> Envoy {
    let text = ENVOY
        .replace("port_value: 8000", &format!("port_value: {}", upstream.port()))
        .replace("port_value: 8081", &format!("port_value: {}", service.port()))
        // A busy machine may be slow; the deadline is not what is tested here.
        .replace("timeout: 0.25s", "timeout: 5s");
    Envoy::start(&change(text))
}

fn upstream() -> Setup {
    Setup::nginx_serving("location / { return 200 plain; }")
}

async fn status(client: &Http, url: &str) -> u16 {
    let response = get(client, url, &[]).await;
    let status = response.status().as_u16();
    let _ = response.into_body().collect().await;
    status
}

/// The number of requests that pass before the first that does not, and the status of that.
async fn passing(client: &Http, url: &str) -> (usize, u16) {
    for passed in 0..1_000 {
        let status = status(client, url).await;
        if status != 200 {
            return (passed, status);
        }
    }
    (1_000, 200)
}

#[tokio::test]
async fn envoy_admits_the_limit_and_answers_429_with_the_headers() {
    let limits = File::new("rls-envoy", &LIMITS.replace("100/min", "10/w").replace("5/min", "3/w"));
    let (service, upstream) = (Service::start(&["--config", limits.path()]), upstream());
    let envoy = envoy(&service, &upstream, |text| text);
    let (client, url) = (client(false), format!("http://{}", envoy.address()));

    // Two descriptors: the logins deny, and the client's own limit is not charged then.
    let login = format!("{url}/login");
    assert_eq!(passing(&client, &login).await, (3, 429));
    for _ in 0..20 {
        assert_eq!(status(&client, &login).await, 429);
    }
    let denied = get(&client, &login, &[]).await;
    let header = |name: &str| denied.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
    let wait: u64 = header("retry-after").unwrap().parse().unwrap();
    assert!((1..=604_800).contains(&wait), "{wait}");
    assert!(header("ratelimit").unwrap().starts_with("\"logins\";r=0;t="), "{:?}", denied.headers());
    assert_eq!(header("ratelimit-policy").unwrap(), "\"logins\";q=3;w=604800, \"clients\";q=10;w=604800");
    assert_eq!(header("x-envoy-ratelimited").unwrap(), "true");

    // Seven are left of ten. The gateway's own proxy counts the same client in the same throttle.
    let other = get(&client, &format!("{url}/other"), &[]).await;
    assert_eq!(
        other.headers()["ratelimit"].to_str().unwrap().split(";t=").next().unwrap(),
        "\"clients\";r=6"
    );
    assert_eq!(status(&client, &service.gateway.url).await, 200);
    assert_eq!(passing(&client, &url).await, (5, 429));
    assert_eq!(status(&client, &service.gateway.url).await, 429, "through the other door, too");

    // The operator's figures have both doors.
    let metrics = get(&client, &format!("{}/_traffik/metrics", service.gateway.url), &[]).await;
    let metrics = metrics.into_body().collect().await.unwrap().to_bytes();
    let metrics = std::str::from_utf8(&metrics).unwrap();
    for line in [
        "traffik_requests_total{throttle=\"clients\",result=\"allowed\"} 10",
        "traffik_requests_total{throttle=\"logins\",result=\"denied\"} 22",
        "traffik_rls_requests_total{result=\"ok\"} 9",
        "traffik_rls_requests_total{result=\"over_limit\"} 23",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} is not in\n{metrics}");
    }
    let denied = get(&client, &format!("{}/_traffik/denied", service.gateway.url), &[]).await;
    let denied = denied.into_body().collect().await.unwrap().to_bytes();
    assert!(denied.starts_with(b"22\t127.0.0.1 logins\n"), "{denied:?}");
}

#[tokio::test]
async fn envoy_says_how_many_hits_a_request_counts_for() {
    let limits = File::new("rls-hits", &LIMITS.replace("100/min", "10/w"));
    let (service, upstream) = (Service::start(&["--config", limits.path()]), upstream());
    // Envoy sends hits where the descriptors belong to the filter, and not to the route.
    let descriptors = r#"typed_per_filter_config:
                        envoy.filters.http.ratelimit:
                          "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute
                          rate_limits:
                            - actions: [{ remote_address: {} }]
                              hits_addend: { format: "%REQ(x-cost)%" }
"#;
    let envoy = envoy(&service, &upstream, |text| {
        let (before, rest) = text.split_once("rate_limits:\n").unwrap();
        let (_, after) = rest.split_once("                http_filters:").unwrap();
        format!("{before}{descriptors}                http_filters:{after}")
    });
    let (client, url) = (client(false), format!("http://{}", envoy.address()));
    let costs = async |cost: &str| get(&client, &url, &[("x-cost", cost)]).await.status().as_u16();
    let statuses = [costs("7").await, costs("4").await, costs("3").await, costs("1").await];
    assert_eq!(statuses, [200, 429, 200, 429]);
}

/// While the gateway is gone, `failure_mode_deny` decides; afterwards Envoy finds it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_decides_by_itself_without_the_gateway() {
    for (mode, expected) in [("true", 500), ("false", 200)] {
        let limits = File::new(&format!("rls-gone-{mode}"), &LIMITS.replace("100/min", "1/w"));
        let (mut service, upstream) = (Service::start(&["--config", limits.path()]), upstream());
        let change =
            |text: String| text.replace("failure_mode_deny: true", &format!("failure_mode_deny: {mode}"));
        let envoy = envoy(&service, &upstream, change);
        let (client, url) = (client(false), format!("http://{}", envoy.address()));
        assert_eq!(passing(&client, &url).await, (1, 429));
        service.gateway.signal("TERM");
        let ended = service.gateway.process.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "an idle connection of Envoy does not hold the drain up");
        assert_eq!(status(&client, &url).await, expected, "failure_mode_deny: {mode}");
        let again = Service::listen(&service.address, &["--config", limits.path()]);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            until(Duration::from_secs(20), "Envoy asks the new gateway", || {
                runtime.block_on(status(&client, &url)) == 429
            });
        });
        drop(again);
    }
}
