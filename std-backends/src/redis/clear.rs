//! Clearing a namespace, a few keys at a time.

use redis::{FromRedisValue, RedisError};
use traffik_core::storage::BackendError;

use super::name;
use super::servers::Servers;
use super::session::Session;

/// Keys that a server looks at in one step.
const STEP: usize = 500;

/// Removes all keys of a namespace from all servers.
pub(super) async fn clear(servers: &Servers, namespace: &str) -> Result<(), BackendError> {
    let pattern = name::pattern(namespace);
    for master in servers.masters().await? {
        let mut cursor = 0u64;
        loop {
            let step = async |mut session| step(&mut session, cursor, &pattern).await;
            let (next, keys) = master.call(servers.end(), step).await?;
            for key in keys {
                // The key may have moved to another node, so it is looked up anew. `UNLINK` frees memory in
                // the background.
                let unlink = async |mut session: Session| session.ask(redis::cmd("UNLINK").arg(&key)).await;
                servers.call(&key, servers.end(), unlink).await?;
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Returns the keys found in one step, and the cursor of the next one.
async fn step(session: &mut Session, cursor: u64, pattern: &str) -> Result<(u64, Vec<Vec<u8>>), RedisError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
    Ok(FromRedisValue::from_redis_value(session.ask(&scan).await?)?)
}
