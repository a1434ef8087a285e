//! The servers of a [`Redlock`](super::Redlock), and the releases that each has yet to confirm.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use spin::mutex::SpinMutex;
use traffik_core::storage::{BackendError, ErrorKind};

use super::super::lock::{RedisLock, Verb};
use super::super::net;
use crate::lock::Owner;
use crate::util::backoff::Backoff;
use crate::util::random::random;

/// Time for which a release is repeated to a server that does not answer. After that the grant's TTL ends it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most releases kept for a server. New ones displace the oldest.
const MAX_QUEUED: usize = 4_096;

/// Releases sent at a time.
const BATCH: usize = 64;

const WAITS: Backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_millis(500));

/// The servers of a lock.
pub(super) struct Members {
    pub(super) all: Vec<Arc<RedlockMember>>,
    /// The owners of held grants for which some server has yet to answer.
    pub(super) held: SpinMutex<HashSet<Owner>>,
}

/// One server of a lock.
pub(super) struct RedlockMember {
    pub(super) lock: RedisLock,
    queue: SpinMutex<ReleaseQueue>,
}

/// The releases that a server has not confirmed.
#[derive(Default)]
struct ReleaseQueue {
    releases: VecDeque<PendingRelease>,
    /// Alive while a task sends them.
    sender: Weak<()>,
}

/// A release that a server has not confirmed.
struct PendingRelease {
    name: Arc<[u8]>,
    owner: Owner,
    until: Instant,
}

impl RedlockMember {
    pub(super) fn new(lock: RedisLock) -> Arc<Self> {
        Arc::new(Self { lock, queue: SpinMutex::default() })
    }

    /// Asks the server. A release without an answer is repeated in the background.
    pub(super) async fn ask(
        self: &Arc<Self>,
        name: Arc<[u8]>,
        owner: Owner,
        verb: Verb,
    ) -> Result<Option<u64>, BackendError> {
        let answer = self.lock.ask(&name, owner, verb).await;
        if let (Verb::Release, Err(failure)) = (verb, &answer)
            && is_worth_retrying(failure)
        {
            self.queue_release(PendingRelease { name, owner, until: Instant::now() + PATIENCE });
        }
        answer
    }

    /// Queues a release, and starts the task that sends the queue if none runs.
    fn queue_release(self: &Arc<Self>, release: PendingRelease) {
        let mut queue = self.queue.lock();
        if queue.releases.len() == MAX_QUEUED {
            queue.releases.pop_front();
        }
        queue.releases.push_back(release);
        if queue.sender.strong_count() == 0 {
            // Set under the lock, so that one task at a time sends.
            let sender = Arc::new(());
            queue.sender = Arc::downgrade(&sender);
            drop(queue);
            // Without a runtime, grants end with their TTL.
            let _ = net::spawn(Arc::clone(self).send(sender)).map(net::BackgroundTask::detach);
        }
    }

    /// Sends queued releases until none is left.
    async fn send(self: Arc<Self>, sender: Arc<()>) {
        for failures in 1.. {
            net::wait(WAITS.after(failures, random())).await;
            while let Some(some) = self.due() {
                let asked =
                    some.iter().map(|release| self.lock.ask(&release.name, release.owner, Verb::Release));
                let answers = join_all(asked).await;
                let unanswered: Vec<_> = some
                    .into_iter()
                    .zip(answers)
                    .filter(|(_, answer)| answer.as_ref().is_err_and(is_worth_retrying))
                    .map(|(release, _)| release)
                    .collect();
                if !unanswered.is_empty() {
                    // Behind newer releases, so a name that keeps failing delays no other.
                    self.queue.lock().releases.extend(unanswered);
                    break;
                }
            }
            let mut queue = self.queue.lock();
            if queue.releases.is_empty() {
                // Cleared under the lock: a release that is queued from now on starts a new task.
                queue.sender = Weak::new();
                return drop(sender);
            }
        }
    }

    /// Takes some releases, and drops those over their time. Returns `None` if there are none.
    fn due(&self) -> Option<Vec<PendingRelease>> {
        let (mut queue, now) = (self.queue.lock(), Instant::now());
        queue.releases.retain(|release| now < release.until);
        let some = queue.releases.len().min(BATCH);
        (some > 0).then(|| queue.releases.drain(..some).collect())
    }
}

/// Returns whether a server that failed this way may answer later.
fn is_worth_retrying(failure: &BackendError) -> bool {
    failure.kind() != ErrorKind::Closed
}
