//! Counting checks: the server counts down for a check of cost 1 of a fixed window, and its reply decides.

use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Hit, Strategy, Timestamp, Verdict};
use traffik_runtimes::Connect;

use super::command::StoreCommand;
use super::counter::WindowCount;
use super::meta::{ArithmeticCommand, ArithmeticReply, DECREMENT};
use super::server::{End, Server};
use super::window::Window;

/// The outcome of counting one hit.
pub(super) enum CountOutcome<V> {
    Verdict(V),
    /// A denial after so many others that the count has to be reset.
    NeedsReset(V),
    /// Nothing was charged: the item is no count, or it has to be read first.
    NotCounted,
    /// The hit was counted at this time, but for the limit that held when the item was made. It has to be
    /// refunded.
    OtherLimit(Timestamp),
}

/// The item to count on, and the present time.
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    /// The expiry of an item that has yet to be made, as the protocol writes it.
    pub(super) expiry: u32,
    pub(super) now: Timestamp,
}

/// Counts one hit on the server, and decides by its reply.
pub(super) async fn count_hit<S: Strategy, R: Connect>(
    server: &Server<R>,
    Item { name, expiry, now }: Item<'_>,
    (strategy, hit): (&S, &Hit<S::Cost>),
    (window, first): (Window, WindowCount),
    mut end: End<'_>,
) -> Result<CountOutcome<S::Verdict>, BackendError> {
    let number = first.packed();
    let decrement = ArithmeticCommand { name, change: DECREMENT, first: number, expiry };
    let (value, unique) = match server.call(decrement, end.as_mut()).await? {
        ArithmeticReply::Value { value, unique } => (value, unique),
        ArithmeticReply::NotANumber => return Ok(CountOutcome::NotCounted),
    };
    let Some(count) = window.count(value, now) else { return Ok(CountOutcome::NotCounted) };
    if count.period == first.period && count.window < first.window {
        // The server has not expired the count of an earlier window yet: replace it by the first hit of this
        // one.
        let bytes = number.to_string();
        let replacement = StoreCommand { name, bytes: bytes.as_bytes(), expiry, unique: Some(unique) };
        if !Box::pin(server.call(replacement, end)).await? {
            return Ok(CountOutcome::NotCounted);
        }
        return confirmed(strategy.decide(&mut S::State::default(), hit, now), true);
    }
    if (count.limit, count.period) != (first.limit, first.period) {
        let at = window.counted_at(&count, now).filter(|_| count.is_admitted());
        return Ok(at.map_or(CountOutcome::NotCounted, CountOutcome::OtherLimit));
    }
    let mut state = window.state(strategy, hit.class, &count.before(), now);
    let outcome = confirmed(strategy.decide(&mut state, hit, now), count.is_admitted())?;
    Ok(match outcome {
        CountOutcome::Verdict(verdict) if count.needs_reset() => CountOutcome::NeedsReset(verdict),
        outcome => outcome,
    })
}

/// Returns the verdict if it agrees with the server's count.
///
/// # Errors
///
/// Fails with `Corrupt` if the server counted a hit that the strategy denies, or the reverse: no caller gets
/// a verdict that does not hold.
fn confirmed<V: Verdict>(verdict: V, is_counted: bool) -> Result<CountOutcome<V>, BackendError> {
    if verdict.is_dirty() == is_counted {
        return Ok(CountOutcome::Verdict(verdict));
    }
    Err(BackendError::new(ErrorKind::Corrupt, "the count on the server contradicts the limit"))
}
