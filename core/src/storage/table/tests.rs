//! Tests of the keys that a table keeps, gives up and refuses, with either kind of tag.

use super::super::NarrowTag;
use super::*;
use crate::{FixedWindow, Gcra, Hit, Rate, Seed};

const LIMIT: FixedWindow = FixedWindow::new(Rate::per_minute(2));
type Small<S, H, const N: usize> = Table<<S as Strategy>::State, [Slot<<S as Strategy>::State, H>; N], H>;

fn small<S: Strategy, H: SlotTag, const N: usize>(when_full: WhenFull) -> Small<S, H, N> {
    Table::new(core::array::from_fn(|_| Slot::default()), when_full)
}

fn hit<H: SlotTag, const N: usize>(
    table: &mut Small<FixedWindow, H, N>,
    key: u64,
    second: u64,
) -> Result<bool, ErrorKind> {
    let now = Timestamp::from_micros(second * 1_000_000);
    let decision = table.apply(&LIMIT, Seed::new(7).digest(&key), &Op::Check(Hit::new(1)), now);
    decision.map(|decision| decision.is_allowed()).map_err(|error| error.kind())
}

/// Runs each of these tests twice, with wide tags and with narrow ones.
macro_rules! with_either_tag {
    ($($test:ident)*) => {
        mod wide {
            $(#[test] fn $test() { super::$test::<super::WideTag>(); })*
        }
        mod narrow {
            $(#[test] fn $test() { super::$test::<super::NarrowTag>(); })*
        }
    };
}

with_either_tag! {
    sets_cover_every_slot_once
    refusing_gives_no_key_up
    evicting_spares_the_exhausted
    the_soonest_fresh_gives_way_first
    without_slots_nothing_is_admitted
    what_is_taken_back_whole_frees_its_slot
    a_time_beyond_the_ticks_is_never_forgotten
    a_stamp_from_the_future_hurts_for_a_horizon_at_most
    what_is_charged_beyond_the_limit_is_not_forgotten
    any_digest_is_a_key
}

fn sets_cover_every_slot_once<H: SlotTag>() {
    for slots in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 100, 1000] {
        let (mut own, mut next, mut homes) = (vec![0; slots], vec![0; slots], vec![0; slots]);
        let mut seen = Vec::new();
        for digest in 0..=u16::MAX {
            let home = home(Digest::from_u64(u64::from(digest) << 48), slots);
            let CandidateSlots([from_home, to_home, spill]) = CandidateSlots::around::<H>(home, slots);
            homes[home] += 1;
            let set = to_home.start..from_home.end;
            assert!(set.contains(&home) && to_home.end == from_home.start);
            assert!(spill.start >= set.end || spill.end <= set.start, "{set:?} spills into itself");
            if !seen.contains(&set) {
                set.clone().for_each(|at| own[at] += 1);
                spill.for_each(|at| next[at] += 1);
                seen.push(set);
            }
        }
        assert!(own.iter().all(|times| *times == 1), "{slots}: {own:?}");
        assert!(next.iter().all(|times| *times <= 1), "{slots}: {next:?}");
        assert!(homes.iter().all(|times| *times > 0), "{slots}: {homes:?}");
    }
}

fn refusing_gives_no_key_up<H: SlotTag>() {
    let mut table = small::<FixedWindow, H, 8>(WhenFull::Refuse);
    for key in 0..8 {
        assert_eq!(hit(&mut table, key, 0), Ok(true));
    }
    assert_eq!(hit(&mut table, 8, 0), Err(ErrorKind::Full));
    assert_eq!((table.len(Timestamp::EPOCH), table.counters()), (8, Counters { evictions: 0, refusals: 1 }));
    for key in 0..8 {
        assert_eq!([hit(&mut table, key, 1), hit(&mut table, key, 1)], [Ok(true), Ok(false)]);
    }
    assert_eq!(hit(&mut table, 8, 63), Ok(true), "the slots of fresh keys are free again");
}

fn evicting_spares_the_exhausted<H: SlotTag>() {
    let mut table = small::<FixedWindow, H, 8>(WhenFull::Evict);
    for key in 0..8 {
        assert_eq!(hit(&mut table, key, 0), Ok(true));
    }
    for key in 0..7 {
        assert_eq!([hit(&mut table, key, 0), hit(&mut table, key, 0)], [Ok(true), Ok(false)]);
    }
    for stranger in 100..200 {
        assert_eq!(hit(&mut table, stranger, 1), Ok(true));
    }
    assert_eq!(table.counters(), Counters { evictions: 100, refusals: 0 });
    assert!((0..7).all(|key| hit(&mut table, key, 2) == Ok(false)));
}

fn the_soonest_fresh_gives_way_first<H: SlotTag>() {
    let mut table = small::<Gcra, H, 8>(WhenFull::Evict);
    let limit = Gcra::new(Rate::per_minute(1)).burst(8).unwrap();
    // The key 3 is fresh in a minute, the others are later, in no order.
    for key in 0..8u32 {
        let op = Op::Check(Hit::new((key + 5) % 8 + 1));
        assert!(table.apply(&limit, Seed::new(7).digest(&key), &op, Timestamp::EPOCH).unwrap().is_allowed());
    }
    let mut remaining = |key: u32| {
        let peek = Op::Peek(Hit::new(0));
        table.apply(&limit, Seed::new(7).digest(&key), &peek, Timestamp::EPOCH).unwrap().remaining()
    };
    assert_eq!(remaining(3), 7);
    let stranger = Seed::new(7).digest(&100);
    assert!(table.apply(&limit, stranger, &Op::Check(Hit::new(1)), Timestamp::EPOCH).is_ok());
    let kept = |key: &u32| table.load(Seed::new(7).digest(key), Timestamp::EPOCH) != Default::default();
    assert!((0..8).filter(kept).eq((0..8).filter(|key| *key != 3)));
}

fn without_slots_nothing_is_admitted<H: SlotTag>() {
    let mut table = small::<FixedWindow, H, 0>(WhenFull::Evict);
    assert_eq!(hit(&mut table, 1, 0), Err(ErrorKind::Full));
    assert_eq!((table.capacity(), table.is_empty(Timestamp::EPOCH)), (0, true));
}

fn what_is_taken_back_whole_frees_its_slot<H: SlotTag>() {
    let mut table = small::<FixedWindow, H, 16>(WhenFull::Evict);
    let digest = Seed::new(7).digest("key");
    let now = Timestamp::from_micros(1 << 40);
    let mut run = |op| table.apply(&LIMIT, digest, &op, now).unwrap();
    let receipt = run(Op::Check(Hit::new(2))).receipt();
    assert_eq!(run(Op::Refund(Hit::new(2), receipt)).remaining(), 2);
    let _ = run(Op::Charge(Hit::new(1)));
    assert_eq!(run(Op::Reset).remaining(), 2);
    assert!(table.is_empty(now));
}

fn a_time_beyond_the_ticks_is_never_forgotten<H: SlotTag>() {
    let mut table = small::<FixedWindow, H, 1>(WhenFull::Refuse);
    let late = u64::MAX / 1_000_000;
    assert_eq!(hit(&mut table, 1, late), Ok(true));
    assert_eq!(hit(&mut table, 2, late), Err(ErrorKind::Full));
}

fn a_stamp_from_the_future_hurts_for_a_horizon_at_most<H: SlotTag>() {
    let mut table = small::<FixedWindow, H, 16>(WhenFull::Refuse);
    let year = 365 * 86_400;
    assert_eq!([hit(&mut table, 1, year), hit(&mut table, 2, year)], [Ok(true), Ok(true)]);
    // The clock steps back a year. What is written from then on is forgotten a minute and a tick later.
    assert_eq!([hit(&mut table, 1, 0), hit(&mut table, 1, 0)], [Ok(true), Ok(false)]);
    assert_eq!([hit(&mut table, 1, 30), hit(&mut table, 2, 30)], [Ok(false), Ok(true)]);
    assert_eq!([hit(&mut table, 1, 63), hit(&mut table, 1, 63)], [Ok(true), Ok(true)]);
}

fn what_is_charged_beyond_the_limit_is_not_forgotten<H: SlotTag>() {
    let mut table = small::<Gcra, H, 16>(WhenFull::Evict);
    let limit = Gcra::new(Rate::per_second(1));
    let mut run = |op, second: u64| {
        let now = Timestamp::from_micros(second * 1_000_000);
        table.apply(&limit, Seed::new(7).digest("key"), &op, now).unwrap().is_allowed()
    };
    let _ = run(Op::Charge(Hit::new(100)), 0);
    assert!(!run(Op::Check(Hit::new(1)), 99), "the horizon is a second, but a hundred are owed");
    assert!(run(Op::Check(Hit::new(1)), 100));
}

/// Also those whose stored part would be that of an empty slot.
fn any_digest_is_a_key<H: SlotTag>() {
    for digest in [0, 1, 1 << 32, u64::MAX, u64::from(u32::MAX)] {
        let mut table = small::<FixedWindow, H, 40>(WhenFull::Refuse);
        let mut check = |second: u64| {
            let now = Timestamp::from_micros(second * 1_000_000);
            let op = Op::Check(Hit::new(2));
            table.apply(&LIMIT, Digest::from_u64(digest), &op, now).unwrap().is_allowed()
        };
        assert_eq!([check(0), check(1), check(60)], [true, false, true]);
        assert_eq!(table.len(Timestamp::from_micros(60_000_000)), 1);
    }
}
