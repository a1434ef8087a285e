//! Forgetting a namespace, a few keys at a time.

use redis::{FromRedisValue, RedisError};
use traffik_core::storage::Failure;

use super::link::{Link, Node, Session};
use super::name;

/// How many keys a server looks at in one step.
const STEP: usize = 500;

pub(super) async fn clear(link: &Link, namespace: &str) -> Result<(), Failure> {
    let pattern = name::pattern(namespace);
    for node in link.call(link.end(), async |session| session.nodes().await).await? {
        let mut cursor = 0u64;
        loop {
            cursor =
                link.call(link.end(), async |session| step(&session, &node, cursor, &pattern).await).await?;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Removes what is found in one step, without making the server wait for memory to be freed.
async fn step(session: &Session, node: &Node, cursor: u64, pattern: &str) -> Result<u64, RedisError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
    let (next, keys): (u64, Vec<Vec<u8>>) =
        FromRedisValue::from_redis_value(session.ask_of(&scan, node).await?)?;
    for key in keys {
        session.ask(redis::cmd("UNLINK").arg(key)).await?;
    }
    Ok(next)
}
