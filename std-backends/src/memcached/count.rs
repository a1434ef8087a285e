//! A check of cost 1 of a fixed window: the server counts down, and says what it came to.

use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Hit, Strategy, Timestamp, Verdict};
use traffik_runtimes::Connect;

use super::command::Store;
use super::counter::Count;
use super::meta::{Count as CountOne, Counted, TAKEN};
use super::server::{End, Server};
use super::window::Window;

/// The result of counting.
pub(super) enum Told<V> {
    Verdict(V),
    /// A denial, and so many before it that the count has to be brought back.
    Deep(V),
    /// Nothing was charged: the item is no count, or one that has to be looked at.
    Nothing,
    /// It was counted at this time, but not for this limit: another held when the item was made. It has to be
    /// taken back.
    Charged(Timestamp),
}

/// Which item is counted on, and when.
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    /// For how long the server is to keep it if it is new.
    pub(super) expiry: u32,
    pub(super) now: Timestamp,
}

/// Counts one hit.
pub(super) async fn one<S: Strategy, R: Connect>(
    server: &Server<R>,
    Item { name, expiry, now }: Item<'_>,
    (limit, hit): (&S, &Hit<S::Cost>),
    (window, first): (Window, Count),
    mut end: End<'_>,
) -> Result<Told<S::Verdict>, BackendError> {
    let number = first.packed();
    let taken = CountOne { name, change: TAKEN, first: number, expiry };
    let (value, unique) = match server.call(taken, end.as_mut()).await? {
        Counted::To { value, unique } => (value, unique),
        Counted::Not => return Ok(Told::Nothing),
    };
    let Some(count) = window.count(value, now) else { return Ok(Told::Nothing) };
    if count.period == first.period && count.window < first.window {
        // The server has not given up an earlier window yet.
        let bytes = number.to_string();
        let replaced = Store { name, bytes: bytes.as_bytes(), expiry, unique: Some(unique) };
        if !Box::pin(server.call(replaced, end)).await? {
            return Ok(Told::Nothing);
        }
        return confirmed(limit.decide(&mut S::State::default(), hit, now), true);
    }
    if (count.limit, count.period) != (first.limit, first.period) {
        let at = window.counted_at(&count, now).filter(|_| count.is_admitted());
        return Ok(at.map_or(Told::Nothing, Told::Charged));
    }
    let mut state = window.state(limit, hit.class, &count.before(), now);
    let told = confirmed(limit.decide(&mut state, hit, now), count.is_admitted())?;
    Ok(match told {
        Told::Verdict(verdict) if count.is_deep() => Told::Deep(verdict),
        told => told,
    })
}

/// The verdict, if it is what has been counted. Nobody is told what is not so.
fn confirmed<V: Verdict>(verdict: V, is_counted: bool) -> Result<Told<V>, BackendError> {
    if verdict.is_dirty() == is_counted {
        return Ok(Told::Verdict(verdict));
    }
    Err(BackendError::new(ErrorKind::Corrupt, "the server counted otherwise than the limit does"))
}
