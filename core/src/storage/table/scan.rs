//! Looking through a large set: functions of their own, so that they are not written out for each part of it.

/// The place of the first of these for which something holds, like `position`. Where the end is looked for
/// after each fourth one only, one takes four instructions instead of six.
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

/// The place of the one that gives way before all others, with its order. The first one that is free has no
/// order.
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
