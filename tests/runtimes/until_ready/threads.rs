//! Threads, a clock that goes on, and alarms that ring late.

use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use traffik::runtime::{Runtime, Tokio};
use traffik::{Limiter, Memory, Rate, Storage, TokenBucket};

const TASKS: usize = 8;
const TURNS: usize = 60;

type Limited = Limiter<TokenBucket, Memory<TokenBucket>>;

/// How many were admitted, as far as they have said so, and when each was at the latest.
#[derive(Default)]
struct Admitted {
    count: AtomicUsize,
    times: Mutex<Vec<u64>>,
}

/// Waits, or gives up after a while and comes again.
async fn is_admitted(limiter: &Limited, admitted: &Admitted, mut patience: Option<Duration>) {
    loop {
        let mut waiting = pin!(limiter.until_ready("key", &Tokio));
        if let Some(verdict) = poll_immediate(waiting.as_mut()).await {
            assert!(verdict.unwrap().is_allowed());
            break;
        }
        // The waiter is in line. Each one in front will be admitted once before it, and may have been
        // admitted once already without a record yet; no other comes in between.
        let before = admitted.count.load(Ordering::SeqCst);
        let verdict = match patience.take() {
            Some(patience) => Tokio.timeout(patience, waiting).await.ok(),
            None => Some(waiting.await),
        };
        if let Some(verdict) = verdict {
            assert!(verdict.unwrap().is_allowed());
            let passed = admitted.count.load(Ordering::SeqCst) - before;
            assert!(passed <= 2 * (TASKS - 1), "{passed} were admitted before it");
            break;
        }
    }
    admitted.count.fetch_add(1, Ordering::SeqCst);
    admitted.times.lock().unwrap().push(limiter.now().as_micros());
}

#[test]
fn threads_take_turns_and_have_no_more_than_the_limit() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let limit = TokenBucket::new(Rate::per_second(1_000)).burst(4).unwrap();
    let limiter = Arc::new(Limiter::new(limit, Memory::new(10)));
    let admitted = Arc::<Admitted>::default();
    let began = limiter.now().as_micros();
    runtime.block_on(async {
        let tasks = (0..TASKS).map(|task| {
            let (limiter, admitted) = (Arc::clone(&limiter), Arc::clone(&admitted));
            tokio::spawn(async move {
                for turn in 0..TURNS {
                    let gives_up = task % 2 == 0 && turn % 3 == 0;
                    let patience = gives_up.then(|| Duration::from_micros(turn as u64 * 50));
                    is_admitted(&limiter, &admitted, patience).await;
                }
            })
        });
        for ended in join_all(tasks).await {
            ended.unwrap();
        }
    });
    let mut times = admitted.times.lock().unwrap();
    assert_eq!(times.len(), TASKS * TURNS);
    times.sort_unstable();
    for (count, at) in (1..).zip(&*times) {
        // A burst, and one each millisecond.
        assert!(count <= 4 + (at - began) / 1_000, "{count} in {} µs", at - began);
    }
    assert!(limiter.storage().wait_queue().unwrap().is_empty(&"key"));
}

/// A task that waits can be spawned, whatever storage it is.
#[test]
fn a_wait_can_be_sent_to_another_thread_also_where_the_storage_is_not_known() {
    fn assert_send<T: Send>(_: T) {}
    fn generic<M: Storage<TokenBucket> + Sync>(limiter: &Limiter<TokenBucket, M>) {
        assert_send(limiter.until_ready("key", &Tokio));
    }
    generic(&Limiter::new(TokenBucket::new(Rate::per_second(1)), Memory::new(1)));
}
