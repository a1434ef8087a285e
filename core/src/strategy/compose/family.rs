//! One limit at several ratios, as the wrappers hold it.

use core::array;

use crate::divide::divide;
use crate::ratio::lcm;
use crate::strategy::{CapacityError, Scale};

/// An array of what can fail to be made, or the first failure. A `spare` fills the places of those that failed.
pub(crate) fn try_array<T: Clone, E, const N: usize>(
    spare: &T,
    mut make: impl FnMut(usize) -> Result<T, E>,
) -> Result<[T; N], E> {
    let mut failed = None;
    let made = array::from_fn(|at| {
        make(at).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            spare.clone()
        })
    });
    match failed {
        None => Ok(made),
        Some(error) => Err(error),
    }
}

/// The coarsest parts in which all of these limits can be counted.
pub(crate) fn parts<'a, S: Scale>(limits: impl IntoIterator<Item = &'a S>) -> u64 {
    limits.into_iter().fold(1, |all, limit| lcm(all, limit.denominator()))
}

/// The limit counted in `parts`, which are a multiple of its own.
pub(crate) fn counted_in<S: Scale>(parts: u64, strategy: &S) -> Result<S, CapacityError> {
    strategy.refine(divide(parts, strategy.denominator()).0)
}
