//! A strategy over encoded states, so that the states of all strategies fit one table.

use traffik_core::strategy::{InlineState, State, decode, encode};
use traffik_core::{Class, Hit, Op, Strategy, Timestamp, Verdict};

/// The strategy `S` over encoded states of at most `ROOM` bytes.
#[derive(Clone)]
pub(super) struct EncodedStrategy<S, const ROOM: usize>(pub(super) S);

impl<S: Strategy, const ROOM: usize> EncodedStrategy<S, ROOM> {
    /// Converts an operation.
    #[inline(always)]
    pub(super) const fn op(op: &Op<S>) -> Op<Self> {
        match *op {
            Op::Check(hit) => Op::Check(hit),
            Op::Peek(hit) => Op::Peek(hit),
            Op::Charge(hit) => Op::Charge(hit),
            Op::Refund(hit, receipt) => Op::Refund(hit, receipt),
            Op::Reset => Op::Reset,
        }
    }
}

/// Decodes a state. Bytes of another strategy count as the state of a key never seen, as in every storage.
#[inline]
pub(super) fn read<T: State, const ROOM: usize>(bytes: &InlineState<ROOM>) -> T {
    decode(bytes.bytes()).unwrap_or_default()
}

/// Returns a number for the form of a state. It becomes part of the key's digest, so that states of
/// different forms never share a slot. It depends on the length and on the bytes of a key never seen, which
/// hold the tags of all parts.
#[inline]
pub(super) fn form<T: State, const ROOM: usize>() -> u64 {
    /// 2⁶⁴ divided by the golden ratio: bits without a pattern.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bytes = [0; ROOM];
    let length = encode(&T::default(), &mut bytes).unwrap_or_default();
    // Each word has eight bytes; bytes beyond the length are 0.
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let words = bytes.chunks(8).take(length.div_ceil(8)).map(word);
    // form = (form ^ word) * GOLDEN mod 2^64 for each word.
    words.fold(T::MAX_LEN as u64, |form, word| (form ^ word).wrapping_mul(GOLDEN))
}

impl<S: Strategy, const ROOM: usize> Strategy for EncodedStrategy<S, ROOM> {
    type State = InlineState<ROOM>;
    type Cost = S::Cost;
    type Verdict = S::Verdict;
    type Stat = ();

    #[inline]
    fn decide(&self, state: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> S::Verdict {
        // Decode, decide, encode: the typed strategy sees the same state as in a `Memory` for this strategy
        // alone.
        let mut typed = read(state);
        let verdict = self.0.decide(&mut typed, hit, now);
        // Every decision that changes a state is dirty.
        if verdict.is_dirty() {
            *state = InlineState::of(&typed);
        }
        verdict
    }

    fn peek(&self, state: &Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> S::Verdict {
        self.0.peek(&read(state), hit, now)
    }

    fn charge(&self, state: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) {
        let mut typed = read(state);
        self.0.charge(&mut typed, hit, now);
        *state = InlineState::of(&typed);
    }

    fn refund(
        &self,
        state: &mut Self::State,
        hit: &Hit<S::Cost>,
        receipt: <S::Verdict as Verdict>::Receipt,
        now: Timestamp,
    ) {
        let mut typed = read(state);
        self.0.refund(&mut typed, hit, receipt, now);
        *state = InlineState::of(&typed);
    }

    #[inline]
    fn expires_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.0.expires_at(&read(state), class)
    }

    fn max_ttl(&self) -> u64 {
        self.0.max_ttl()
    }

    fn rebase(&self, state: &mut Self::State, now: Timestamp) -> bool {
        let mut typed = read(state);
        let is_moved = self.0.rebase(&mut typed, now);
        if is_moved {
            *state = InlineState::of(&typed);
        }
        is_moved
    }

    /// Returns nothing: a table needs no statistics.
    fn stat(&self, _: &Self::State, _: Class, _: Timestamp) {}
}
