//! How many keys a table of firmware holds.

use traffik::storage::WhenFull;
use traffik::{ErrorKind, Fixed, FixedWindow, Limiter, ManualClock, rate};

/// How many of so many new keys find no room in a table that refuses them.
fn refused<const N: usize>(keys: usize, seed: u64) -> usize {
    let storage = Fixed::<FixedWindow, _, N>::new(ManualClock::default(), seed).when_full(WhenFull::Refuse);
    let limiter = Limiter::new(FixedWindow::new(rate!("1/min")), storage);
    let refused = (0..keys as u64).filter(|key| match limiter.check(key) {
        Ok(decision) => !decision.is_allowed(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Full);
            true
        }
    });
    let refused = refused.count();
    assert_eq!(limiter.storage().len() + refused, keys);
    refused
}

#[test]
fn a_small_table_holds_exactly_as_many_keys_as_it_has_slots() {
    for seed in 0..200 {
        let told = [
            refused::<1>(1, seed),
            refused::<16>(16, seed),
            refused::<32>(32, seed),
            refused::<33>(33, seed),
            refused::<64>(64, seed),
            refused::<65>(65, seed),
            refused::<127>(127, seed),
        ];
        assert_eq!(told, [0; 7], "seed {seed}");
        assert_eq!(refused::<32>(40, seed), 8);
    }
}

/// The odds that the docs of `Fixed` state.
#[test]
fn a_larger_table_turns_away_as_few_keys_as_it_says() {
    /// The part of so many new keys that finds no room, in millionths.
    fn share<const N: usize>(keys: usize, seeds: u64) -> u64 {
        let refused: usize = (0..seeds).map(|seed| refused::<N>(keys, seed)).sum();
        refused as u64 * 1_000_000 / (seeds * keys as u64)
    }
    let told = [
        ("64 in 128", share::<128>(64, 1_000), 0),
        ("96 in 128", share::<128>(96, 1_000), 15),
        ("115 in 128", share::<128>(115, 1_000), 6_000),
        ("128 in 256", share::<256>(128, 1_000), 0),
        ("192 in 256", share::<256>(192, 1_000), 250),
        ("230 in 256", share::<256>(230, 1_000), 10_000),
        ("512 in 1024", share::<1024>(512, 200), 0),
        ("768 in 1024", share::<1024>(768, 200), 450),
        ("921 in 1024", share::<1024>(921, 200), 14_000),
    ];
    told.iter().for_each(|(what, share, _)| println!("{what}: {share} of a million refused"));
    for (what, share, stated) in told {
        assert!(share <= stated && share >= stated / 2, "{what}: {share}, not {stated}");
    }
}
