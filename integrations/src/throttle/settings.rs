//! The settings of a throttle that can change while it runs.

use std::time::Duration;

use traffik_core::{Class, Cost, ErasedKey, Seed, Strategy};

use super::key::{StateKinds, kinds_of};
use crate::http::request::FixedOr;

/// The clients whom a throttle denies.
///
/// Choose [`Shadow`](Self::Shadow) to try a new limit on real traffic, then [`percent`](Self::percent) to
/// enforce it step by step.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{Enforcement, Throttle};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min")))
///     .enforcement(Enforcement::Shadow)
///     .build()?;
/// throttle.set_enforcement(Enforcement::percent(5, 0x5eed)); // later: deny 5 % of all clients
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub enum Enforcement {
    /// All clients.
    #[default]
    Full,
    /// Nobody. Requests are counted and reported to [observers](crate::Observe). None is denied, refused or
    /// delayed, whatever fails, and clients get no headers.
    Shadow,
    /// A share of all clients, always the same ones. For other clients it acts as [`Shadow`](Self::Shadow),
    /// and for requests without a client, such as those that are [rejected](crate::Anonymous::Reject), unless
    /// the share is 100 %.
    Part(ClientShare),
}

/// A share of all clients, chosen by a keyed hash of their keys. [`Enforcement::percent`] makes it.
///
/// ```
/// use traffik::web::Enforcement;
///
/// assert!(matches!(Enforcement::percent(25, 7), Enforcement::Part(_)));
/// ```
#[derive(Clone, Debug)]
pub struct ClientShare {
    percent: u8,
    seed: Seed,
}

impl Enforcement {
    /// Enforces the limit for `percent` of all clients; 100 or more is all of them.
    ///
    /// The `secret` keeps clients from choosing a key that is not enforced. Instances that share a storage
    /// need the same secret. Chosen clients stay chosen when the percentage grows.
    #[must_use]
    pub const fn percent(percent: u8, secret: u64) -> Self {
        Self::Part(ClientShare { percent, seed: Seed::new(secret) })
    }

    /// Reports whether the limit is enforced for this client.
    pub(crate) fn holds_for(&self, client: &dyn ErasedKey) -> bool {
        match self {
            Self::Full => true,
            Self::Shadow => false,
            Self::Part(ClientShare { percent, seed }) => {
                // The client is chosen if digest mod 100 < percent, so a larger percentage keeps those
                // already chosen.
                seed.digest(client).as_u64() % 100 < u64::from(*percent)
            }
        }
    }

    /// Reports whether the limit is enforced for a request without a client.
    pub(crate) const fn holds_for_all(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Shadow => false,
            Self::Part(ClientShare { percent, .. }) => *percent >= 100,
        }
    }
}

/// The changeable settings. A request uses one snapshot from its beginning to its end.
#[derive(Clone)]
pub(crate) struct ThrottleSettings<S: Strategy> {
    pub(crate) enabled: bool,
    pub(crate) strategy: FixedOr<S>,
    /// The kinds of the last fixed strategy. Strategies of these kinds use its keys, and so share its states.
    pub(super) kinds: StateKinds,
    pub(crate) cost: FixedOr<S::Cost>,
    pub(crate) class: FixedOr<Class>,
    pub(crate) min_wait: Duration,
    pub(crate) enforcement: Enforcement,
}

impl<S: Strategy> ThrottleSettings<S> {
    /// Settings with this strategy, enforced for all, at a cost of 1.
    pub(super) fn of(strategy: S) -> Self {
        Self {
            enabled: true,
            kinds: kinds_of(&strategy),
            strategy: FixedOr::Fixed(strategy),
            cost: FixedOr::Fixed(S::Cost::uniform(1)),
            class: FixedOr::Fixed(Class::default()),
            min_wait: Duration::ZERO,
            enforcement: Enforcement::Full,
        }
    }

    /// Replaces the strategy, under the keys of the one before.
    pub(super) fn set_strategy(&mut self, strategy: S) {
        self.kinds = kinds_of(&strategy);
        self.strategy = FixedOr::Fixed(strategy);
    }

    /// Reports whether no setting is a function of the request.
    pub(crate) const fn are_fixed(&self) -> bool {
        self.strategy.fixed().is_some() && self.cost.fixed().is_some() && self.class.fixed().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_clients_is_always_the_same_and_grows() {
        let holds = |percent, client: u32| Enforcement::percent(percent, 7).holds_for(&client);
        let held = |percent| (0..10_000).filter(|client| holds(percent, *client)).count();
        assert_eq!((held(0), held(100), held(255)), (0, 10_000, 10_000));
        // Five standard deviations of a fair draw are 217.
        assert!((2283..2717).contains(&held(25)), "{}", held(25));
        assert!((0..10_000).all(|client| !holds(25, client) || holds(60, client)));
        let other = |client: u32| Enforcement::percent(25, 8).holds_for(&client);
        assert!((0..10_000).any(|client| other(client) != holds(25, client)), "it depends on the secret");
    }
}
