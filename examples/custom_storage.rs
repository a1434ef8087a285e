//! A custom storage: a map of states encoded as bytes, as any byte store would keep them.
//!
//! The strategy makes the decision; a storage only has to load, apply and store in one atomic step. The laws
//! on storages check that it agrees with the pure function and fulfils its other duties.

use std::collections::HashMap;
use std::sync::Mutex;

use traffik::laws::{self, Step};
use traffik::strategy::{decode, encode};
use traffik::{
    Clock, ErrorKind, Gcra, Key, Limiter, Op, State, Storage, StorageError, Strategy, SystemClock, Timestamp,
    rate,
};

/// Encoded states by key.
#[derive(Default)]
struct Bytes(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

fn name(key: &(impl Key + ?Sized)) -> Vec<u8> {
    let mut name = Vec::new();
    key.feed(&mut |piece: &[u8]| name.extend_from_slice(piece));
    name
}

const POISONED: StorageError =
    StorageError::new(ErrorKind::Other, "another thread panicked while it held the map");

impl<S: Strategy> Storage<S> for Bytes {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn apply<K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        let mut map = self.0.lock().map_err(|_| POISONED)?;
        let key = name(key);
        // A state that cannot be decoded counts as a key never seen.
        let mut state = map.get(&key).and_then(|bytes| decode(bytes).ok()).unwrap_or_default();
        let is_moved = strategy.rebase(&mut state, now); // if the clock was set back
        let (verdict, is_changed) = op.apply(strategy, &mut state, now);
        if is_moved || is_changed {
            let mut bytes = vec![0; S::State::MAX_LEN];
            let length = encode(&state, &mut bytes);
            bytes.truncate(length.ok_or(StorageError::new(
                ErrorKind::Other,
                "the encoded state is longer than State::MAX_LEN",
            ))?);
            map.insert(key, bytes);
        }
        Ok(verdict)
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        let map = self.0.lock().map_err(|_| POISONED)?;
        Ok(map.get(&name(key)).and_then(|bytes| decode(bytes).ok()).unwrap_or_default())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = Gcra::new(rate!("2/s")).burst(3)?;
    let run: Vec<_> = (0..50).map(|step| Step::new(Timestamp::from_micros(step * 170_000), 1)).collect();
    laws::storage_agrees(&limit, &Bytes::default(), "law", &run)?;
    laws::storage::every(&limit, &Bytes::default())?;

    let limiter = Limiter::new(limit, Bytes::default());
    for _ in 0..4 {
        println!("{:?}", limiter.check(&("uplink", 7u32))?);
    }
    Ok(())
}
