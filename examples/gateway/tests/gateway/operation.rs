//! The metrics, read by promtool, and the paths that an orchestrator asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use super::config::File;
use super::failure::{figure, until_true};
use super::own::body;
use super::{Gateway, PROGRAM, Program, client, curl, get};
use traffik_test_support::servers::Redis;

/// Has promtool check metrics. It reports what Prometheus would not read, and names against its rules.
fn promtool(metrics: &str) {
    let mut promtool = Command::new("promtool");
    let pipes = promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut process = pipes.stdout(Stdio::piped()).spawn().expect("scripts/install promtool=prometheus");
    process.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).concat();
    assert!(output.status.success() && words.is_empty(), "{words}\n{metrics}");
}

/// URLs with secrets and with text that must be escaped, and a uid of every character that it can have.
#[tokio::test]
async fn promtool_reads_metrics_of_any_url() {
    const FILE: &str = r#"
[[throttle]]
uid = "a.b-c_d:e1"
rate = "2/w"
[[throttle]]
uid = "user"
rate = "2/w"
storage = 'redis://someone:s3cret%22@127.0.0.1:1/3?protocol=resp3'
on_error = "allow"
[[throttle]]
uid = "other-user"
rate = "2/w"
storage = 'redis://other:s3cret2@127.0.0.1:1/3'
on_error = "allow"
[[throttle]]
uid = "path"
rate = "2/w"
storage = 'redis+unix:///nowhere/a"b\c{d}?db=1&user=someone&pass=s3cret'
on_error = "fallback"
[[throttle]]
uid = "query"
rate = "2/w"
storage = 'redis+unix:///nowhere/other?pass=s3cret#s3cret'
on_error = "allow"
[[throttle]]
uid = "sentinels"
rate = "2/w"
storage = 'rediss+sentinel://:s3c@ret@127.0.0.1:1,localhost:2/my.master_1-a/2'
on_error = "allow"
[[throttle]]
uid = "names"
rate = "2/w"
storage = 'memcached://a=127.0.0.1:1,b=127.0.0.1:2'
on_error = "allow"
"#;
    let file = File::new("hostile", FILE);
    let gateway = Gateway::start(&["--config", file.path(), "--timeout", "2s"]);
    for metrics in [body(&gateway, "metrics").await, {
        get(&client(false), &gateway.url, &[]).await;
        body(&gateway, "metrics").await
    }] {
        promtool(&metrics);
        let mut series: Vec<_> = metrics.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
        series.retain(|it| !it.starts_with('#'));
        let count = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), count, "each series stands once:\n{metrics}");
        for secret in ["s3c", "ret@", "someone", "other:", "pass=", "protocol="] {
            assert!(!metrics.contains(secret), "{secret}\n{metrics}");
        }
        for store in [
            "redis://127.0.0.1:1/3",
            "redis://127.0.0.1:1/3 (2)",
            r#"redis+unix:///nowhere/a\"b\\c{d}"#,
            "redis+unix:///nowhere/other",
            "rediss+sentinel://127.0.0.1:1,localhost:2/my.master_1-a/2",
            "memcached://a=127.0.0.1:1,b=127.0.0.1:2",
        ] {
            assert!(metrics.contains(&format!("traffik_breaker_open{{store=\"{store}\"}} ")), "{metrics}");
        }
    }
    let health = body(&gateway, "health").await;
    assert!(!health.contains("s3c") && !health.contains("someone"), "{health}");
}

#[tokio::test]
async fn the_metrics_have_the_process_its_connections_and_its_memories() {
    let file = File::new(
        "counted",
        "[[throttle]]\nuid = \"a\"\nrate = \"2/w\"\nkey = \"header:x-key\"\n\
                                     storage = \"memory:capacity=1000\"\n",
    );
    let gateway = Gateway::start(&["--config", file.path()]);
    let http = client(false);
    for key in ["a", "b", "c"] {
        get(&http, &gateway.url, &[("x-key", key)]).await;
    }
    let metrics = body(&gateway, "metrics").await;
    promtool(&metrics);
    let is_line = |line: &str| metrics.lines().any(|it| it == line);
    let version = env!("CARGO_PKG_VERSION");
    assert!(is_line(&format!("traffik_build_info{{version=\"{version}\"}} 1")), "{metrics}");
    for line in [
        "traffik_memory_keys{throttle=\"a\"} 3",
        "traffik_memory_capacity_keys{throttle=\"a\"} 1000",
        "traffik_memory_evictions_total{throttle=\"a\"} 0",
        "traffik_memory_refusals_total{throttle=\"a\"} 0",
        "traffik_door_requests_total{door=\"proxy\"} 3",
        "traffik_door_requests_total{door=\"rls\"} 0",
        "traffik_rls_unmatched_total 0",
        "traffik_reloads_total{result=\"loaded\"} 0",
        "traffik_log_lines_left_out_total 0",
    ] {
        assert!(is_line(line), "{line}\n{metrics}");
    }
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}\n{metrics}")).parse().unwrap()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value("process_start_time_seconds");
    assert!((0.0..60.0).contains(&age), "{age}");
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_open_fds") > 3.0);
    assert!(value("process_max_fds") >= value("process_open_fds"));
    // The client of the throttle keeps its connection, and the metrics came by one of their own.
    let (open, accepted) = (value("traffik_connections_open"), value("traffik_connections_total"));
    assert!(open >= 2.0 && accepted >= open, "{open} of {accepted}");
    let before = accepted;
    let connections = [(); 10].map(|()| TcpStream::connect(gateway.address()).unwrap());
    let open_now = async || figure(&body(&gateway, "metrics").await, "traffik_connections_open ");
    until_true("ten more are open", async || open_now().await >= 12).await;
    drop(connections);
    until_true("ten are closed", async || open_now().await < 10).await;
    assert!(figure(&body(&gateway, "metrics").await, "traffik_connections_total ") >= before as usize + 10);

    file.write("[[throttle]]\nuid = \"a\"\nrate = \"3/w\"\n");
    let reloads = async |result: &str| {
        figure(&body(&gateway, "metrics").await, &format!("traffik_reloads_total{{result=\"{result}\"}}"))
    };
    until_true("it is reloaded", async || reloads("loaded").await == 1).await;
    file.write("nonsense");
    until_true("it is refused", async || reloads("refused").await == 1).await;
}

/// `livez` is 200 as long as the process answers; `readyz` asks the store.
#[tokio::test]
async fn the_process_lives_although_it_is_not_ready() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(&["--storage", &redis.url(), "--timeout", "200ms"]);
    let http = client(false);
    let status = async |path: &str, headers: &[(&str, &str)]| {
        get(&http, &format!("{}/_traffik/{path}", gateway.url), headers).await.status().as_u16()
    };
    assert_eq!([status("livez", &[]).await, status("readyz", &[]).await], [200, 200]);
    redis.kill();
    assert_eq!([status("livez", &[]).await, status("readyz", &[]).await], [200, 503]);
    redis.start_again();
    until_true("it is ready again", async || status("readyz", &[]).await == 200).await;
    for path in ["livez", "readyz"] {
        assert_eq!(status(path, &[("x-forwarded-for", "192.0.2.1")]).await, 404, "{path}");
        assert_eq!(status(path, &[("host", "evil.example")]).await, 404, "{path}");
    }
}

/// While requests under way are served to their ends, the gateway lives but is not ready, so that a load
/// balancer sends it no more.
#[tokio::test]
async fn a_gateway_that_drains_is_not_ready() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", &url]);
    let mut process = command.args(["--log-level", "warn"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
    let url = lines.next().unwrap().unwrap().strip_prefix("listening on ").unwrap().to_owned();
    let admin = lines.next().unwrap().unwrap().strip_prefix("admin paths on ").unwrap().to_owned();
    let mut gateway = Gateway(Program { process, url });
    let status = |path: &str| {
        let url = format!("{admin}/_traffik/{path}");
        curl(&["--output", "/dev/null", "--write-out", "%{http_code}", &url])
    };
    assert_eq!([status("livez"), status("readyz")], ["200", "200"]);
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n").unwrap();
    let (mut at_upstream, _) = upstream.accept().unwrap();
    assert!(at_upstream.read(&mut [0; 1024]).unwrap() > 0);
    gateway.signal("TERM");
    until_true("it is not ready", async || status("readyz") == "503").await;
    assert_eq!(status("livez"), "200");
    assert!(TcpStream::connect(gateway.address()).is_err(), "it takes no more clients");
    at_upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlate\n").unwrap();
    let mut reply = String::new();
    let _ = client.read_to_string(&mut reply).unwrap();
    assert!(reply.ends_with("late\n"), "{reply:?}");
    assert_eq!(gateway.process.wait().unwrap().code(), Some(0));
}
