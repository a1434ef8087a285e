//! The turns of delayed hits: which hit holds which turn, and which turns are free.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use traffik_core::storage::{DelayTurn, Ticket};
use traffik_core::{Receipt, Timestamp};

use super::tickets::tickets_of;

/// The turns of all keys.
///
/// Invariant: each spot is in at most one of `held`, `free` and `returning`, and `holders` maps each holder
/// to its spot in `held`.
#[derive(Default)]
pub(super) struct Turns {
    entered: u64,
    holders: BTreeMap<Ticket, Spot>,
    held: BTreeMap<Spot, HeldTurn>,
    free: BTreeMap<Spot, FreeTurn>,
    /// The turns on their way back to the storage, at most one a key.
    returning: BTreeMap<u64, (Spot, BookedTurn)>,
}

/// The position of a turn: by key, by time, and by order of entry.
type Spot = (u64, Timestamp, u64);

/// A turn, and the receipts of what was charged for it.
struct BookedTurn {
    turn: DelayTurn,
    receipts: Vec<Receipt>,
}

/// A turn that a hit holds.
struct HeldTurn {
    booked: BookedTurn,
    holder: Ticket,
    /// The cost of the holder's hit. The turn has at least this cost.
    cost: u32,
    /// The time of the turn as the holder last saw it.
    known: Timestamp,
    waker: Option<Waker>,
}

/// A turn that its holder gave up.
struct FreeTurn {
    booked: BookedTurn,
    /// Whether the storage kept the turn's charge, since it was not the storage's last one.
    is_kept: bool,
}

/// The wakers of the holders that moved. They are woken outside all locks: waking can drop a task, which
/// leaves its line.
#[derive(Default)]
#[must_use]
pub(super) struct MovedWakers(Vec<Waker>);

impl MovedWakers {
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl Turns {
    pub(super) fn enter(
        &mut self,
        key: u64,
        turn: DelayTurn,
        receipts: Vec<Receipt>,
    ) -> (Ticket, MovedWakers) {
        let number = self.entered;
        self.entered += 1;
        // Free turns that were due before this one was given are over.
        while let Some((&spot, _)) = self.free.range(spots_of(key)).next().filter(|(it, _)| it.1 < turn.given)
        {
            self.free.remove(&spot);
        }
        // The number makes spots of one time distinct, and orders them by entry.
        let (holder, spot) = (Ticket { key, number }, (key, turn.at, number));
        let booked = BookedTurn { turn, receipts };
        self.held.insert(spot, HeldTurn { booked, holder, cost: turn.cost, known: turn.at, waker: None });
        self.holders.insert(holder, spot);
        (holder, self.move_up(key))
    }

    /// Returns how much sooner the turn now is, and a waker that is no longer needed.
    pub(super) fn poll_sooner(
        &mut self,
        ticket: Ticket,
        context: &Context<'_>,
    ) -> (Poll<Duration>, Option<Waker>) {
        let spot = self.holders.get(&ticket);
        let Some(held) = spot.and_then(|spot| self.held.get_mut(spot)) else { return (Poll::Pending, None) };
        // sooner = known - turn.at, since a holder only ever moves up.
        let sooner = held.known.since(held.booked.turn.at);
        if !sooner.is_zero() {
            held.known = held.booked.turn.at;
            return (Poll::Ready(sooner), held.waker.take());
        }
        match &mut held.waker {
            Some(waker) if waker.will_wake(context.waker()) => (Poll::Pending, None),
            waker => (Poll::Pending, waker.replace(context.waker().clone())),
        }
    }

    /// Removes a turn whose holder departs. Returns its receipts and its waker.
    pub(super) fn depart(&mut self, ticket: Ticket) -> Option<(Vec<Receipt>, Option<Waker>)> {
        // The hit has used its turn, so the turn does not become free for others.
        let (_, held) = self.take(ticket)?;
        self.tidy(ticket.key);
        Some((held.booked.receipts, held.waker))
    }

    pub(super) fn give_up(&mut self, ticket: Ticket, is_over: bool) -> (Option<Waker>, MovedWakers) {
        let Some((spot, held)) = self.take(ticket) else { return (None, MovedWakers::default()) };
        if !is_over {
            self.free.insert(spot, FreeTurn { booked: held.booked, is_kept: false });
        }
        (held.waker, self.move_up(ticket.key))
    }

    /// Takes the last turn of a key if it is free, and no other turn is on its way back.
    pub(super) fn surplus(&mut self, key: u64) -> Option<(DelayTurn, Vec<Receipt>)> {
        if self.returning.contains_key(&key) {
            return None;
        }
        let last = self.free.range(spots_of(key)).next_back();
        let held = self.held.range(spots_of(key)).next_back().map(|(spot, _)| *spot);
        // Only the last turn goes back: the hits behind any other free turn move up to it.
        match last {
            Some((&spot, free)) if !free.is_kept && held < Some(spot) => {
                let FreeTurn { booked, .. } = self.free.remove(&spot)?;
                let surplus = (booked.turn, booked.receipts.clone());
                self.returning.insert(key, (spot, booked));
                Some(surplus)
            }
            _ => {
                self.tidy(key);
                None
            }
        }
    }

    pub(super) fn settle(&mut self, key: u64, is_kept: bool) -> MovedWakers {
        match self.returning.remove(&key) {
            Some((spot, booked)) if is_kept => {
                self.free.insert(spot, FreeTurn { booked, is_kept });
                self.move_up(key)
            }
            _ => MovedWakers::default(),
        }
    }

    /// Gives each free turn of a key to the first hit behind it that fits.
    fn move_up(&mut self, key: u64) -> MovedWakers {
        let (mut moved, mut from) = (MovedWakers::default(), Bound::Included((key, Timestamp::EPOCH, 0)));
        while let Some((&spot, free)) = self.free.range((from, Bound::Included(last_of(key)))).next() {
            // `from` only grows, so the loop ends.
            from = Bound::Excluded(spot);
            let size = free.booked.turn.cost;
            let behind = self.held.range(spot..=last_of(key)).find(|(_, held)| held.cost <= size);
            let Some(behind) = behind.map(|(spot, _)| *spot) else { continue };
            let (Some(held), Some(free)) = (self.held.remove(&behind), self.free.remove(&spot)) else {
                break;
            };
            // The two swap turns: the holder moves up, and its old turn is free for hits further behind.
            self.free.insert(behind, FreeTurn { booked: held.booked, is_kept: false });
            moved.0.extend(held.waker);
            self.holders.insert(held.holder, spot);
            self.held.insert(spot, HeldTurn { booked: free.booked, waker: None, ..held });
        }
        moved
    }

    fn take(&mut self, ticket: Ticket) -> Option<(Spot, HeldTurn)> {
        let spot = self.holders.remove(&ticket)?;
        Some((spot, self.held.remove(&spot)?))
    }

    /// Drops all free turns of a key that has no holder.
    fn tidy(&mut self, key: u64) {
        if self.holders.range(tickets_of(key)).next().is_some() {
            return;
        }
        while let Some((&spot, _)) = self.free.range(spots_of(key)).next() {
            self.free.remove(&spot);
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.holders.len() + self.held.len() + self.free.len() + self.returning.len()
    }
}

/// Returns the range of all turns of a key.
fn spots_of(key: u64) -> RangeInclusive<Spot> {
    (key, Timestamp::EPOCH, 0)..=last_of(key)
}

const fn last_of(key: u64) -> Spot {
    (key, Timestamp::MAX, u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn turn(at: u64, cost: u32) -> DelayTurn {
        let [given, at, end] = [0, at, at + u64::from(cost)].map(Timestamp::from_micros);
        DelayTurn { given, at, end, cost }
    }

    fn at(turns: &Turns, ticket: Ticket) -> u64 {
        turns.held[&turns.holders[&ticket]].booked.turn.at.as_micros()
    }

    #[test]
    fn those_behind_move_up_and_the_last_turn_is_free() {
        let mut turns = Turns::default();
        let [a, b, c, d] = [1, 2, 3, 4].map(|at| turns.enter(7, turn(at, 1), Vec::new()).0);
        turns.enter(8, turn(9, 1), Vec::new()).1.wake();
        turns.give_up(b, false).1.wake();
        assert_eq!([a, c, d].map(|ticket| at(&turns, ticket)), [1, 2, 3]);
        let context = Context::from_waker(Waker::noop());
        let mut sooner = |ticket| turns.poll_sooner(ticket, &context).0;
        assert_eq!(sooner(c), Poll::Ready(Duration::from_micros(1)));
        assert_eq!((sooner(c), sooner(a)), (Poll::Pending, Poll::Pending));
        // One turn goes back at a time; a turn that the storage kept goes to the next hit.
        assert_eq!(turns.surplus(7).unwrap().0, turn(4, 1));
        turns.give_up(d, false).1.wake();
        assert!(turns.surplus(7).is_none(), "one is on its way");
        turns.settle(7, true).wake();
        assert!(turns.surplus(7).is_none(), "the last one is not the storage's last");
        let (e, _) = turns.enter(7, turn(6, 1), Vec::new());
        assert_eq!(at(&turns, e), 3);
        assert_eq!(turns.surplus(7).unwrap().0, turn(6, 1));
        turns.settle(7, false).wake();
        // A turn that is over helps nobody, and what was given before a newcomer came is over.
        turns.give_up(a, true).1.wake();
        assert_eq!([c, e].map(|ticket| at(&turns, ticket)), [2, 3]);
        for ticket in [c, e] {
            assert!(turns.depart(ticket).is_some() && turns.depart(ticket).is_none());
        }
        assert_eq!(turns.kept(), 2, "the other key's");
    }

    /// One hit that fits holds each turn, whatever happens, and nothing remains at the end.
    #[test]
    fn a_turn_is_held_once_and_nothing_is_kept() {
        let mut seed = 1_u64;
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let (mut turns, mut waiting, mut entered, mut next) = (Turns::default(), Vec::new(), 0, 1);
            for _ in 0..100 {
                match draw(4) {
                    0 | 1 => {
                        let cost = draw(3) as u32 + 1;
                        waiting.push((turns.enter(7, turn(next, cost), Vec::new()).0, cost, next));
                        (next, entered) = (next + u64::from(cost), entered + 1);
                    }
                    2 if !waiting.is_empty() => {
                        let (ticket, ..) = waiting.swap_remove(draw(waiting.len() as u64) as usize);
                        turns.give_up(ticket, draw(8) == 0).1.wake();
                    }
                    _ if turns.surplus(7).is_some() => turns.settle(7, draw(2) == 0).wake(),
                    _ => {}
                }
                let held: BTreeSet<_> = waiting.iter().map(|(ticket, ..)| at(&turns, *ticket)).collect();
                assert_eq!(held.len(), waiting.len());
                for (ticket, cost, first) in &waiting {
                    let held = &turns.held[&turns.holders[ticket]];
                    assert!(held.booked.turn.cost >= *cost && held.booked.turn.at.as_micros() <= *first);
                }
                assert!(turns.kept() <= 3 * entered);
            }
            for (ticket, ..) in waiting {
                turns.give_up(ticket, false).1.wake();
            }
            while turns.surplus(7).is_some() {
                turns.settle(7, draw(2) == 0).wake();
            }
            assert_eq!(turns.kept(), 0);
        }
    }
}
