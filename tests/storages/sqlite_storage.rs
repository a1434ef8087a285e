//! The example of a storage on SQLite does what it says.

#[path = "../../examples/sqlite_storage/main.rs"]
#[allow(dead_code, reason = "the example's own `main` is not run here")]
mod example;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use example::{AsyncSqlite, Sqlite};
use rusqlite::Connection;
use traffik::laws::{Step, awaited, storage};
use traffik::{
    AsyncLimiter, Clock, ErrorKind, FixedWindow, HeapLog, Limiter, ManualClock, Rate, Strategy, SystemClock,
    Timestamp, TokenBucket, Verdict, rate,
};
use traffik_test_support::{folder, program};

const PATIENCE: Duration = Duration::from_secs(20);
const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// A file of this test's own, which is removed with its value.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let file = Self(folder::temporary().join(format!("{name}-{}.sqlite", process::id())));
        // Left by a process of this number that was killed.
        file.remove();
        file
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(&self.0, PATIENCE, SystemClock).unwrap()
    }

    fn opened_by<C: Clock>(&self, clock: C) -> Sqlite<C> {
        Sqlite::open(&self.0, PATIENCE, clock).unwrap()
    }

    /// Another connection, which looks into the file.
    fn rows(&self) -> Connection {
        let rows = Connection::open(&self.0).unwrap();
        rows.busy_timeout(PATIENCE).unwrap();
        rows
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

fn count(rows: &Connection) -> u32 {
    rows.query_row("SELECT count(*) FROM limits", [], |row| row.get(0)).unwrap()
}

/// The number of commits that this connection has seen others make.
fn commits(rows: &Connection) -> u64 {
    let version =
        rows.query_row("SELECT data_version FROM pragma_data_version", [], |row| row.get::<_, i64>(0));
    version.unwrap().cast_unsigned()
}

fn plant(rows: &Connection, key: &[u8], state: &[u8]) {
    rows.execute("INSERT OR REPLACE INTO limits VALUES (?1, ?2, 9223372036854775807)", [key, state]).unwrap();
}

fn run() -> Vec<Step> {
    let at = |step: u64| START.plus_micros(step * 370_000 + step / 25 * 7_200_000_000);
    let costs = [1, 1, 2, 0, 1, 9].into_iter().cycle();
    (0..50).zip(costs).map(|(step, cost)| Step::new(at(step), cost)).collect()
}

#[test]
fn it_has_done_the_duties_of_a_storage() {
    fn check<S: Strategy>(strategy: S) {
        let (file, clock) = (File::new("duties"), ManualClock::new(START));
        let (mine, rows) = (file.opened_by(&clock), file.rows());
        storage::every(&strategy, &mine).unwrap();
        storage::agrees(&strategy, &mine, "agreed", &run()).unwrap();
        storage::denial_writes_nothing(&strategy, &mine, || commits(&rows)).unwrap();
        storage::corrupt_is_never_seen(&strategy, &mine, |key, state| plant(&rows, key, state)).unwrap();
        storage::racers_admit_the_limit(&strategy, &mine, |check| {
            std::thread::scope(|scope| {
                (0..4).for_each(|_| drop(scope.spawn(|| (0..5).for_each(|_| check()))))
            });
        })
        .unwrap();
        storage::clock_may_be_set_back(&strategy, &mine, |now| clock.set(now)).unwrap();
    }
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            check(make(rate!("5/h")).unwrap());
        };
    }
    traffik::every_strategy!(each);
    check(HeapLog::new(rate!("5/h")).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_done_the_duties_where_it_is_awaited() {
    async fn check<S: Strategy>(strategy: S) {
        let (file, clock) = (File::new("awaited"), Arc::new(ManualClock::new(START)));
        let (mine, rows) = (AsyncSqlite::new(file.opened_by(Arc::clone(&clock))), file.rows());
        awaited::every(&strategy, &mine).await.unwrap();
        awaited::denial_writes_nothing(&strategy, &mine, async || commits(&rows)).await.unwrap();
        awaited::agrees(&strategy, &mine, "agreed", &run(), |now| clock.set(now)).await.unwrap();
        awaited::clock_may_be_set_back(&strategy, &mine, |now| clock.set(now)).await.unwrap();
        let plant = async |key: &[u8], state: &[u8]| plant(&rows, key, state);
        awaited::corrupt_is_never_seen(&strategy, &mine, plant).await.unwrap();
    }
    check(TokenBucket::new(rate!("5/h"))).await;
    check(FixedWindow::new(rate!("5/h"))).await;
    check(HeapLog::new(rate!("5/h")).unwrap()).await;
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

fn limit() -> TokenBucket {
    TokenBucket::new(rate!("1000/day"))
}

/// The variables that mark a process as one of several: the file, and the number of its checks.
const SHARED: (&str, &str) = ("TRAFFIK_SQLITE", "TRAFFIK_SQLITE_CHECKS");

/// Checks one key under three limits again and again, and prints how often each admitted it.
fn hammer(file: PathBuf, checks: u64) {
    fn admitted<S: Strategy<Cost = u32>>(name: &str, strategy: S, file: &Path, checks: u64) {
        let limiter = Limiter::new(strategy, Sqlite::open(file, PATIENCE, SystemClock).unwrap());
        let check = |_: &u64| {
            // SQLite's lock is not fair: without a gap one process would come first all the time.
            std::thread::sleep(Duration::from_micros(100));
            limiter.check_n(&(name, "alice"), 1).unwrap().outcome().is_allowed()
        };
        println!("\nadmitted {}", (0..checks).filter(check).count());
    }
    admitted("bucket", limit(), &file, checks);
    admitted("log", HeapLog::new(rate!("1000/day")).unwrap(), &file, checks);
    admitted("window", FixedWindow::new(rate!("1000/day")), &file, checks);
}

fn start(file: &File, checks: u64) -> Child {
    let mut command = program::again(module_path!(), "processes_admit_exactly_the_limit");
    command.env(SHARED.0, &file.0).env(SHARED.1, checks.to_string());
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn admitted(process: Child) -> Vec<u64> {
    let output = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();
    let admitted = output.lines().filter_map(|line| line.strip_prefix("admitted "));
    admitted.map(|count| count.parse().unwrap()).collect()
}

#[test]
fn processes_admit_exactly_the_limit() {
    if let (Some(file), Ok(checks)) = (env::var_os(SHARED.0), env::var(SHARED.1)) {
        return hammer(file.into(), checks.parse().unwrap());
    }
    let file = File::new("processes");
    let [one, other] = [start(&file, 800), start(&file, 800)].map(admitted);
    let together: Vec<_> = one.iter().zip(&other).map(|(one, other)| one + other).collect();
    assert_eq!(together, [1_000; 3], "{one:?} and {other:?}");
}

#[test]
fn counts_survive_a_restart_and_a_kill() {
    let file = File::new("restart");
    assert_eq!(admitted(start(&file, 400)), [400; 3]);
    assert_eq!(admitted(start(&file, 700)), [600; 3]);

    let file = File::new("killed");
    let mut killed = start(&file, u64::MAX);
    let limiter = Limiter::new(limit(), file.open());
    let left = || limiter.status(&("bucket", "alice")).unwrap().remaining();
    while left() > 900 {
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = left();
    assert_eq!(admitted(start(&file, 1_200))[0], u64::from(left));
}

#[test]
fn expired_rows_leave_the_file() {
    let (file, clock) = (File::new("expired"), ManualClock::new(START));
    let (limiter, rows) =
        (Limiter::new(TokenBucket::new(rate!("10/min")), file.opened_by(&clock)), file.rows());
    (0..100u32).for_each(|key| assert!(limiter.check(&key).unwrap().is_allowed()));
    assert_eq!(count(&rows), 100);
    clock.advance(Duration::from_secs(120));
    (100..150u32).for_each(|key| assert!(limiter.check(&key).unwrap().is_allowed()));
    assert_eq!(count(&rows), 50, "each write removes up to two rows that have expired");
    let _ = limiter.reset(&100u32).unwrap();
    assert_eq!(count(&rows), 49);
}

/// A time from before a wait for the lock is no clock that was set back.
#[test]
fn a_late_operation_moves_no_state() {
    let (file, clock) = (File::new("late"), ManualClock::new(START));
    let limiter = Limiter::new(TokenBucket::new(rate!("2/s")), file.opened_by(&clock));
    clock.advance(Duration::from_secs(10));
    assert!(limiter.check_n("key", 2).unwrap().is_allowed());
    assert!(!limiter.check_at("key", &traffik::Hit::new(1), START).unwrap().is_allowed());
    clock.advance(Duration::from_millis(500));
    assert_eq!(limiter.status("key").unwrap().remaining(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_locked_file_fails_in_time_and_blocks_no_task() {
    let file = File::new("locked");
    let open = || Sqlite::open(&file.0, Duration::from_millis(300), SystemClock).unwrap();
    let (blocking, limiter) =
        (Limiter::new(limit(), open()), AsyncLimiter::new(limit(), AsyncSqlite::new(open())));
    let other = file.rows();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let began = Instant::now();
    let checks: Vec<_> = (0..20).map(|_| tokio::spawn(limiter.check("alice"))).collect();
    let mut turns = 0;
    while !checks.iter().all(|check| check.is_finished()) {
        // The only thread of the runtime serves this task meanwhile.
        tokio::time::sleep(Duration::from_millis(1)).await;
        turns += 1;
    }
    assert!(turns > 20, "{turns} turns in {:?}", began.elapsed());
    for check in checks {
        assert_eq!(check.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    }
    let failure = limiter.check("alice").await.unwrap_err();
    assert!(failure.to_string().contains("keeps the file locked"), "{failure}");
    let failure = blocking.check("alice").unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Unavailable);
    assert!(failure.to_string().contains("keeps the file locked"), "{failure}");
    assert_eq!(limiter.status("alice").await.unwrap().remaining(), 1_000, "a peek needs no lock for writing");

    other.execute_batch("COMMIT").unwrap();
    assert_eq!(limiter.check("alice").await.unwrap().remaining(), 999, "failed checks charged nothing");
}

#[test]
fn a_file_that_is_damaged_or_missing_is_an_error() {
    let open = |file: &PathBuf| Sqlite::open(file, PATIENCE, SystemClock);
    let file = File::new("damaged");
    fs::write(&file.0, "no database, ".repeat(100)).unwrap();
    assert!(open(&file.0).err().unwrap().to_string().contains("not a database"));
    assert!(open(&file.0.join("below a file")).err().unwrap().to_string().contains("unable to open"));
    file.remove();

    let limiter = Limiter::new(limit(), file.open());
    (0..500u32).for_each(|key| assert!(limiter.check(&key).unwrap().is_allowed()));
    drop(limiter);
    // All but the schema, while nobody has the file open.
    let mut bytes = fs::read(&file.0).unwrap();
    bytes[3 * 4_096..].fill(0xaa);
    fs::write(&file.0, bytes).unwrap();
    let limiter = Limiter::new(limit(), file.open());
    let failure = (0..500u32).find_map(|key| limiter.check(&key).err()).unwrap();
    assert_eq!(failure.kind(), ErrorKind::Other);
    assert!(failure.to_string().contains("damaged"), "{failure}");
}

#[tokio::test]
async fn a_missing_table_is_an_error() {
    let file = File::new("gone");
    let limiter = AsyncLimiter::new(limit(), AsyncSqlite::new(file.open()));
    file.rows().execute_batch("DROP TABLE limits").unwrap();
    let failure = limiter.check("key").await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Other);
    assert!(failure.to_string().contains("no such table"), "{failure}");
}
