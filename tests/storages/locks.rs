//! Locks for critical sections of one's own: waiting, giving up, ending, and settings from further out.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use traffik::lock::{self, Grant, Lock, LockSettings, Locks, MemoryLock, Ttl};
use traffik::runtime::Tokio;
use traffik::storage::{BackendError, Reply};
use traffik::{Clock, ErrorKind, Timestamp};
use traffik_test_support::program;

const SECOND: Duration = Duration::from_secs(1);

/// Tokio's own virtual time.
struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH + self.0.elapsed()
    }
}

/// A lock in virtual time that lasts for 10 s and is waited for 3 s.
fn locks() -> Locks<MemoryLock<Virtual>, Tokio> {
    let settings = LockSettings::new().ttl(10 * SECOND).blocking(true).blocking_timeout(3 * SECOND);
    Locks::new(MemoryLock::with_clock(Virtual(Instant::now())), Tokio).with(settings)
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_had_as_soon_as_it_is_released() {
    let locks = locks();
    let first = locks.lock("name").await.unwrap();
    let token = first.fencing();
    let began = Instant::now();
    let (second, ()) = tokio::join!(locks.lock("name"), async {
        tokio::time::sleep(SECOND).await;
        first.release().await.unwrap();
    });
    assert_eq!(began.elapsed(), SECOND, "the release woke it, not the next attempt");
    assert!(second.unwrap().fencing() > token);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_timeout_and_says_so() {
    let locks = locks();
    let held = locks.lock("two\r\nlines").await.unwrap();
    let began = Instant::now();
    let failure = locks.lock(b"two\r\nlines").await.unwrap_err();
    assert_eq!((failure.kind(), began.elapsed()), (ErrorKind::Contended, 3 * SECOND));
    assert_eq!(failure.to_string(), r#"the lock "two\r\nlines" is still held after 3s"#);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_to_wait_does_not() {
    let locks = locks();
    let held = locks.lock("name").await.unwrap();
    let began = Instant::now();
    for settings in
        [LockSettings::new().blocking(false), LockSettings::new().blocking_timeout(Duration::ZERO)]
    {
        let failure = locks.lock_with("name", settings).await.unwrap_err();
        assert_eq!(
            (failure.kind(), failure.to_string()),
            (ErrorKind::Contended, r#"the lock "name" is held"#.into())
        );
        assert!(locks.lock_with("another", settings).await.is_ok());
    }
    assert!(locks.try_lock("name").await.unwrap().is_none());
    assert_eq!(began.elapsed(), Duration::ZERO);
    held.release().await.unwrap();
    assert!(locks.try_lock("name").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_ttl_frees_the_lock_of_who_died_with_it() {
    let locks = locks();
    let dead = locks.lock("name").await.unwrap();
    std::mem::forget(dead);
    assert_eq!(locks.lock("name").await.unwrap_err().kind(), ErrorKind::Contended);
    let (began, patient) = (Instant::now(), LockSettings::new().blocking_timeout(60 * SECOND));
    assert!(locks.lock_with("name", patient).await.is_ok());
    // Nobody wakes it when a TTL ends, so it may take one more wait.
    assert!((7 * SECOND..8 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lock_lasts_and_a_lost_one_is_told() {
    let locks = locks();
    let held = locks.lock("name").await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(9 * SECOND).await;
        held.renew().await.unwrap();
    }
    assert!(locks.try_lock("name").await.unwrap().is_none());
    tokio::time::sleep(10 * SECOND).await;
    let other = locks.try_lock("name").await.unwrap().unwrap();
    assert_eq!(held.renew().await.unwrap_err().kind(), ErrorKind::Contended);
    let lost = held.release().await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Contended);
    assert_eq!(lost.to_string(), r#"the lock "name" ended before it was released; give it a TTL above 10s"#);
    other.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fencing_token_tells_who_comes_too_late() {
    let locks = locks();
    let newest = AtomicU64::new(0);
    // The protected resource takes no token below one that it has seen.
    let write = |token: u64| newest.fetch_max(token, Ordering::Relaxed) <= token;
    let paused = locks.lock("name").await.unwrap();
    assert!(write(paused.fencing()));
    tokio::time::sleep(10 * SECOND).await;
    let next = locks.lock("name").await.unwrap();
    assert!(write(next.fencing()));
    assert!(!write(paused.fencing()));
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_dropped_releases_and_a_bare_grant_does_not() {
    let locks = locks();
    drop(locks.lock("name").await.unwrap());
    let grant = locks.try_lock("name").await.unwrap().unwrap().into_grant();
    assert_eq!(grant.name(), b"name");
    assert!(locks.try_lock("name").await.unwrap().is_none());
    tokio::time::sleep(10 * SECOND).await;
    assert!(locks.try_lock("name").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_leaves_nothing_locked() {
    let locks = locks();
    let held = locks.lock("name").await.unwrap();
    assert!(polled_once(locks.lock("name")).is_none());
    held.release().await.unwrap();
    assert!(locks.try_lock("name").await.unwrap().is_some());
}

/// Polls a future once, drops it, and returns its answer.
fn polled_once<F: Future>(future: F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// A lock store that is not there: it fails, or does not answer.
struct Away {
    answers: bool,
}

impl Away {
    fn answer<T: Send + 'static>(&self) -> Reply<T> {
        if self.answers {
            Reply::ready(Err(BackendError::new(ErrorKind::Unavailable, "not there")))
        } else {
            Reply::pending(pending())
        }
    }
}

impl Lock for Away {
    fn try_acquire(&self, _: &[u8], _: Ttl) -> Reply<Option<Grant>> {
        self.answer()
    }

    fn renew(&self, _: &Grant, _: Ttl) -> Reply<bool> {
        self.answer()
    }

    fn release(&self, _: Grant) -> Reply<bool> {
        self.answer()
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_told_apart_from_a_lock_that_is_held() {
    for (answers, kind, after) in
        [(true, ErrorKind::Unavailable, Duration::ZERO), (false, ErrorKind::Timeout, 3 * SECOND)]
    {
        // Behind a pointer, as a lock chosen at run time is.
        let away: Arc<dyn Lock> = Arc::new(Away { answers });
        let locks = Locks::new(away, Tokio).with(LockSettings::new().blocking_timeout(3 * SECOND));
        let began = Instant::now();
        assert_eq!(locks.lock("name").await.unwrap_err().kind(), kind);
        assert_eq!(began.elapsed(), after);
    }
}

#[tokio::test]
async fn settings_that_are_no_good_are_refused_before_anything_is_asked() {
    let locks = Locks::new(Away { answers: true }, Tokio).with(LockSettings::new().ttl(Duration::ZERO));
    for failure in
        [locks.lock("name").await.unwrap_err(), locks.try_lock("name").await.map(drop).unwrap_err()]
    {
        assert_eq!(failure.kind(), ErrorKind::Invalid);
        assert!(failure.to_string().contains("give a time above zero"), "{failure}");
    }
}

/// A count that is read and written in two steps: only a lock keeps it from losing some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_are_in_at_once() {
    const TASKS: u32 = 16;
    const TURNS: u32 = 50;
    let patient = LockSettings::new().ttl(60 * SECOND).blocking(true).blocking_timeout(60 * SECOND);
    let locks = Locks::new(MemoryLock::new(), Tokio).with(patient);
    let count = Arc::new(AtomicU32::new(0));
    let tasks = (0..TASKS).map(|_| {
        let (locks, count) = (locks.clone(), Arc::clone(&count));
        tokio::spawn(async move {
            for _ in 0..TURNS {
                let held = locks.lock("count").await.unwrap();
                let before = count.load(Ordering::Relaxed);
                tokio::task::yield_now().await;
                count.store(before + 1, Ordering::Relaxed);
                held.release().await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(count.load(Ordering::Relaxed), TASKS * TURNS);
}

/// The settings of a whole process are tried in a process of their own.
#[test]
fn explicit_settings_win_over_global_ones_and_those_over_the_environment() {
    const CHILD: &str = "TRAFFIK_TEST_CHILD";
    let name = "explicit_settings_win_over_global_ones_and_those_over_the_environment";
    match std::env::var(CHILD).as_deref() {
        Ok("good") => return with_a_good_environment(),
        Ok("bad") => return with_a_bad_environment(),
        Ok("no") => return with_no_environment(),
        _ => {}
    }
    for (kind, blocking) in [("good", Some("no")), ("bad", Some("maybe")), ("no", None)] {
        let mut child = program::again(module_path!(), name);
        child.env(CHILD, kind);
        let seconds = |seconds| blocking.and(Some(seconds));
        for (variable, value) in [
            (lock::TTL, seconds("7.5")),
            (lock::BLOCKING, blocking),
            (lock::BLOCKING_TIMEOUT, seconds("0.25")),
        ] {
            match value {
                Some(value) => child.env(variable, value),
                None => child.env_remove(variable),
            };
        }
        let child = child.output().unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
    }
}

fn with_no_environment() {
    let built_in = LockSettings::new().resolve().unwrap();
    assert_eq!((built_in.ttl.get(), built_in.blocking), (5 * SECOND, true));
    assert_eq!(built_in.blocking_timeout, 2 * SECOND);
}

fn with_a_good_environment() {
    let figures = |settings: LockSettings| {
        let told = settings.resolve().unwrap();
        (told.ttl.get(), told.blocking, told.blocking_timeout)
    };
    let open = LockSettings::new();
    let (ttl, timeout) = (Duration::from_millis(7_500), Duration::from_millis(250));
    assert_eq!(figures(open), (ttl, false, timeout));
    lock::set_defaults(open.blocking(true).ttl(9 * SECOND)).unwrap();
    assert_eq!(lock::defaults(), open.blocking(true).ttl(9 * SECOND));
    assert_eq!(figures(open), (9 * SECOND, true, timeout));
    assert_eq!(figures(open.ttl(SECOND).blocking_timeout(SECOND)), (SECOND, true, SECOND));
    assert!(lock::set_defaults(open.ttl(Duration::ZERO)).is_err());
    assert_eq!(figures(open), (9 * SECOND, true, timeout), "what is refused is not set");
    lock::set_defaults(open).unwrap();
    assert_eq!(figures(open), (ttl, false, timeout));
}

fn with_a_bad_environment() {
    let error = LockSettings::new().blocking(true).resolve().unwrap_err().to_string();
    assert_eq!(
        error,
        "TRAFFIK_DEFAULT_BLOCKING is \"maybe\"; give true, yes or 1 to wait for a lock, or false, no or 0 not \
         to wait"
    );
}
