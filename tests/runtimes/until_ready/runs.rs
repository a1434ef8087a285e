//! Random runs, beside what the pure function says.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use futures_util::future::abortable;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use traffik::runtime::Manual;
use traffik::{
    FixedWindow, Gcra, Hit, Outcome, Rate, SlidingLog, SlidingWindow, Strategy, Timestamp, TokenBucket,
    Verdict,
};

use super::crowd::{SECOND, Served, limited, nobody_waits};

/// An event in a run of several waiters, each at its own time.
#[derive(Clone, Copy, Debug)]
enum Event {
    Comes(u32),
    GivesUp(usize),
    Checks(u32),
}

/// The expected outcomes of the waiters: the first in line asks the pure function whenever anything may have
/// changed. `None` if two events happen at the same time, in an order that is not defined.
fn model<S: Strategy<Cost = u32>>(strategy: &S, events: &[(u64, Event)]) -> Option<Vec<(usize, u64)>> {
    let (mut state, mut line, mut admitted) = (S::State::default(), VecDeque::new(), Vec::new());
    let (mut events, mut now, mut come) = (events.iter().peekable(), 0, 0);
    loop {
        let mut turn = None;
        while let Some((number, cost)) = line.front().copied() {
            let hit = Hit::new(cost);
            match strategy.decide(&mut state, &hit, Timestamp::from_micros(now)).outcome() {
                Outcome::Allow { .. } => {
                    admitted.push((number, now));
                    line.pop_front();
                }
                Outcome::Deny { retry_after } => {
                    turn = Some(now + retry_after.as_micros() as u64);
                    break;
                }
                Outcome::Never => unreachable!("the costs can pass"),
            }
        }
        match (turn, events.peek()) {
            (None, None) => return Some(admitted),
            (Some(turn), Some((at, _))) if turn == *at => return None,
            (Some(turn), next) if next.is_none_or(|(at, _)| turn < *at) => now = turn,
            _ => {
                let (at, event) = *events.next()?;
                now = at;
                match event {
                    Event::Comes(cost) => {
                        line.push_back((come, cost));
                        come += 1;
                    }
                    Event::GivesUp(number) => line.retain(|(waiting, _)| *waiting != number),
                    Event::Checks(cost) => {
                        strategy.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(now));
                    }
                }
            }
        }
    }
}

/// The same run in fact.
fn run<S: Strategy<Cost = u32>>(strategy: &S, events: &[(u64, Event)]) -> Served {
    let runtime = Manual::new();
    let limiter = limited(strategy.clone(), &runtime);
    let (mut served, mut quits) = (Served::default(), Vec::new());
    for (at, event) in events {
        runtime.advance(Timestamp::from_micros(*at).since(runtime.now()));
        match event {
            Event::Comes(cost) => {
                let (endless, quit) = abortable(pending::<()>());
                served.wait(&limiter, &runtime, *cost, async {
                    let _ = endless.await;
                });
                quits.push(quit);
            }
            Event::GivesUp(number) => quits[*number].abort(),
            Event::Checks(cost) => drop(limiter.check_n("key", *cost).unwrap()),
        }
        runtime.advance(Duration::ZERO);
    }
    runtime.advance(SECOND * 36_000);
    assert!(nobody_waits(&limiter, "key"));
    served
}

fn runs() -> impl Generator<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        6 => (1..4u32).prop_map(Event::Comes),
        2 => any::<prop::sample::Index>().prop_map(|index| Event::GivesUp(index.index(40))),
        1 => (0..4u32).prop_map(Event::Checks),
    ];
    // At most one in each millisecond, and not at the same microsecond of it.
    prop::collection::vec((0..400u64, event), 1..40).prop_map(|steps| {
        let (mut come, mut millis) = (0, 0);
        let steps = steps.into_iter().enumerate().map(|(number, (gap, event))| {
            millis += gap / 4 + 1;
            let at = millis * 1_000 + 17 * number as u64 + 1;
            come += usize::from(matches!(event, Event::Comes(_)));
            match event {
                Event::GivesUp(_) if come == 0 => (at, Event::Checks(0)),
                Event::GivesUp(who) => (at, Event::GivesUp(who % come)),
                event => (at, event),
            }
        });
        steps.collect()
    })
}

fn agrees_with_the_model<S: Strategy<Cost = u32>>(
    strategy: S,
    costs: u32,
    events: Vec<(u64, Event)>,
) -> Result<(), TestCaseError> {
    let events: Vec<_> = events
        .into_iter()
        .map(|(at, event)| match event {
            Event::Comes(cost) => (at, Event::Comes(cost.min(costs))),
            event => (at, event),
        })
        .collect();
    let Some(expected) = model(&strategy, &events) else { return Ok(()) };
    let served = run(&strategy, &events);
    prop_assert_eq!(served.admitted(), expected);
    // At its turn, at its time, once more for each check that came between, and when it gives up.
    let checks = events.iter().filter(|(_, event)| matches!(event, Event::Checks(1..))).count();
    for (number, wakes) in served.wakes().into_iter().enumerate() {
        let gives_up = events.iter().any(|(_, event)| matches!(event, Event::GivesUp(who) if *who == number));
        let most = 2 + checks + usize::from(gives_up);
        prop_assert!(wakes <= most, "{} wakes of at most {}", wakes, most);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Waiters that come, give up or check between: as if the first in line asked all the time.
    #[test]
    fn every_run_is_as_if_the_first_asked_all_the_time(events in runs(), limit in 3..20u32, burst in 3..9u32) {
        let rate = Rate::per_second(limit);
        agrees_with_the_model(FixedWindow::new(rate), 3, events.clone())?;
        agrees_with_the_model(TokenBucket::new(rate).burst(burst).unwrap(), 3, events.clone())?;
        agrees_with_the_model(Gcra::new(rate), 1, events.clone())?;
        agrees_with_the_model(SlidingWindow::new(rate), 3, events.clone())?;
        agrees_with_the_model(SlidingLog::<20>::new(rate).unwrap(), 3, events)?;
    }
}
