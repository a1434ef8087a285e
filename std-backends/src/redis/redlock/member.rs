//! The servers, and the releases that each has yet to hear of.

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

/// For how long a server that does not answer is asked for a release. After that the TTL of the grant is all
/// there is.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many releases are kept for a server; the oldest are given up for new ones.
const MOST: usize = 4_096;

/// How many are sent at once.
const AT_ONCE: usize = 64;

const WAITS: Backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_millis(500));

pub(super) struct Members {
    pub(super) all: Vec<Arc<Member>>,
    /// The owners of grants that are held while some server has yet to answer whether it grants them.
    pub(super) held: SpinMutex<HashSet<Owner>>,
}

pub(super) struct Member {
    pub(super) lock: RedisLock,
    owed: SpinMutex<Owed>,
}

/// The releases that the server did not answer.
#[derive(Default)]
struct Owed {
    releases: VecDeque<Release>,
    /// There while a task sends them.
    sender: Weak<()>,
}

struct Release {
    name: Arc<[u8]>,
    owner: Owner,
    until: Instant,
}

impl Member {
    pub(super) fn new(lock: RedisLock) -> Arc<Self> {
        Arc::new(Self { lock, owed: SpinMutex::default() })
    }

    /// Asks the server. A release that it does not answer is sent again in the background.
    pub(super) async fn ask(
        self: &Arc<Self>,
        name: Arc<[u8]>,
        owner: Owner,
        verb: Verb,
    ) -> Result<Option<u64>, BackendError> {
        let answer = self.lock.ask(&name, owner, verb).await;
        if let (Verb::Release, Err(failure)) = (verb, &answer)
            && is_worth_another(failure)
        {
            self.owe(Release { name, owner, until: Instant::now() + PATIENCE });
        }
        answer
    }

    fn owe(self: &Arc<Self>, release: Release) {
        let mut owed = self.owed.lock();
        if owed.releases.len() == MOST {
            owed.releases.pop_front();
        }
        owed.releases.push_back(release);
        if owed.sender.strong_count() == 0 {
            let sender = Arc::new(());
            owed.sender = Arc::downgrade(&sender);
            drop(owed);
            // Where nothing can run, grants end with their TTL.
            let _ = net::spawn(Arc::clone(self).send(sender)).map(net::BackgroundTask::detach);
        }
    }

    /// Sends what is owed until nothing is.
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
                    .filter(|(_, answer)| answer.as_ref().is_err_and(is_worth_another))
                    .map(|(release, _)| release)
                    .collect();
                if !unanswered.is_empty() {
                    self.owed.lock().releases.extend(unanswered);
                    break;
                }
            }
            let mut owed = self.owed.lock();
            if owed.releases.is_empty() {
                // Within the lock: whoever owes from now on begins anew.
                owed.sender = Weak::new();
                return drop(sender);
            }
        }
    }

    /// Takes some of the releases; those whose time is over are dropped. `None` if there are none.
    fn due(&self) -> Option<Vec<Release>> {
        let (mut owed, now) = (self.owed.lock(), Instant::now());
        owed.releases.retain(|release| now < release.until);
        let some = owed.releases.len().min(AT_ONCE);
        (some > 0).then(|| owed.releases.drain(..some).collect())
    }
}

/// Whether a server that failed this way may answer later.
fn is_worth_another(failure: &BackendError) -> bool {
    failure.kind() != ErrorKind::Closed
}
