//! The example of a storage over files does what it says.

#[path = "../../examples/file_storage.rs"]
#[allow(dead_code, reason = "the example's own `main` is not run here")]
mod example;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use example::{Files, conforms, storage};
use traffik::{AsyncLimiter, Clock, ErrorKind, KeyValueStore, SystemClock, TokenBucket, rate};

/// An empty directory of this test's own, which is removed with its value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("file-storage-{name}-{}", std::process::id());
        let path = traffik_test_support::folder::temporary().join(name);
        // Left by a process of this number that was killed.
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_done_the_duties_of_a_storage() {
    let directory = Directory::new("duties");
    let mut held = Vec::new();
    let mine = storage(Files::open(&directory.0, 1).unwrap());
    conforms(&mine, |duty| held.push(duty.to_owned())).await.unwrap();
    assert_eq!(held.len(), 8, "{held:?}");
    assert!(directory.names().iter().all(|name| name.len() == 32), "nothing is left beside the files");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_on_several_threads_admit_exactly_the_limit() {
    let directory = Directory::new("tasks");
    let limits =
        AsyncLimiter::new(TokenBucket::new(rate!("5/h")), storage(Files::open(&directory.0, 1).unwrap()));
    let tasks: Vec<_> = (0..20).map(|_| tokio::spawn(limits.check("key"))).collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += u32::from(task.await.unwrap().unwrap().is_allowed());
    }
    assert_eq!(admitted, 5);
}

#[tokio::test]
async fn it_remembers_over_a_restart_and_forgets_in_time() {
    let directory = Directory::new("restart");
    let open = |secret| Files::open(&directory.0, secret).unwrap();
    let check = async |secret| {
        let limits = AsyncLimiter::new(TokenBucket::new(rate!("1/h")), storage(open(secret)));
        limits.check("key").await.unwrap().is_allowed()
    };
    assert!(check(1).await);
    assert!(!check(1).await);
    assert!(check(2).await, "another secret, other names");
    open(1).write(b"key", b"over", SystemClock.now()).unwrap();
    assert_eq!(open(1).get(b"key").await.unwrap(), None);
    open(1).set(b"key", b"kept", Duration::from_secs(3_600)).await.unwrap();
    assert_eq!(open(1).get(b"key").await.unwrap().unwrap(), b"kept");
    open(1).set(b"key", b"", Duration::ZERO).await.unwrap();
    assert!(!open(1).path(b"key").exists());
}

#[tokio::test]
async fn a_directory_that_is_gone_is_told() {
    let directory = Directory::new("gone");
    let limits =
        AsyncLimiter::new(TokenBucket::new(rate!("1/h")), storage(Files::open(&directory.0, 1).unwrap()));
    fs::remove_dir_all(&directory.0).unwrap();
    assert_eq!(limits.check("key").await.unwrap_err().kind(), ErrorKind::Unavailable);
}
