//! Merges rate-limit headers with those that the service or another layer has written.

use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, List, ListEntry, Parser};

/// Adds members to the structured list in a header, and sorts all by their `r`, the least first. Replaces a
/// header that is not a list.
pub(super) fn list(headers: &mut HeaderMap, name: HeaderName, members: String) {
    match headers.entry(name) {
        Entry::Vacant(place) => {
            // Names are escaped, and the rest is digits and punctuation.
            if let Ok(value) = HeaderValue::try_from(members) {
                place.insert(value);
            }
        }
        Entry::Occupied(mut place) => {
            let before: Vec<_> = place.iter().map(HeaderValue::as_bytes).collect();
            let all = joined(&before, &members).unwrap_or(members);
            if let Ok(value) = HeaderValue::try_from(all) {
                place.insert(value);
            }
        }
    }
}

/// Joins the members in `before` and `members`, sorted; `None` if the result is not a list.
fn joined(before: &[&[u8]], members: &str) -> Option<String> {
    let all = [&before.join(&b", "[..]), &b", "[..], members.as_bytes()].concat();
    let mut list = Parser::new(&all).parse::<List>().ok()?;
    list.sort_by_key(remaining);
    sfv::FieldType::serialize(&list)
}

/// Returns the `r` of a member, the amount that remains; 0 for a member without `r`.
fn remaining(member: &ListEntry) -> i64 {
    let parameters = match member {
        ListEntry::Item(item) => &item.params,
        ListEntry::InnerList(list) => &list.params,
    };
    match parameters.get("r") {
        Some(BareItem::Integer(remaining)) => (*remaining).into(),
        _ => 0,
    }
}

/// Reports whether the limit in a header is tighter than one of which `remaining` is available. The number in
/// the header follows `prefix`.
pub(super) fn is_tighter(headers: &HeaderMap, name: &str, prefix: &str, remaining: u32) -> bool {
    let text = headers.get(name).and_then(|value| value.to_str().ok());
    let text = text.and_then(|text| text.split(',').find_map(|part| part.trim().strip_prefix(prefix)));
    text.and_then(|text| text.trim().parse::<u64>().ok()).is_some_and(|other| other < remaining.into())
}
