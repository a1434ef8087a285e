//! The reload of a file: what stays, and what is never read by halves.

use std::io::Write;
use std::time::{Duration, Instant};

use super::config::File;
use super::heard::{Heard, heard, record};
use super::{Gateway, client, get};

/// Waits until the condition holds, for at most ten seconds.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(10), "the condition did not hold within ten seconds");
        tokio::task::yield_now().await;
    }
}

/// The log's words about a throttle that starts over.
const STARTS_OVER: &str =
    "a: starts over with empty counts: its storage, keys, rates or strategy differ too much";

/// The log of a gateway that reloads a file.
struct Said(Heard);

impl Said {
    /// Starts a gateway with a file and captures its log.
    fn start(file: &File, options: &[&str]) -> (Gateway, Self) {
        let (gateway, log) = heard(&[&["--config", file.path()], options].concat());
        (gateway, Self(log))
    }

    /// Writes the file and returns the log of its reload.
    fn after(&mut self, file: &File, text: &str) -> String {
        file.write(text);
        let line = self.0.line(file.path());
        let (level, words) = record(&line);
        if level == "ERROR" {
            self.0.line("    the previous configuration stays in use");
        }
        words.to_owned()
    }
}

/// Returns the number of eight requests that pass.
async fn pass(gateway: &Gateway) -> usize {
    let (client, mut passed) = (client(false), 0);
    for _ in 0..8 {
        passed += usize::from(get(&client, &gateway.url, &[]).await.status() == 200);
    }
    passed
}

/// A refused file changes nothing, not even by its correct throttles.
#[tokio::test]
async fn a_file_that_is_refused_forgets_nothing() {
    let good = "[[throttle]]\nuid = \"a\"\nrate = \"3/52w\"\n";
    let file = File::new("refused", good);
    let (gateway, mut said) = Said::start(&file, &[]);
    assert_eq!(pass(&gateway).await, 3);
    let bad = "[[throttle]]\nuid = \"a\"\nrate = \"3/52w\"\nstorage = \"memory:capacity=7\"\n\
               [[throttle]]\nuid = \"my api\"\nrate = \"1/s\"\n";
    let refused = said.after(&file, bad);
    let expected = format!("--config {}: line 6: \"my api\" is no name for a throttle", file.path());
    assert!(refused.starts_with(&expected), "{refused}");
    assert_eq!(pass(&gateway).await, 0);
    assert_eq!(said.after(&file, good), format!("reloaded {}", file.path()));
    assert_eq!(pass(&gateway).await, 0, "what was used stays used");
}

/// A reload keeps the counts, or logs that it cannot.
#[tokio::test]
async fn what_was_used_stays_used_or_it_is_said() {
    let of = |lines: &str| format!("[[throttle]]\nuid = \"a\"\n{lines}\n");
    let file = File::new("used", &of("rate = \"5/52w\""));
    let (gateway, mut said) = Said::start(&file, &[]);
    assert_eq!(pass(&gateway).await, 5);
    let older = "; a: counts of clients that sent no request since the previous change of strategy are lost";
    for (lines, passed, more) in [
        ("rate = \"7/52w\"", 2, ""),
        // Another strategy, the same with another rate, and a third strategy whose state is a level, too.
        ("rate = \"9/52w\"\nstrategy = \"token-bucket\"", 2, ""),
        ("rate = \"10/52w\"\nstrategy = \"token-bucket\"", 1, ""),
        ("rate = \"12/52w\"\nstrategy = \"gcra:burst=12\"", 2, ""),
        // The state of a queue is more than a level.
        ("rate = \"12/52w\"\nstrategy = \"leaky-bucket-queue:queue=0\"", 0, older),
        // A larger capacity, and a smaller one.
        ("rate = \"13/52w\"\nstrategy = \"gcra:burst=13\"\nstorage = \"memory:capacity=200000\"", 1, older),
        ("rate = \"15/52w\"\nstorage = \"memory:capacity=50,full=refuse\"", 2, older),
    ] {
        assert_eq!(
            said.after(&file, &of(lines)),
            format!("reloaded {}; changed a{more}", file.path()),
            "{lines}"
        );
        assert_eq!(pass(&gateway).await, passed, "{lines}");
    }
    for lines in [
        "rates = [\"3/52w\", \"50/52w\"]",
        "rate = \"3/52w\"",
        "rate = \"3/52w\"\nstrategy = \"sliding-log\"",
        "rate = \"3/52w\"\nkey = \"header:x-user\"",
    ] {
        let expected = format!("reloaded {}; changed a; {STARTS_OVER}", file.path());
        assert_eq!(said.after(&file, &of(lines)), expected, "{lines}");
        assert_eq!(pass(&gateway).await, 3, "{lines}");
    }
    // A new throttle has no counts to lose, so the log names none.
    let more =
        of("rate = \"3/52w\"\nkey = \"header:x-user\"") + "[[throttle]]\nuid = \"b\"\nrate = \"1/s\"\n";
    assert_eq!(said.after(&file, &more), format!("reloaded {}; added b", file.path()));
}

/// On a shared store a change of rate keeps the counts, and a change of strategy starts over.
#[tokio::test]
async fn what_is_kept_on_a_store_is_said_too() {
    let redis = traffik_test_support::servers::Redis::start();
    let of = |lines: &str| {
        format!(
            "[[throttle]]\nuid = \"a\"\nstorage = \"{}\"\non_error = \"fallback\"\n{lines}\n",
            redis.url()
        )
    };
    let file = File::new("shared", &of("rate = \"5/52w\""));
    let (gateway, mut said) = Said::start(&file, &["--timeout", "5s"]);
    assert_eq!(pass(&gateway).await, 5);
    assert_eq!(said.after(&file, &of("rate = \"7/52w\"")), format!("reloaded {}; changed a", file.path()));
    assert_eq!(pass(&gateway).await, 2);
    let anew = format!("reloaded {}; changed a; {STARTS_OVER}", file.path());
    let bucket = of("rate = \"7/52w\"\nstrategy = \"token-bucket\"");
    assert_eq!(said.after(&file, &bucket), anew);
    assert_eq!(pass(&gateway).await, 7);
    // All buckets read each other's states.
    let other = of("rate = \"7/52w\"\nstrategy = \"priority(low=50%)/gcra:burst=9\"");
    assert_eq!(said.after(&file, &other), anew, "in a wrapper it is another size");
    assert_eq!(pass(&gateway).await, 8, "one more would have passed");
    let other = of("rate = \"7/52w\"\nstrategy = \"tiered(free=1)/leaky-bucket:capacity=11\"");
    assert_eq!(said.after(&file, &other), format!("reloaded {}; changed a", file.path()));
    assert_eq!(pass(&gateway).await, 3);
    let queue = of("rate = \"7/52w\"\nstrategy = \"tiered(free=1)/leaky-bucket-queue:queue=0\"");
    assert_eq!(said.after(&file, &queue), anew, "a queue keeps more than a level");
    assert_eq!(pass(&gateway).await, 1);
    assert_eq!(said.after(&file, &of("rates = [\"7/52w\", \"9/52w\"]")), anew);
    assert_eq!(pass(&gateway).await, 7);
}

#[tokio::test]
async fn it_is_read_anew_and_what_was_used_stays_used() {
    let file = File::new("anew", "[[throttle]]\nuid = \"a\"\nrate = \"3/w\"\n");
    let gateway = Gateway::start(&["--config", file.path()]);
    let client = client(false);
    let limit = async || {
        let path = format!("{}/_traffik/stat?key=127.0.0.1", gateway.url);
        let stat =
            http_body_util::BodyExt::collect(get(&client, &path, &[]).await.into_body()).await.unwrap();
        let stat: serde_json::Value = serde_json::from_slice(&stat.to_bytes()).unwrap();
        let figures = &stat["throttles"][0]["policies"][0]["figures"];
        (
            figures["current_count"].clone(),
            figures["limit"].clone(),
            stat["throttles"].as_array().unwrap().len(),
        )
    };
    for _ in 0..2 {
        assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    }
    assert_eq!(limit().await.0, 2);
    let two = "[[throttle]]\nuid = \"a\"\nrate = \"4/w\"\n[[throttle]]\nuid = \"b\"\nrate = \"9/w\"\n";
    file.write(two);
    until(async || limit().await.2 == 2).await;
    assert_eq!(limit().await.0, 2, "what was used stays used");
    // A bad file changes nothing, also on SIGHUP.
    file.write("[[throttle]]\nuid = \"a\"\nrate = \"never\"\n");
    gateway.signal("HUP");
    for expected in [200, 200, 429] {
        assert_eq!(get(&client, &gateway.url, &[]).await.status(), expected);
    }
    assert_eq!(limit().await.2, 2);
    file.write("[[throttle]]\nuid = \"a\"\nrate = \"5/w\"\n");
    gateway.signal("HUP");
    until(async || limit().await.2 == 1).await;
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 429);
}

/// A file is read once it stands still, so a half that is a file of its own is never loaded.
#[test]
fn a_file_that_is_being_written_is_not_read() {
    let first = "[[throttle]]\nuid = \"a\"\nrate = \"3/52w\"\n";
    let file = File::new("pieces", first);
    let (gateway, mut said) = Said::start(&file, &[]);
    let half = "[[throttle]]\nuid = \"half\"\nrate = \"1/52w\"\n";
    std::fs::write(file.path(), half).unwrap();
    let mut pieces = std::fs::OpenOptions::new().append(true).open(file.path()).unwrap();
    let began = Instant::now();
    // Longer than the gateway takes to look several times.
    while began.elapsed() < Duration::from_secs(2) {
        pieces.write_all(b"#\n").unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let whole =
        format!("{first}[[throttle]]\nuid = \"half\"\nrate = \"1/52w\"\nrules = {{ path = \"/x\" }}\n");
    std::fs::write(file.path(), whole).unwrap();
    let line = said.0.line("reloaded ");
    assert!(line.ends_with("; added half"), "the first reload is that of the whole file: {line}");
    drop(gateway);
}

/// A pipe, a device, a huge file or a folder in place of the file changes nothing. The log has the reason.
#[tokio::test]
async fn a_pipe_or_a_device_in_place_of_the_file_changes_nothing() {
    let file = File::new("replaced", "[[throttle]]\nuid = \"a\"\nrate = \"3/52w\"\n");
    let (gateway, mut said) = Said::start(&file, &[]);
    assert_eq!(pass(&gateway).await, 3);
    let program = |name: &str, arguments: &[&str]| {
        assert!(std::process::Command::new(name).args(arguments).status().unwrap().success());
    };
    let path = file.path();
    for (replace, kind) in [
        (&["mkfifo", path][..], "the path names a pipe"),
        (&["ln", "-s", "/dev/zero", path], "the path names a device"),
        (&["truncate", "-s", "1G", path], "larger than 64 MiB"),
        (&["mkdir", path], "the path names a directory"),
    ] {
        std::fs::remove_file(path).unwrap();
        program(replace[0], &replace[1..]);
        let line = said.0.line(kind);
        assert_eq!(record(&line).0, "ERROR", "{line}");
        said.0.line("the previous configuration stays in use");
        assert_eq!(pass(&gateway).await, 0, "{kind}");
    }
    std::fs::remove_dir(path).unwrap();
    let good = "[[throttle]]\nuid = \"a\"\nrate = \"4/52w\"\n";
    assert_eq!(said.after(&file, good), format!("reloaded {path}; changed a"));
}
