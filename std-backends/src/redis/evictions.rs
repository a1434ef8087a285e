//! How a server makes room, and what it gave up for that: asked now and then beside a call.

use std::time::Instant;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Value};

use crate::util::evictions::EvictionWatch;

/// Asks a server for what it says of its memory.
pub(super) fn question() -> Cmd {
    let mut info = redis::cmd("INFO");
    info.arg("memory").arg("stats");
    info
}

/// Notes what a server says, and warns of what it gives up or is to give up. No failure here is one of the
/// call beside it.
pub(super) fn note(answer: Result<Value, RedisError>, watch: &EvictionWatch, server: impl Fn() -> String) {
    let text = answer.and_then(|answer| Ok(String::from_redis_value(answer)?));
    let Ok(memory) = text.and_then(|text| Memory::read(&text)) else { return watch.refused(Instant::now()) };
    if watch.end(memory.evicted) > 0 || memory.evicts() {
        watch.evictions.warn(|| memory.warning(&server()));
    }
}

/// The memory of a server, as it says.
struct Memory {
    evicted: u64,
    /// How much it may take, in bytes; 0 for as much as there is.
    most: u64,
    /// Which keys it gives up when that is full.
    policy: String,
}

impl Memory {
    fn read(info: &str) -> Result<Self, RedisError> {
        let field = |name| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = |name| field(name).and_then(|value| value.parse().ok());
        let evicted = number("evicted_keys").ok_or((ErrorKind::Parse, "INFO tells no evictions"))?;
        // Where these are hidden, evictions are noticed when there are some.
        let policy = field("maxmemory_policy").unwrap_or_default().to_owned();
        Ok(Self { evicted, most: number("maxmemory").unwrap_or(0), policy })
    }

    /// Whether keys with a time to live, as all states have, are given up when memory is full.
    fn evicts(&self) -> bool {
        self.most > 0 && (self.policy.starts_with("allkeys-") || self.policy.starts_with("volatile-"))
    }

    fn warning(&self, server: &str) -> String {
        let Self { evicted, most, policy } = self;
        let done = if self.evicts() {
            format!("gives up keys when {most} bytes are full (maxmemory-policy {policy}), {evicted} so far")
        } else {
            format!("has given up {evicted} keys for want of memory")
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
        let memory = Memory::read(&info).unwrap();
        assert_eq!(memory.evicted, 7);
        memory.evicts()
    }

    #[test]
    fn policies_are_told_apart_by_whether_states_are_given_up() {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl", "volatile-lru"] {
            assert!(evicts("2097152", policy) && !evicts("0", policy), "{policy}");
        }
        assert!(!evicts("2097152", "noeviction") && !evicts("2097152", "hidden"));
        assert!(Memory::read("maxmemory:1\r\n").is_err());
    }
}
