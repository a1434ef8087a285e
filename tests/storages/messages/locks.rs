//! Locks: settings, locks that others hold, and stores that do not answer.

use std::future::pending;
use std::time::Duration;

use traffik::lock::{Grant, Lock, LockSettings, Locks, MemoryLock, Ttl};
use traffik::runtime::Manual;
use traffik::storage::{BackendError, Reply};
use traffik::{AsyncLimiter, ErrorKind, LockedStorage, RedisStorage, Redlock, TokenBucket, rate};
use traffik_test_support::store::{Fault, Store};

use super::{Messages, refused};

const SECOND: Duration = Duration::from_secs(1);

/// A store that answers no question about a lock.
struct Hung;

impl Lock for Hung {
    fn try_acquire(&self, _: &[u8], _: Ttl) -> Reply<Option<Grant>> {
        Reply::pending(pending())
    }

    fn renew(&self, _: &Grant, _: Ttl) -> Reply<bool> {
        Reply::pending(pending())
    }

    fn release(&self, _: Grant) -> Reply<bool> {
        Reply::ready(Ok(true))
    }
}

pub(super) fn provoke(messages: &mut Messages) {
    settings(messages);
    held(messages);
    storages(messages);
}

fn variable(name: &str, value: &str) -> Result<LockSettings, traffik::lock::SettingsError> {
    LockSettings::from_variables(|asked| (asked == name).then(|| value.into()))
}

fn settings(messages: &mut Messages) {
    messages.section("Settings of locks");
    let redis = || RedisStorage::url("redis://10.0.0.1").unwrap().build().unwrap().lock();
    refused! { messages:
        Ttl::new(Duration::ZERO);
        LockSettings::new().ttl(Duration::ZERO).resolve();
        variable("TRAFFIK_DEFAULT_LOCK_TTL", "0");
        variable("TRAFFIK_DEFAULT_LOCK_TTL", "5s");
        variable("TRAFFIK_DEFAULT_BLOCKING", "maybe");
        variable("TRAFFIK_DEFAULT_BLOCKING_TIMEOUT", "-1");
        Redlock::new([redis(), redis()]);
    }
}

fn held(messages: &mut Messages) {
    messages.section("Locks that are held or lost");
    let runtime = Manual::new();
    let run = |settings: LockSettings| {
        let locks = Locks::new(MemoryLock::with_clock(runtime.clone()), runtime.clone()).with(settings);
        let held = runtime.run(locks.lock("report")).unwrap().unwrap();
        let again = runtime.run(locks.lock("report")).unwrap();
        drop(held);
        again
    };
    let settings = LockSettings::new().ttl(10 * SECOND);
    let waits = settings.blocking(true).blocking_timeout(3 * SECOND);
    let lost = || {
        let locks = Locks::new(MemoryLock::with_clock(runtime.clone()), runtime.clone()).with(settings);
        let held = runtime.run(locks.lock("report")).unwrap().unwrap();
        runtime.advance(11 * SECOND);
        held
    };
    let hung = Locks::new(Hung, runtime.clone()).with(waits);
    refused! { messages:
        run(settings.blocking(false));
        run(waits);
        runtime.run(lost().renew()).unwrap();
        runtime.run(lost().release()).unwrap();
        runtime.run(hung.lock("report")).unwrap();
    }
}

fn storages(messages: &mut Messages) {
    messages.section("Storages that lock each key");
    let runtime = Manual::new();
    let settings = LockSettings::new().ttl(10 * SECOND).blocking(true).blocking_timeout(3 * SECOND);
    let check = |fault: Fault| -> Result<_, BackendError> {
        let locks = Locks::new(MemoryLock::with_clock(runtime.clone()), runtime.clone()).with(settings);
        let store = Store::new(runtime.clone()).faulty(fault);
        let limits = AsyncLimiter::new(TokenBucket::new(rate!("5/h")), LockedStorage::new(store, locks));
        runtime.run(limits.check("alice")).unwrap()
    };
    refused! { messages:
        check(Fault::GetHangs);
        check(Fault::SetHangs);
        check(Fault::GetFails(ErrorKind::Unavailable));
    }
}
