//! The slot map of a cluster, as its nodes report it.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{FromRedisValue, Value};
use traffik_core::storage::{BackendError, ErrorKind};

use crate::redis::net::address::HostPort;
use crate::redis::net::link::{Link, NodeRole};
use crate::redis::net::session::NetSession;
use crate::redis::net::timer;
use crate::util::race::{Either, race};

/// The number of slots.
const SLOTS: u16 = 16_384;

/// Time for which other nodes are waited for after one that knows only some slots.
const PATIENCE: Duration = Duration::from_millis(50);

/// Ranges of slots: the first slot, the last slot, and the address of the master.
pub(super) type SlotRanges = Vec<(u16, u16, HostPort)>;

/// Returns the first answer that covers all slots, or else, after 50 ms, the one that covers most: a node
/// that has just joined knows few.
pub(super) async fn most_complete(
    asked: Vec<impl Future<Output = Result<SlotRanges, BackendError>> + Unpin>,
) -> Result<SlotRanges, BackendError> {
    let mut asked: FuturesUnordered<_> = asked.into_iter().collect();
    let (mut best, mut failed): (Option<SlotRanges>, _) = (None, None);
    let size =
        |served: &SlotRanges| served.iter().map(|(first, last, _)| u32::from(last - first) + 1).sum::<u32>();
    let mut soon = pin!(timer::wait(PATIENCE));
    loop {
        let answer = match (best.is_some(), asked.next()) {
            (false, answer) => answer.await,
            (true, answer) => match race(answer, soon.as_mut()).await {
                Either::Left(answer) => answer,
                Either::Right(()) => None,
            },
        };
        match answer {
            Some(Ok(served)) if size(&served) >= u32::from(SLOTS) => return Ok(served),
            Some(Ok(served)) if best.as_ref().is_none_or(|best| size(best) < size(&served)) => {
                best = Some(served);
            }
            Some(Ok(_)) => {}
            Some(Err(failure)) => failed = Some(failure),
            None => break,
        }
    }
    let nobody = || BackendError::new(ErrorKind::Unavailable, "no node of the cluster was asked");
    best.ok_or_else(|| failed.unwrap_or_else(nobody))
}

/// Asks a node for its slot map.
pub(super) async fn fetch_slots(link: &Link, own: &str, until: Instant) -> Result<SlotRanges, BackendError> {
    let ask = async |mut session: NetSession| session.ask(redis::cmd("CLUSTER").arg("SLOTS")).await;
    let reply = link.call_as(until, NodeRole::Node, ask).await?;
    let unexpected_reply =
        || BackendError::new(ErrorKind::Other, "the server is not a cluster node that serves keys");
    let ranges: Vec<Vec<Value>> = FromRedisValue::from_redis_value(reply).map_err(|_| unexpected_reply())?;
    let mut served = Vec::new();
    for range in ranges {
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &range[..] else { continue };
        let [host, Value::Int(port), ..] = &master[..] else { continue };
        let host = match host {
            Value::BulkString(host) => String::from_utf8_lossy(host).into_owned(),
            _ => String::new(),
        };
        let (Ok(first), Ok(last), Ok(port)) = ((*first).try_into(), (*last).try_into(), (*port).try_into())
        else {
            continue;
        };
        // `?` means that the node does not know that master's host.
        if host != "?" {
            served.push((first, last, (reached_by(&host, own), port)));
        }
    }
    if served.is_empty() { Err(unexpected_reply()) } else { Ok(served) }
}

/// Returns the host that a node names, or the node's own host if it names none.
pub(super) fn reached_by(named: &str, own: &str) -> String {
    let named = named.trim_start_matches('[').trim_end_matches(']');
    if matches!(named, "" | "0.0.0.0" | "::") { own.to_owned() } else { named.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_reached_where_they_say_or_where_they_answered() {
        for (named, host) in
            [("10.0.0.1", "10.0.0.1"), ("", "me"), ("0.0.0.0", "me"), ("::", "me"), ("[::1]", "::1")]
        {
            assert_eq!(reached_by(named, "me"), host);
        }
    }
}
