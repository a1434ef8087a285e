//! What the check script is told of a limit and a hit.

use traffik_core::strategy::Formula;
use traffik_core::{Hit, Strategy};

/// Its arguments for each limit; `None` if one of them is none that the script knows.
pub(super) fn arguments<S: Strategy>(limit: &S, hit: &Hit<S::Cost>) -> Option<Vec<Vec<u8>>> {
    let (mut arguments, mut known) = (Vec::with_capacity(3 + 7), true);
    let complete = limit.parts_of(hit, &mut |part| {
        let (kind, numbers): (_, &[u64]) = match part.formula {
            Formula::Window { period, anchor, limit } => ("w", &[period, anchor, limit.into()]),
            Formula::Sliding { period, limit } => ("s", &[period, limit.into()]),
            Formula::Rollover { period, limit, share, most } => {
                ("q", &[period, limit.into(), share.num(), share.den(), most.into()])
            }
            Formula::Level { drain, unit, capacity } => ("l", &[drain, unit, capacity]),
            // Inline, a state is as long as it says, so that one that is of no interest can be left alone.
            Formula::Unlimited if part.inline => ("u", &[]),
            _ => {
                known = false;
                return;
            }
        };
        arguments.push(kind.into());
        arguments.push(if part.inline { "i" } else { "" }.into());
        let costs = [part.asked.into(), part.booked.into()];
        arguments.extend(costs.iter().chain(numbers).map(|number| number.to_string().into_bytes()));
    });
    (complete && known).then_some(arguments)
}
