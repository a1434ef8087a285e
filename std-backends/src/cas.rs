//! The compare-and-swap loop: any strategy on any store that can load and swap.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{ErrorKind, Failure};
use traffik_core::strategy::{State, decode, encode};
use traffik_core::{Class, Op, Strategy, Timestamp};

/// A store that keeps bytes by key, and replaces them if they are still what they were.
///
/// * A swap MUST be one atomic step: of two that were loaded alike, one is refused.
/// * What is stored MUST be gone once its time to live is over, and MUST NOT be gone before, unless the store says so.
/// * The clock MUST be one for all that share the store, or else the store states what its skew may add.
/// * A swap whose outcome is unknown MUST be reported as [`ErrorKind::Timeout`].
pub trait Swap: Send + Sync + 'static {
    /// What tells whether bytes are still what they were: a version, or the bytes themselves.
    type Mark: Send + 'static;

    /// What is stored at a key.
    fn load(&self, key: &[u8]) -> impl Future<Output = Result<Loaded<Self::Mark>, Failure>> + Send;

    /// Replaces what is stored at a key if it is still what was loaded; else answers what is there now.
    fn swap(
        &self,
        key: &[u8],
        mark: Self::Mark,
        change: Change,
    ) -> impl Future<Output = Result<Option<Loaded<Self::Mark>>, Failure>> + Send;
}

/// What was stored at a key, and when that was.
#[derive(Clone, Debug)]
pub struct Loaded<M> {
    /// The bytes, if there are any.
    pub bytes: Option<Vec<u8>>,
    /// What a swap is to be held against.
    pub mark: M,
    /// The present, by the clock of the store.
    pub now: Timestamp,
}

/// What is to be stored at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Remove,
    /// Bytes, for as long as this from now.
    Store(Vec<u8>, Duration),
}

impl Change {
    /// The longest that anything is kept: a century stands for ever.
    const LONGEST: u64 = 100 * 366 * 24 * 3_600 * 1_000_000;

    /// What is to be stored of a state that was left at this time.
    pub fn of<S: Strategy>(limit: &S, state: &S::State, class: Class, now: Timestamp) -> Self {
        // Short of what a clock that stepped back would make of it.
        let rest = limit.fresh_at(state, class).micros_since(now).min(limit.horizon()).min(Self::LONGEST);
        if rest == 0 || *state == S::State::default() {
            return Self::Remove;
        }
        let mut bytes = vec![0; S::State::MAX_LEN];
        // No state is longer than it says.
        let length = encode(state, &mut bytes).unwrap_or_default();
        bytes.truncate(length);
        Self::Store(bytes, Duration::from_micros(rest))
    }
}

/// How often an operation is tried before it is given up as [`ErrorKind::Contended`].
const ATTEMPTS: u32 = 32;

/// Applies an operation to the state at a key. Bytes that are no state of this strategy count as a key never seen.
pub async fn apply<S: Strategy, W: Swap>(
    store: Arc<W>,
    limit: S,
    key: Vec<u8>,
    op: Op<S>,
) -> Result<S::Verdict, Failure> {
    let mut loaded = store.load(&key).await?;
    for _ in 0..ATTEMPTS {
        let (mut state, now) = (state::<S>(loaded.bytes.as_deref()), loaded.now);
        let (verdict, written) = op.apply(&limit, &mut state, now);
        if !written {
            return Ok(verdict);
        }
        match store.swap(&key, loaded.mark, Change::of(&limit, &state, op.class(), now)).await? {
            None => return Ok(verdict),
            Some(changed) => loaded = changed,
        }
    }
    Err(Failure::new(ErrorKind::Contended, "others kept changing the same key; nothing was charged"))
}

/// The state that these bytes are, or that of a key never seen.
pub fn state<S: Strategy>(bytes: Option<&[u8]>) -> S::State {
    bytes.and_then(|bytes| decode(bytes).ok()).unwrap_or_default()
}
