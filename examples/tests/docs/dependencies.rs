//! The crates that each feature depends on.

use std::process::Command;

use traffik_test_support::folder;

/// Returns the packages in a build of the facade with these features.
fn packages(features: &str) -> Vec<String> {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or("cargo".to_owned()));
    cargo.args(["tree", "--offline", "-p", "traffik", "--no-default-features", "--features", features]);
    cargo.args(["-e", "normal", "--prefix", "none", "--format", "{p}"]).current_dir(folder::workspace());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// The feature `redis` alone brings no runtime, and each runtime is left out where it is not turned on.
#[test]
fn redis_brings_no_runtime() {
    const RUNTIMES: [&str; 5] = ["tokio", "smol", "async-std", "async-io", "smol-timeout"];
    for (features, brought) in [
        ("redis", &[][..]),
        ("redis,locks", &[]),
        ("redis,tokio", &["tokio"]),
        // The Redis driver uses traits and channels of tokio.
        ("redis,smol", &["tokio", "smol", "async-io", "smol-timeout"]),
        ("redis,redis-tls,tokio", &["tokio"]),
    ] {
        let packages = packages(features);
        assert!(packages.iter().any(|package| package == "redis"), "{packages:?}");
        let found: Vec<_> =
            RUNTIMES.into_iter().filter(|name| packages.iter().any(|package| package == name)).collect();
        assert_eq!(found, brought, "{features}");
    }
}
