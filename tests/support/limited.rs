//! Limiters over a store that fails, and what their calls came to.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use traffik::storage::{AsyncStorage, ErrorKind};
use traffik::{AsyncLimiter, Strategy, Verdict};

/// How long a call may take.
pub const DEADLINE: Duration = Duration::from_millis(300);
/// The time that a busy machine adds to it.
pub const SLACK: Duration = Duration::from_millis(700);
/// How soon all is to be well once the server is.
pub const RECOVERY: Duration = Duration::from_secs(1);

pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// The outcomes of calls.
#[derive(Default)]
pub struct Count {
    admitted: AtomicU64,
    denied: AtomicU64,
    /// Charged or not: nobody knows.
    unknown: AtomicU64,
    /// Not charged.
    failed: AtomicU64,
}

impl Count {
    /// Checks once, within the deadline, and counts what it came to.
    pub async fn check<S: Strategy<Cost = u32>, M: AsyncStorage<S>>(
        &self,
        limiter: &AsyncLimiter<S, M>,
        key: &str,
    ) -> Option<ErrorKind> {
        let began = Instant::now();
        let answer = limiter.check(key).await;
        assert!(began.elapsed() < DEADLINE + SLACK, "a call took {:?}", began.elapsed());
        if let Err(failure) = &answer {
            println!("{failure}");
        }
        let (count, kind) = match answer {
            Ok(verdict) if verdict.outcome().is_allowed() => (&self.admitted, None),
            Ok(_) => (&self.denied, None),
            Err(failure) if failure.kind() == ErrorKind::Timeout => (&self.unknown, Some(ErrorKind::Timeout)),
            Err(failure) => (&self.failed, Some(failure.kind())),
        };
        count.fetch_add(1, Ordering::Relaxed);
        kind
    }

    pub fn get(&self) -> [u64; 4] {
        [&self.admitted, &self.denied, &self.unknown, &self.failed].map(|count| count.load(Ordering::Relaxed))
    }

    /// Of a limit that was asked for more than it has: all of it was charged, to someone, and no more was
    /// admitted.
    pub fn assert_exact(&self, limit: u64) {
        let [admitted, denied, unknown, failed] = self.get();
        assert!(
            admitted <= limit && admitted + unknown >= limit,
            "{admitted} admitted of {limit}, {denied} denied, {unknown} unknown, {failed} failed"
        );
    }
}

/// Waits until a check succeeds again, and tells how long that took.
pub async fn recovered<S: Strategy<Cost = u32>, M: AsyncStorage<S>>(
    limiter: &AsyncLimiter<S, M>,
    count: &Count,
    key: &str,
) {
    let began = Instant::now();
    while count.check(limiter, key).await.is_some() {
        assert!(began.elapsed() < RECOVERY, "not well after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Eight tasks ask until the limit is used up more than twice over, while something goes wrong again and
/// again.
pub async fn under_load<S: Strategy<Cost = u32>, M: AsyncStorage<S>>(
    limiter: &AsyncLimiter<S, M>,
    count: &Count,
    limit: u64,
    wrong: impl Fn(u64),
) {
    let asked = AtomicU64::new(0);
    let work = (0..8).map(|_| async {
        while asked.fetch_add(1, Ordering::Relaxed) < limit * 2 + 200 {
            count.check(limiter, "hot").await;
        }
    });
    let trouble = async {
        for time in 0..10 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            wrong(time);
        }
    };
    futures_util::future::join(futures_util::future::join_all(work), trouble).await;
}

/// How many are admitted of many at once: eight tasks on each of four storages, so many times each.
pub fn admitted_of_a_hot_key<S: Strategy<Cost = u32>, M: AsyncStorage<S> + 'static>(
    (key, times): (&'static str, usize),
    strategy: S,
    storage: impl Fn() -> M,
) -> usize {
    run(async {
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let limiter = Arc::new(AsyncLimiter::new(strategy.clone(), storage()));
            for _ in 0..8 {
                let limiter = limiter.clone();
                tasks.push(tokio::spawn(async move {
                    let mut admitted = 0;
                    for _ in 0..times {
                        admitted += usize::from(limiter.check(key).await.unwrap().outcome().is_allowed());
                    }
                    admitted
                }));
            }
        }
        let mut admitted = 0;
        for task in tasks {
            admitted += task.await.unwrap();
        }
        admitted
    })
}
