//! Merges rate-limit headers with those that the service or another layer has written.

use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, List, ListEntry, Parser};

/// Writes the members of a structured list next to those that are there, sorted by their `r`, the least
/// first. Replaces a header that is not a list.
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

/// Joins the members, sorted; `None` if they are not a list.
fn joined(before: &[&[u8]], members: &str) -> Option<String> {
    let all = [&before.join(&b", "[..]), &b", "[..], members.as_bytes()].concat();
    let mut list = Parser::new(&all).parse::<List>().ok()?;
    list.sort_by_key(left);
    sfv::FieldType::serialize(&list)
}

/// Returns the `r` of a member: the amount that its policy has left.
fn left(member: &ListEntry) -> i64 {
    let parameters = match member {
        ListEntry::Item(item) => &item.params,
        ListEntry::InnerList(list) => &list.params,
    };
    match parameters.get("r") {
        Some(BareItem::Integer(left)) => (*left).into(),
        _ => 0,
    }
}

/// Reports whether a header has a tighter limit than one with `left`. Its number follows `prefix` in the
/// header.
pub(super) fn is_tighter(headers: &HeaderMap, name: &str, prefix: &str, left: u32) -> bool {
    let told = headers.get(name).and_then(|value| value.to_str().ok());
    let told = told.and_then(|text| text.split(',').find_map(|part| part.trim().strip_prefix(prefix)));
    told.and_then(|text| text.trim().parse::<u64>().ok()).is_some_and(|told| told < left.into())
}
