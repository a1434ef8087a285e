//! The rate-limit fields of responses, read by an independent parser: Python's http-sfv.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use traffik_test_support::folder;

use super::{Gateway, client, get};

/// The members of structured fields, each given by its kind and its value.
fn read(fields: &[(&str, String)]) -> Vec<serde_json::Value> {
    let python = folder::target().join("python/bin/python3");
    assert!(python.exists(), "it must be there: scripts/install python3=python3 python:http-sfv==VERSION");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/fields.py");
    let mut reader = Command::new("timeout");
    reader.arg("60").arg(python).arg(program).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = reader.spawn().unwrap();
    let lines: String = fields.iter().map(|(kind, value)| format!("{kind}\t{value}\n")).collect();
    reader.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{fields:?} are not read");
    let values = String::from_utf8(output.stdout).unwrap();
    values.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the fields of these names in the answers to an admitted and a denied request.
async fn fields_of<const N: usize>(options: &[&str], names: [&str; N]) -> Vec<[String; N]> {
    let gateway = Gateway::start(options);
    let client = client(false);
    let mut values = Vec::new();
    for status in [200, 429] {
        let response = get(&client, &gateway.url, &[]).await;
        assert_eq!(response.status(), status);
        values.push(names.map(|name| response.headers()[name].to_str().unwrap().to_owned()));
    }
    values
}

#[tokio::test]
async fn the_lists_of_draft_10_are_read_by_another_parser() {
    let options = ["--rate", "1/52w", "--rate", "100/53w"];
    for (policies, limits) in
        fields_of(&options, ["ratelimit-policy", "ratelimit"]).await.into_iter().map(|[a, b]| (a, b))
    {
        let read = read(&[("list", policies), ("list", limits)]);
        let [policies, limits] = [0, 1].map(|at| read[at].as_array().unwrap().clone());
        assert_eq!(policies[0], serde_json::json!(["rate-1", {"q": 1, "w": 52 * 604_800}]));
        assert_eq!(policies[1], serde_json::json!(["rate-2", {"q": 100, "w": 53 * 604_800}]));
        assert_eq!((&limits[0][0], &limits[1][0]), (&"rate-1".into(), &"rate-2".into()));
        assert_eq!((&limits[0][1]["r"], limits[1][1]["r"].as_u64()), (&0.into(), Some(99)));
        assert!(limits[0][1]["t"].as_u64().is_some_and(|seconds| (1..=53 * 604_800).contains(&seconds)));
    }
}

#[tokio::test]
async fn the_dictionary_of_draft_07_and_plain_numbers_are_read_by_another_parser() {
    let options = ["--rate", "1/52w", "--headers", "draft07"];
    for [policy, limits] in fields_of(&options, ["ratelimit-policy", "ratelimit"]).await {
        let read = read(&[("item", policy), ("dictionary", limits)]);
        assert_eq!(read[0], serde_json::json!([[1, {"w": 52 * 604_800}]]));
        assert_eq!((read[1]["limit"].as_u64(), read[1]["remaining"].as_u64()), (Some(1), Some(0)));
        assert!(read[1]["reset"].as_u64().is_some());
    }
    let options = ["--rate", "1/52w", "--headers", "x-ratelimit"];
    let names = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
    for fields in fields_of(&options, names).await {
        let read = read(&fields.map(|field| ("item", field)));
        assert_eq!((&read[0], &read[1]), (&serde_json::json!([[1, {}]]), &serde_json::json!([[0, {}]])));
        assert!(read[2][0][0].as_u64().is_some());
    }
}

/// Each policy states its strategy's rate. No more than that remains. `t` is never 0, and on a denial it is
/// the wait.
#[tokio::test]
async fn every_strategy_states_its_rate_in_lists_that_another_parser_reads() {
    let mut strategies = vec!["gcra", "leaky-bucket", "token-bucket:burst=9", "leaky-bucket-queue:queue=9"];
    strategies.extend(["tiered(free=1,gold=5)/gcra", "priority(low=50%)/token-bucket"]);
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            strategies.push($spelling)
        };
    }
    traffik::every_strategy!(each);
    let (mut answers, mut fields) = (Vec::new(), Vec::new());
    for strategy in strategies {
        let gateway = Gateway::start(&["--rate", "4/52w", "--strategy", strategy]);
        let client = client(false);
        // A request that a queue admits waits for its turn, which here is months away.
        let asked = if strategy.starts_with("leaky-bucket-queue") { 1 } else { 10 };
        let mut denied = false;
        for _ in 0..asked {
            let response = get(&client, &gateway.url, &[]).await;
            denied |= response.status() == 429;
            let field =
                |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            answers.push((strategy, field("retry-after").map(|value| value.parse::<u64>().unwrap())));
            fields.extend(["ratelimit-policy", "ratelimit"].map(|name| ("list", field(name).unwrap())));
        }
        assert!(denied || asked == 1, "{strategy} admits all");
    }
    for ((strategy, retry_after), read) in answers.into_iter().zip(read(&fields).chunks(2)) {
        // The client's region has half of the rate.
        let quota = if strategy.starts_with("regions") { 2 } else { 4 };
        let policy = serde_json::json!([["rate-1", {"q": quota, "w": 52 * 604_800}]]);
        assert_eq!(read[0], policy, "{strategy}");
        let [remaining, more] = ["r", "t"].map(|name| read[1][0][1][name].as_u64());
        assert!(remaining.is_some_and(|remaining| remaining <= quota), "{strategy}: {read:?}");
        assert!(more != Some(0), "{strategy}: {read:?}");
        if retry_after.is_some() {
            assert_eq!(more, retry_after, "{strategy}: {read:?}");
        } else if remaining == Some(0) && strategy != "sliding-log" {
            assert!(more.is_some(), "{strategy}: {read:?}");
        }
    }
}
