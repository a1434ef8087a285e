//! An SVG as the target of a Markdown link, for pages that have no files beside them.

/// Returns a `data:` URI, with everything escaped that would end a link in Markdown or an attribute in HTML.
pub(crate) fn of_svg(svg: &str) -> String {
    let mut uri = String::from("data:image/svg+xml,");
    for byte in svg.trim().bytes() {
        match byte {
            b'\n' => {}
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b',' | b'-' | b'.' | b'/' | b':' | b';' | b'=' => {
                uri.push(byte.into());
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
