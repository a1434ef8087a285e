//! Forgetting a namespace, a few keys at a time.

use redis::{FromRedisValue, RedisError};
use traffik_core::storage::BackendError;

use super::name;
use super::servers::Servers;
use super::session::Session;

/// How many keys a server looks at in one step.
const STEP: usize = 500;

pub(super) async fn clear(servers: &Servers, namespace: &str) -> Result<(), BackendError> {
    let pattern = name::pattern(namespace);
    for master in servers.masters().await? {
        let mut cursor = 0u64;
        loop {
            let step = async |mut session| step(&mut session, cursor, &pattern).await;
            let (next, keys) = master.call(servers.end(), step).await?;
            for key in keys {
                // It may be elsewhere by now. Nobody waits for the memory to be freed.
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

/// What is found in one step, and where the next one begins.
async fn step(session: &mut Session, cursor: u64, pattern: &str) -> Result<(u64, Vec<Vec<u8>>), RedisError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
    Ok(FromRedisValue::from_redis_value(session.ask(&scan).await?)?)
}
