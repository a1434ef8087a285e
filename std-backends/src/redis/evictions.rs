//! The evictions of a server and its eviction policy, read now and then beside a call.

use std::time::Instant;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Value};

use crate::util::evictions::EvictionWatch;

/// Returns the command that asks a server for its memory statistics.
pub(super) fn question() -> Cmd {
    let mut info = redis::cmd("INFO");
    info.arg("memory").arg("stats");
    info
}

/// Records a server's answer, and warns if it has evicted keys or is configured to. A failure here never
/// fails the call beside it.
pub(super) fn note(answer: Result<Value, RedisError>, watch: &EvictionWatch, server: impl Fn() -> String) {
    let text = answer.and_then(|answer| Ok(String::from_redis_value(answer)?));
    let Ok(memory) = text.and_then(|text| MemoryInfo::read(&text)) else {
        return watch.refused(Instant::now());
    };
    if watch.end(memory.evicted) > 0 || memory.evicts() {
        watch.evictions.warn(|| memory.warning(&server()));
    }
}

/// The memory statistics of a server.
struct MemoryInfo {
    evicted: u64,
    /// The most memory for data, in bytes; 0 if there is no bound.
    most: u64,
    /// The policy that selects keys to evict.
    policy: String,
}

impl MemoryInfo {
    fn read(info: &str) -> Result<Self, RedisError> {
        let field = |name| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = |name| field(name).and_then(|value| value.parse().ok());
        let evicted = number("evicted_keys").ok_or((ErrorKind::Parse, "INFO reports no evictions"))?;
        // A managed server may hide these; evictions are then noticed once there are some.
        let policy = field("maxmemory_policy").unwrap_or_default().to_owned();
        Ok(Self { evicted, most: number("maxmemory").unwrap_or(0), policy })
    }

    /// Returns whether the server evicts keys with a time to live, as all states have, when memory is full.
    fn evicts(&self) -> bool {
        self.most > 0 && (self.policy.starts_with("allkeys-") || self.policy.starts_with("volatile-"))
    }

    fn warning(&self, server: &str) -> String {
        let Self { evicted, most, policy } = self;
        let done = if self.evicts() {
            format!("evicts keys when {most} bytes are full (maxmemory-policy {policy}), {evicted} so far")
        } else {
            format!("has evicted {evicted} keys for lack of memory")
        };
        format!(
            "Redis at {server} {done}: each key among them has its whole limit again; set maxmemory-policy to \
             noeviction, with memory (maxmemory) for all keys"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evicts(most: &str, policy: &str) -> bool {
        let info = format!("# Stats\r\nevicted_keys:7\r\nmaxmemory:{most}\r\nmaxmemory_policy:{policy}\r\n");
        let memory = MemoryInfo::read(&info).unwrap();
        assert_eq!(memory.evicted, 7);
        memory.evicts()
    }

    #[test]
    fn policies_are_told_apart_by_whether_states_are_given_up() {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl", "volatile-lru"] {
            assert!(evicts("2097152", policy) && !evicts("0", policy), "{policy}");
        }
        assert!(!evicts("2097152", "noeviction") && !evicts("2097152", "hidden"));
        assert!(MemoryInfo::read("maxmemory:1\r\n").is_err());
    }
}
