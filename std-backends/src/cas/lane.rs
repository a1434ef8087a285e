//! The operations that are under way on one key, and the future that carries them.
//!
//! Nobody owns that future: it lies in the lane, and whoever waits for one of the operations polls it. So it goes on
//! until the last of them is answered or dropped, whoever came first.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use traffik_core::ErrorKind;
use traffik_core::storage::{BoxFuture, Failure};

use super::combining::Lanes;
use super::operation::{Operation, Ran};
use super::{Change, Loaded, Swap};

pub(super) struct Lane<W: Swap> {
    pub(super) lanes: Arc<Lanes<W>>,
    pub(super) key: Vec<u8>,
    line: Mutex<Line<W>>,
    /// Not there while it is polled, and once it is done.
    carrier: Mutex<Option<BoxFuture<'static, ()>>>,
    /// Whether the carrier has something to do since it was polled last.
    is_woken: AtomicBool,
}

struct Line<W> {
    /// The next operation's number: they are run in this order.
    next: u64,
    waiting: BTreeMap<u64, Arc<dyn Operation<W>>>,
    carried: Vec<Carried<W>>,
    /// How many are waited for.
    present: usize,
    /// No more operations are taken.
    is_closed: bool,
}

struct Carried<W> {
    operation: Arc<dyn Operation<W>>,
    /// How often it has been run in vain.
    attempts: u32,
}

impl<W: Swap> Lane<W> {
    pub(super) fn new(lanes: Arc<Lanes<W>>, key: Vec<u8>) -> Arc<Self> {
        let line =
            Line { next: 0, waiting: BTreeMap::new(), carried: Vec::new(), present: 0, is_closed: false };
        let lane = Arc::new(Self {
            lanes,
            key,
            line: Mutex::new(line),
            carrier: Mutex::new(None),
            is_woken: AtomicBool::new(false),
        });
        // A circle, which is cut when the lane is closed: then the carrier has ended, or is dropped.
        *lane.carrier() = Some(Box::pin(super::carry::carry(lane.clone())));
        lane
    }

    /// Takes an operation, and tells its number.
    pub(super) fn add(&self, operation: Arc<dyn Operation<W>>) -> u64 {
        let mut line = self.line();
        let number = line.next;
        line.next += 1;
        line.present += 1;
        line.waiting.insert(number, operation);
        number
    }

    /// Nobody waits for an operation any more.
    pub(super) fn remove(&self, number: u64) {
        let (removed, is_empty) = {
            let mut line = self.line();
            line.present = line.present.saturating_sub(1);
            (line.waiting.remove(&number), line.present == 0 && !line.is_closed)
        };
        drop(removed);
        if is_empty && self.close_if(|line| line.present == 0) {
            let carrier = self.carrier().take();
            drop(carrier);
            // What it had in hand holds it no longer.
            let carried = std::mem::take(&mut self.line().carried);
            drop(carried);
        }
    }

    /// Lets the carrier go on, unless somebody else is at it.
    pub(super) fn carry_on(self: &Arc<Self>) {
        let Some(mut carrier) = self.carrier().take() else { return };
        self.is_woken.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.clone());
        let polled =
            catch_unwind(AssertUnwindSafe(|| carrier.as_mut().poll(&mut Context::from_waker(&waker))));
        match polled {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => {
                *self.carrier() = Some(carrier);
                if self.is_woken.swap(false, Ordering::SeqCst) {
                    // Whoever was woken meanwhile has found it gone.
                    self.wake_all();
                }
            }
            Err(panic) => {
                self.break_down();
                resume_unwind(panic);
            }
        }
    }

    /// Takes what waits in hand. If there is nothing, the lane is closed, and answers false.
    pub(super) fn take_up(&self) -> bool {
        loop {
            self.join();
            if self.has_carried() {
                return true;
            }
            if self.close_if(|line| line.waiting.is_empty()) {
                return false;
            }
        }
    }

    /// Takes what waits in hand, too.
    pub(super) fn join(&self) {
        let line = &mut *self.line();
        let waiting = std::mem::take(&mut line.waiting).into_values();
        line.carried.extend(waiting.map(|operation| Carried { operation, attempts: 0 }));
    }

    /// Runs what is in hand, one after another, on what was loaded; tells what is to be stored, if something is.
    pub(super) fn run(&self, loaded: &Loaded<W::Mark>) -> Option<Change> {
        let (mut stored, mut change) = (loaded.bytes.clone(), None);
        let mut carried = std::mem::take(&mut self.line().carried);
        carried.retain(|it| match it.operation.run(&self.lanes.store, stored.as_deref(), loaded.now) {
            Ran::Left => false,
            Ran::Unchanged => true,
            Ran::Changed(changed) => {
                stored = match &changed {
                    Change::Remove => None,
                    Change::Store(bytes, _) => Some(bytes.clone()),
                };
                change = Some(changed);
                true
            }
        });
        self.line().carried = carried;
        // What was not there need not be removed.
        change.filter(|change| loaded.bytes.is_some() || *change != Change::Remove)
    }

    /// Nothing of what is in hand was stored. What has been tried so often is told so.
    pub(super) fn recall(&self, most: u32) {
        let mut given_up = Vec::new();
        {
            let line = &mut *self.line();
            for it in &mut line.carried {
                it.attempts += 1;
                it.operation.recall();
            }
            given_up.extend(line.carried.extract_if(.., |it| it.attempts >= most));
        }
        let contended =
            Failure::new(ErrorKind::Contended, "others kept changing the same key; nothing was charged");
        given_up.into_iter().for_each(|it| it.operation.fail(contended.clone()));
    }

    pub(super) fn has_carried(&self) -> bool {
        !self.line().carried.is_empty()
    }

    /// What is in hand has come to what it came to.
    pub(super) fn settle(&self) {
        self.end(|operation| operation.settle());
    }

    pub(super) fn fail(&self, failure: &Failure) {
        self.end(|operation| operation.fail(failure.clone()));
    }

    fn end(&self, end: impl Fn(&dyn Operation<W>)) {
        let carried = std::mem::take(&mut self.line().carried);
        carried.iter().for_each(|it| end(&*it.operation));
    }

    /// The store panicked, and nobody knows in what.
    fn break_down(&self) {
        self.close_if(|_| true);
        self.join();
        self.fail(&Failure::new(
            ErrorKind::Timeout,
            "the store panicked; what it was doing may have been done",
        ));
    }

    /// Closes the lane if this holds, so that whoever comes next makes a new one.
    fn close_if(&self, holds: impl Fn(&Line<W>) -> bool) -> bool {
        let mut lanes = self.lanes.open();
        let mut line = self.line();
        if line.is_closed || !holds(&line) {
            return line.is_closed;
        }
        line.is_closed = true;
        lanes.remove(&self.key);
        true
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let line = self.line();
            let carried = line.carried.iter().map(|it| &it.operation);
            line.waiting.values().chain(carried).filter_map(|operation| operation.waker()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn line(&self) -> MutexGuard<'_, Line<W>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carrier(&self) -> MutexGuard<'_, Option<BoxFuture<'static, ()>>> {
        self.carrier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever waits may carry on. All are woken: nobody knows which of them is going to poll again soon, and a lane must not
/// stand still because one of them does not.
impl<W: Swap> Wake for Lane<W> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.wake_all();
    }
}
