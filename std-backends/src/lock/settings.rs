//! The settings of locks.

use std::time::Duration;

use crate::util::setters::setters;

/// The settings of a lock: its TTL, and whether and how long to wait for it. Values may be left open.
///
/// Choose values for one call with [`Locks::lock_with`](super::Locks::lock_with), for several with
/// [`Locks::with`](super::Locks::with), for the process with [`set_defaults`](super::set_defaults). A value
/// that the call leaves open comes from the next of these three, then from the environment, then from the
/// built-in default:
///
/// | setting | variable | built in |
/// |---|---|---|
/// | `ttl`: the time that a grant lasts unless renewed | `TRAFFIK_DEFAULT_LOCK_TTL`, in seconds | 5 s |
/// | `blocking`: whether to wait for the holder | `TRAFFIK_DEFAULT_BLOCKING` | yes |
/// | `blocking_timeout`: the longest wait | `TRAFFIK_DEFAULT_BLOCKING_TIMEOUT`, in seconds | 2 s |
///
/// The environment is read once, when settings are first resolved, such as for the first lock. An invalid
/// value there fails every lock, even one whose settings leave nothing open.
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
    /// Creates settings that leave everything open.
    pub const fn new() -> Self {
        Self { ttl: None, blocking: None, blocking_timeout: None }
    }

    setters! {
        /// Sets the time that a grant lasts unless it is renewed. Zero is refused when a lock is taken.
        pub const fn ttl(ttl: Duration) => ttl = Some(ttl);

        /// Sets whether to wait for the holder of a lock.
        pub const fn blocking(blocking: bool) => blocking = Some(blocking);

        /// Sets the longest wait for the holder of a lock; zero means not to wait.
        pub const fn blocking_timeout(timeout: Duration) => blocking_timeout = Some(timeout);
    }

    /// Returns these settings, with the values of `outer` where these are left open.
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
