//! The search through a large set: functions that are not inlined for each part of it.

/// Returns the index of the first item for which `holds` is true, like `position`.
///
/// Looking for the end after each fourth item takes four instructions an item instead of six.
#[inline(never)]
pub(super) fn place_of<T>(items: &[T], holds: impl Fn(&T) -> bool) -> Option<usize> {
    let (fours, rest) = items.as_chunks::<4>();
    let mut at = 0;
    for four in fours {
        if let Some(place) = four.iter().position(&holds) {
            return Some(at + place);
        }
        at += four.len();
    }
    rest.iter().position(holds).map(|place| at + place)
}

/// Returns the item that gives way first: its order and index. The first free item has no order.
#[inline(never)]
pub(super) fn first_to_go<T, O: Copy + Ord>(
    items: &[T],
    order: impl Fn(&T) -> Option<O>,
) -> Option<(Option<O>, usize)> {
    let Some(mut lowest) = order(items.first()?) else { return Some((None, 0)) };
    let mut to_go = 0;
    for (at, item) in items.iter().enumerate() {
        let Some(order) = order(item) else { return Some((None, at)) };
        if order < lowest {
            (lowest, to_go) = (order, at);
        }
    }
    Some((Some(lowest), to_go))
}
