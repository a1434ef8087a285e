//! Targets that servers read differently, which are refused: the path that is limited is the one that is
//! served.

use http::Uri;

/// The reason why a target is refused, if it is.
pub(crate) fn refusal(uri: &Uri) -> Option<&'static str> {
    let path = uri.path();
    if !path.starts_with(['/', '*']) {
        return Some("the target begins with a slash");
    }
    // Most targets hold nothing of all that.
    if !path.contains(['%', '\\']) && !path.contains("/.") {
        return None;
    }
    let lower = path.to_ascii_lowercase();
    if ["%2f", "%5c", "\\", "%00"].iter().any(|piece| lower.contains(piece)) {
        return Some("no path holds an escaped slash, a backslash or a zero byte");
    }
    let plain = lower.replace("%2e", ".");
    let mut segments = plain.split('/').map(|segment| segment.split(';').next());
    segments
        .any(|segment| matches!(segment, Some("." | "..")))
        .then_some("the segments . and .. are for the client to follow")
}
