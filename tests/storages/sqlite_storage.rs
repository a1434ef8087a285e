//! The example of a storage on SQLite does what it says.

#[path = "../../examples/sqlite_storage.rs"]
#[allow(dead_code, reason = "the example's own `main` is not run here")]
mod example;

use std::path::PathBuf;
use std::process::Stdio;
use std::{env, fs, process};

use example::Rows;
use rusqlite::Connection;
use traffik::cas::Coalescing;
use traffik::laws::awaited;
use traffik::{AsyncLimiter, Rate, Strategy, TokenBucket, rate};
use traffik_test_support::{folder, program};

/// A file of this test's own, which is removed with its value.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let file = Self(folder::temporary().join(format!("{name}-{}.sqlite", process::id())));
        // Left by a process of this number that was killed.
        file.remove();
        file
    }

    fn open(&self) -> Coalescing<Rows> {
        Rows::open(&self.0).unwrap()
    }

    /// How many rows there are.
    fn rows(&self) -> u32 {
        let rows = Connection::open(&self.0).unwrap();
        rows.query_row("SELECT count(*) FROM limits", [], |row| row.get(0)).unwrap()
    }

    fn remove(&self) {
        for beside in ["sqlite", "sqlite-wal", "sqlite-shm"] {
            let _ = fs::remove_file(self.0.with_extension(beside));
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.remove();
    }
}

async fn admitted(limits: &AsyncLimiter<TokenBucket, Coalescing<Rows>>, checks: usize) -> usize {
    let tasks: Vec<_> = (0..checks).map(|_| tokio::spawn(limits.check("key"))).collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += usize::from(task.await.unwrap().unwrap().is_allowed());
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_done_the_duties_of_a_storage() {
    async fn check<S: Strategy>(strategy: S) {
        let file = File::new("duties");
        let mine = file.open();
        awaited::every(&strategy, &mine).await.unwrap();
        let plant = async |key: &[u8], bytes: &[u8]| {
            let rows = Connection::open(&file.0).unwrap();
            let plant = "INSERT OR REPLACE INTO limits VALUES (?1, ?2, 9223372036854775807)";
            rows.execute(plant, [key, bytes]).unwrap();
        };
        awaited::corrupt_is_never_seen(&strategy, &mine, plant).await.unwrap();
    }
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            check(make(rate!("5/h")).unwrap()).await;
        };
    }
    traffik::every_strategy!(each);
}

/// The first process of several creates the file.
#[test]
fn several_open_a_new_file_at_once() {
    for _ in 0..50 {
        let file = File::new("new");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| file.open());
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_several_threads_admit_exactly_the_limit() {
    let file = File::new("threads");
    let [one, other] = [file.open(), file.open()].map(|it| AsyncLimiter::new(limit(), it));
    let (one, other) = tokio::join!(admitted(&one, 40), admitted(&other, 40));
    assert_eq!(one + other, 25);
}

fn limit() -> TokenBucket {
    TokenBucket::new(rate!("25/h"))
}

/// By which a process knows that it is one of several.
const SHARED: &str = "TRAFFIK_SQLITE";

#[test]
fn processes_admit_exactly_the_limit() {
    let run = |file: PathBuf| {
        let limits = AsyncLimiter::new(limit(), Rows::open(&file).unwrap());
        tokio::runtime::Runtime::new().unwrap().block_on(admitted(&limits, 30))
    };
    if let Some(file) = env::var_os(SHARED) {
        return println!("\nadmitted {}", run(file.into()));
    }
    let file = File::new("processes");
    let start = || {
        let mut command = program::again(module_path!(), "processes_admit_exactly_the_limit");
        command.env(SHARED, &file.0).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut told = Vec::new();
    for process in [start(), start(), start()] {
        let output = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();
        let line =
            output.lines().find_map(|line| line.strip_prefix("admitted ")).expect("it came to its end");
        told.push(line.parse::<usize>().unwrap());
    }
    assert_eq!(told.iter().sum::<usize>(), 25, "{told:?}");
}

#[tokio::test]
async fn it_remembers_over_a_restart_and_forgets_in_time() {
    let file = File::new("restart");
    for is_allowed in [true, false] {
        let limits = AsyncLimiter::new(TokenBucket::new(rate!("1/h")), file.open());
        assert_eq!(limits.check("key").await.unwrap().is_allowed(), is_allowed);
    }
    let rows = Connection::open(&file.0).unwrap();
    rows.execute("UPDATE limits SET over = 1", []).unwrap();
    let limits = AsyncLimiter::new(TokenBucket::new(rate!("1/h")), file.open());
    assert_eq!(file.rows(), 0);
    assert!(limits.check("key").await.unwrap().is_allowed());
    rows.execute("UPDATE limits SET over = 1", []).unwrap();
    assert!(limits.check("key").await.unwrap().is_allowed(), "a row that is over is none");
}

#[tokio::test]
async fn a_table_that_is_gone_is_told() {
    let file = File::new("gone");
    let limits = AsyncLimiter::new(limit(), file.open());
    Connection::open(&file.0).unwrap().execute_batch("DROP TABLE limits").unwrap();
    let failure = limits.check("key").await.unwrap_err();
    assert_eq!(failure.kind(), traffik::ErrorKind::Unavailable);
    assert!(failure.to_string().contains("no such table"), "{failure}");
}
