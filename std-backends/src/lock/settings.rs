//! How locks are taken: how long they last, and whether and how long to wait for one.

use std::time::Duration;

use crate::util::setters::setters;

/// How a lock is to be taken; what is left open is looked for further out.
///
/// An explicit setting wins over the [global one](super::set_defaults), that over the environment's, and that over what is
/// built in:
///
/// | setting | variable | built in |
/// |---|---|---|
/// | `ttl`: how long a grant lasts unless renewed | `TRAFFIK_DEFAULT_LOCK_TTL`, in seconds | 5 s |
/// | `blocking`: whether to wait for who holds it | `TRAFFIK_DEFAULT_BLOCKING` | yes |
/// | `blocking_timeout`: for how long | `TRAFFIK_DEFAULT_BLOCKING_TIMEOUT`, in seconds | 2 s |
///
/// The environment is read once, when a lock is first taken. A value there that is no good is an error of every lock
/// that is taken then, whether or not it would have counted.
///
/// ```
/// use std::time::Duration;
/// use traffik::lock::LockSettings;
///
/// let settings = LockSettings::new().blocking(false);
/// assert_eq!(settings.resolve()?.ttl.get(), Duration::from_secs(5));
/// assert!(LockSettings::new().ttl(Duration::ZERO).resolve().is_err());
/// # Ok::<(), traffik::lock::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct LockSettings {
    pub(super) ttl: Option<Duration>,
    pub(super) blocking: Option<bool>,
    pub(super) blocking_timeout: Option<Duration>,
}

impl LockSettings {
    /// Everything is left open.
    pub const fn new() -> Self {
        Self { ttl: None, blocking: None, blocking_timeout: None }
    }

    setters! {
        /// How long a grant lasts unless it is renewed. More than zero, else it is refused where it is used.
        pub const fn ttl(ttl: Duration) => ttl = Some(ttl);

        /// Whether to wait for who holds the lock.
        pub const fn blocking(blocking: bool) => blocking = Some(blocking);

        /// How long to wait for who holds the lock; zero is not to wait.
        pub const fn blocking_timeout(timeout: Duration) => blocking_timeout = Some(timeout);
    }

    /// These settings, and `outer` ones where these are left open.
    pub fn or(self, outer: Self) -> Self {
        Self {
            ttl: self.ttl.or(outer.ttl),
            blocking: self.blocking.or(outer.blocking),
            blocking_timeout: self.blocking_timeout.or(outer.blocking_timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_looked_for_further_out() {
        let [second, minute] = [1, 60].map(Duration::from_secs);
        let inner = LockSettings::new().ttl(second).blocking(false);
        let outer = LockSettings::new().ttl(minute).blocking_timeout(minute);
        assert_eq!(inner.or(outer), inner.blocking_timeout(minute));
        assert_eq!(outer.or(inner), outer.blocking(false));
    }
}
