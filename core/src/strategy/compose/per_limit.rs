//! One value for each limit of a composed strategy.

use core::array;

use crate::strategy::{DecodeError, Reader, State, Writer};
use crate::{Receipt, Receipts};

/// One value for each of `N` limits: their states, or their receipts.
///
/// ```
/// use traffik::strategy::PerLimit;
/// use traffik::{All, Gcra, Hit, Strategy, Timestamp, rate};
///
/// let strategy = All([Gcra::new(rate!("2/s")), Gcra::new(rate!("3/min"))]);
/// let mut states = PerLimit::default();
/// let _ = strategy.decide(&mut states, &Hit::new(1), Timestamp::EPOCH);
/// assert_eq!(states.0.len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PerLimit<T, const N: usize>(pub [T; N]);

impl<T: Default, const N: usize> Default for PerLimit<T, N> {
    fn default() -> Self {
        Self(array::from_fn(|_| T::default()))
    }
}

impl<T: Receipts, const N: usize> Receipts for PerLimit<T, N> {
    const COUNT: usize = N * T::COUNT;

    fn for_each(&self, visit: &mut dyn FnMut(Receipt)) {
        self.0.iter().for_each(|receipt| receipt.for_each(visit));
    }

    fn each_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.0.iter_mut().for_each(|receipt| receipt.each_mut(change));
    }

    fn gather(next: &mut dyn FnMut() -> Receipt) -> Self {
        Self(array::from_fn(|_| T::gather(next)))
    }
}

impl<T: State, const N: usize> State for PerLimit<T, N> {
    const FRESH: Self = Self([const { T::FRESH }; N]);
    const MAX_LEN: usize = N * T::MAX_LEN;

    fn encode(&self, out: &mut Writer<'_>) {
        self.0.iter().for_each(|state| state.encode(out));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut states = Self::default();
        for state in &mut states.0 {
            *state = T::decode(input)?;
        }
        Ok(states)
    }
}
