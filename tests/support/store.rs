//! A store of bytes that can only get and set, in this process: slow by a turn of the executor, and faulty at
//! will.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use traffik::storage::BackendError;
use traffik::{Clock, ErrorKind, KeyValueStore, Timestamp};

/// The fault of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    GetFails(ErrorKind),
    GetHangs,
    SetFails(ErrorKind),
    /// The bytes arrive, and the answer never does.
    SetHangs,
    NamesAreCut,
    NothingIsRemoved,
}

pub struct Store<C> {
    kept: Arc<Mutex<HashMap<Vec<u8>, (Vec<u8>, Timestamp)>>>,
    pub clock: C,
    fault: Mutex<Fault>,
    writes: AtomicU64,
}

impl<C: Clock> Store<C> {
    pub fn new(clock: C) -> Self {
        Self { kept: Arc::default(), clock, fault: Mutex::new(Fault::None), writes: AtomicU64::new(0) }
    }

    pub fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub fn faulty(self, fault: Fault) -> Self {
        self.fail(fault);
        self
    }

    /// How often bytes were set.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// When the bytes of a key will be over.
    pub fn end(&self, key: &[u8]) -> Option<Timestamp> {
        self.kept.lock().unwrap().get(key).map(|(_, end)| *end)
    }

    pub fn put(&self, key: &[u8], bytes: &[u8], ttl: Duration) {
        let mut kept = self.kept.lock().unwrap();
        if !bytes.is_empty() {
            kept.insert(self.name(key), (bytes.to_vec(), self.clock.now() + ttl));
        } else if self.fault() != Fault::NothingIsRemoved {
            kept.remove(&self.name(key));
        }
    }

    fn name(&self, key: &[u8]) -> Vec<u8> {
        let cut = self.fault() == Fault::NamesAreCut;
        key.iter().copied().take(if cut { 250 } else { usize::MAX }).collect()
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }
}

impl<C: Clock + Send + Sync + 'static> KeyValueStore for Store<C> {
    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        turn().await;
        match self.fault() {
            Fault::GetFails(kind) => return Err(BackendError::new(kind, "no get")),
            Fault::GetHangs => pending().await,
            _ => {}
        }
        let kept = self.kept.lock().unwrap();
        let found = kept.get(&self.name(key)).filter(|(_, end)| *end > self.clock.now());
        Ok(found.map(|(bytes, _)| bytes.clone()))
    }

    async fn set(&self, key: &[u8], bytes: &[u8], ttl: Duration) -> Result<(), BackendError> {
        turn().await;
        if let Fault::SetFails(kind) = self.fault() {
            return Err(BackendError::new(kind, "no set"));
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.put(key, bytes, ttl);
        if self.fault() == Fault::SetHangs {
            pending::<()>().await;
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Lets everything else that is ready run first.
async fn turn() {
    let mut waited = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
