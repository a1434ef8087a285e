//! The settings of locks from environment variables.

use std::ffi::{OsStr, OsString};
use std::sync::OnceLock;
use std::time::Duration;

use super::{LockSettings, SettingsError, Ttl};

/// The variable for the TTL of a lock: seconds above 0, such as `5.0`.
pub const TTL: &str = "TRAFFIK_DEFAULT_LOCK_TTL";
/// The variable for whether to wait for a lock: `true`, `false`, `1`, `0`, `yes` or `no`, in any case.
pub const BLOCKING: &str = "TRAFFIK_DEFAULT_BLOCKING";
/// The variable for the longest wait for a lock: seconds, such as `2.0`; 0 means not to wait.
pub const BLOCKING_TIMEOUT: &str = "TRAFFIK_DEFAULT_BLOCKING_TIMEOUT";

/// Returns the settings of the environment of this process, read once, at the first call.
pub(super) fn of_process() -> Result<LockSettings, SettingsError> {
    static SETTINGS: OnceLock<Result<LockSettings, SettingsError>> = OnceLock::new();
    SETTINGS.get_or_init(|| read(|name| std::env::var_os(name))).clone()
}

/// Reads the settings from the variables that `lookup` returns.
pub(super) fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Result<LockSettings, SettingsError> {
    let mut settings = LockSettings::new();
    if let Some(value) = lookup(TTL) {
        let expected = "a number of seconds above 0, such as 5.0";
        let refused = || SettingsError::new(TTL, format!("{value:?}"), expected);
        let ttl = seconds(&value).and_then(|ttl| Ttl::new(ttl).ok()).ok_or_else(refused)?;
        settings = settings.ttl(ttl.get());
    }
    if let Some(value) = lookup(BLOCKING) {
        let expected = "true, yes or 1 to wait for a lock, or false, no or 0 not to wait";
        let refused = || SettingsError::new(BLOCKING, format!("{value:?}"), expected);
        settings = settings.blocking(truth(&value).ok_or_else(refused)?);
    }
    if let Some(value) = lookup(BLOCKING_TIMEOUT) {
        let expected = "a number of seconds of at least 0, such as 2.0";
        let refused = || SettingsError::new(BLOCKING_TIMEOUT, format!("{value:?}"), expected);
        settings = settings.blocking_timeout(seconds(&value).ok_or_else(refused)?);
    }
    Ok(settings)
}

impl LockSettings {
    /// Reads the settings from environment variables: `lookup` returns each variable by its name.
    ///
    /// # Errors
    ///
    /// Fails at the first variable with an invalid value. The error names it and says what is valid.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        read(lookup)
    }
}

/// Parses a number of seconds that is neither negative, infinite nor NaN.
fn seconds(text: &OsStr) -> Option<Duration> {
    Duration::try_from_secs_f64(text.to_str()?.trim().parse().ok()?).ok()
}

fn truth(text: &OsStr) -> Option<bool> {
    match text.to_str()?.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(name: &str, value: &str) -> Result<LockSettings, SettingsError> {
        read(|asked| (asked == name).then(|| value.into()))
    }

    #[test]
    fn each_variable_sets_what_it_names() {
        let all = read(|name| match name {
            TTL => Some("7.5".into()),
            BLOCKING => Some("no".into()),
            BLOCKING_TIMEOUT => Some(" 0.25 ".into()),
            _ => None,
        });
        let expected = LockSettings::new()
            .ttl(Duration::from_millis(7_500))
            .blocking(false)
            .blocking_timeout(Duration::from_millis(250));
        assert_eq!(all, Ok(expected));
        assert_eq!(read(|_| None), Ok(LockSettings::new()));
        assert_eq!(reading(BLOCKING_TIMEOUT, "0"), Ok(LockSettings::new().blocking_timeout(Duration::ZERO)));
    }

    #[test]
    fn truthy_and_falsy_words_are_read_in_any_case() {
        for (words, blocking) in
            [(["true", "True", "1", "YES"], true), (["false", "FALSE", "0", "No"], false)]
        {
            for word in words {
                assert_eq!(reading(BLOCKING, word), Ok(LockSettings::new().blocking(blocking)), "{word}");
            }
        }
    }

    #[test]
    fn bad_values_are_refused_with_what_would_be_right() {
        for value in ["", "soon", "0", "-1", "nan", "inf", "1e400", "1e-12", "5s", "0x5", "5,0"] {
            let error = reading(TTL, value).unwrap_err().to_string();
            let expected = format!("{TTL} is {value:?}; give a number of seconds above 0, such as 5.0");
            assert_eq!(error, expected);
        }
        for value in ["", "-0.1", "NaN", "infinity", "never"] {
            let error = reading(BLOCKING_TIMEOUT, value).unwrap_err().to_string();
            assert!(error.ends_with("; give a number of seconds of at least 0, such as 2.0"), "{error}");
        }
        for value in ["", "maybe", "2", "y", "truee"] {
            let error = reading(BLOCKING, value).unwrap_err().to_string();
            assert!(
                error.ends_with("; give true, yes or 1 to wait for a lock, or false, no or 0 not to wait"),
                "{error}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        for name in [TTL, BLOCKING, BLOCKING_TIMEOUT] {
            let error = read(|asked| (asked == name).then(|| OsString::from_vec(vec![0xff]))).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
