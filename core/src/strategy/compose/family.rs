//! One strategy at several ratios, as the wrappers hold it.

use core::array;

use crate::divide::divide;
use crate::ratio::lcm;
use crate::strategy::{CapacityError, Scale};

/// Makes an array of fallible values, or returns the first failure. `spare` fills the places that failed.
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

/// Returns the least common multiple of the denominators, in which all of these strategies can be counted.
pub(crate) fn denominator<'a, S: Scale>(strategies: impl IntoIterator<Item = &'a S>) -> u64 {
    strategies.into_iter().fold(1, |all, strategy| lcm(all, strategy.denominator()))
}

/// Returns the strategy with this denominator, which is a multiple of its own.
pub(crate) fn refine_to<S: Scale>(denominator: u64, strategy: &S) -> Result<S, CapacityError> {
    strategy.refine(divide(denominator, strategy.denominator()).0)
}
