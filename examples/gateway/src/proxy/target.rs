//! Refuses request targets that servers read differently, so that the limited path is also the served path.

use http::Uri;

/// Returns the reason to refuse a target, or `None` to accept it.
pub(crate) fn refusal(uri: &Uri) -> Option<&'static str> {
    let path = uri.path();
    if !path.starts_with(['/', '*']) {
        return Some("the path does not begin with a slash");
    }
    // Most targets end here, without an allocation.
    if !path.contains(['%', '\\']) && !path.contains("/.") {
        return None;
    }
    let lower = path.to_ascii_lowercase();
    if ["%2f", "%5c", "\\", "%00"].iter().any(|piece| lower.contains(piece)) {
        return Some("the path holds an escaped slash, a backslash or a zero byte");
    }
    let plain = lower.replace("%2e", ".");
    let mut segments = plain.split('/').map(|segment| segment.split(';').next());
    segments
        .any(|segment| matches!(segment, Some("." | "..")))
        .then_some("the path holds a . or .. segment, which the client must resolve")
}
