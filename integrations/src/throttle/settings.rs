//! What of a throttle can be replaced while it runs.

use std::time::Duration;

use traffik_core::{Class, Cost, ErasedKey, Seed, Strategy};

use super::key::{StateKinds, kinds_of};
use crate::http::request::FixedOr;

/// For whom a throttle denies.
#[derive(Clone, Debug, Default)]
pub enum Enforcement {
    /// For all.
    #[default]
    Full,
    /// For nobody: everything is counted and told to [observers](crate::Observe), nothing is denied, refused or delayed,
    /// whatever fails, and nothing told to clients.
    Shadow,
    /// For this part of all clients, the same ones at all times; for the others it is a shadow. So it is for requests of
    /// which nobody knows whose they are, such as those that are [rejected](crate::Anonymous::Reject) for it: only if the
    /// part is all of them, they are enforced as well.
    Part(ClientShare),
}

/// A part of all clients, chosen by a keyed hash of who they are.
#[derive(Clone, Debug)]
pub struct ClientShare {
    percent: u8,
    seed: Seed,
}

impl Enforcement {
    /// For `percent` of all clients; 100 or more is all of them. The `secret` keeps clients from knowing which side
    /// they are on; instances that share a storage need the same. Who is chosen stays so when the percentage grows.
    #[must_use]
    pub const fn percent(percent: u8, secret: u64) -> Self {
        Self::Part(ClientShare { percent, seed: Seed::new(secret) })
    }

    /// Whether this client is denied where the limit says so.
    pub(crate) fn holds_for(&self, client: &dyn ErasedKey) -> bool {
        match self {
            Self::Full => true,
            Self::Shadow => false,
            Self::Part(ClientShare { percent, seed }) => {
                seed.digest(client).as_u64() % 100 < u64::from(*percent)
            }
        }
    }

    /// The same of somebody who cannot be told from others.
    pub(crate) const fn holds_for_all(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Shadow => false,
            Self::Part(ClientShare { percent, .. }) => *percent >= 100,
        }
    }
}

/// What can be replaced, as it is for one request from its beginning to its end.
#[derive(Clone)]
pub(crate) struct ThrottleSettings<S: Strategy> {
    pub(crate) enabled: bool,
    pub(crate) strategy: FixedOr<S>,
    /// Those of the limit that was fixed last: limits of the same kinds share the states under its keys.
    pub(super) kinds: StateKinds,
    pub(crate) cost: FixedOr<S::Cost>,
    pub(crate) class: FixedOr<Class>,
    pub(crate) min_wait: Duration,
    pub(crate) enforcement: Enforcement,
}

impl<S: Strategy> ThrottleSettings<S> {
    /// A limit that is enforced for all, at a cost of 1.
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

    /// Replaces the limit, under the keys of the one before.
    pub(super) fn set_strategy(&mut self, strategy: S) {
        self.kinds = kinds_of(&strategy);
        self.strategy = FixedOr::Fixed(strategy);
    }

    /// Whether none of them is a function of the request.
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
