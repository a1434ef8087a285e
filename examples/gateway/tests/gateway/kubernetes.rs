//! The manifests for Kubernetes: valid by its schemas, and the gateway runs as they say.

use std::process::Command;

use serde::Deserialize;
use serde_norway::Value;
use traffik_test_support::folder;
use traffik_test_support::program::Program;
use traffik_test_support::servers::{Redis, free_port};

use super::config::File;
use super::{Gateway, PROGRAM, client, get};

fn manifest() -> (std::path::PathBuf, String) {
    let path = folder::workspace().join("examples/gateway/setups/kubernetes/gateway.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

/// Returns the object of a kind.
fn object(kind: &str) -> Value {
    let (_, text) = manifest();
    let objects = serde_norway::Deserializer::from_str(&text).map(|it| Value::deserialize(it).unwrap());
    objects.into_iter().find(|object| object["kind"] == kind).unwrap()
}

#[test]
fn the_manifests_follow_the_schemas_of_kubernetes() {
    let (path, text) = manifest();
    let validate = |path: &str| {
        let mut command = Command::new(folder::target().join("python/bin/kubernetes-validate"));
        let output = command.args(["--strict", path]).output().expect("scripts/test gateway installs it");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (is_valid, said) = validate(path.to_str().unwrap());
    assert!(is_valid, "{said}");
    // The validator does find mistakes.
    let wrong = File::new("manifest", &text.replace("replicas: 2", "replikas: 2"));
    assert!(!validate(wrong.path()).0);
}

#[tokio::test]
async fn the_gateway_runs_as_the_deployment_says() {
    let redis = Redis::start();
    let service = Gateway::start(&["--rate", "1000/w", "--headers", "none"]);
    let file = object("ConfigMap")["data"]["gateway.toml"].as_str().unwrap().to_owned();
    let file = File::new("kubernetes", &file.replace("redis://redis:6379", &redis.url()));
    let deployment = object("Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let admin = format!("127.0.0.1:{}", free_port());
    let places = [
        ("0.0.0.0:8080", "127.0.0.1:0"),
        ("0.0.0.0:9090", &*admin),
        ("http://my-service:3000", &*service.url),
        ("/etc/traffik/gateway.toml", file.path()),
    ];
    let mut command = Command::new(PROGRAM);
    for argument in container["args"].as_sequence().unwrap() {
        let argument = argument.as_str().unwrap().to_owned();
        command.arg(places.iter().fold(argument, |argument, (there, here)| argument.replace(there, here)));
    }
    command.args(["--log-level", "error"]);
    let gateway = Program::run(command);
    let client = client(false);
    for probe in ["livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        assert_eq!(get(&client, &format!("http://{admin}{path}"), &[]).await.status(), 200, "{probe}");
    }
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    let path = annotations["prometheus.io/path"].as_str().unwrap();
    assert_eq!(get(&client, &format!("http://{admin}{path}"), &[]).await.status(), 200);
    // The gateway drains for 10 s, so it has ended when the kubelet would kill it.
    assert!(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap() > 10);
    drop(redis);
}
