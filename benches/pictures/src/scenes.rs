//! The pictures: which hits come, and which limit decides on them.

use std::collections::BTreeMap;
use std::error::Error;

use traffik::{
    Adaptive, All, Class, CostBased, Decision, FairShare, FixedWindow, Gcra, Hit, Label, LeakyBucket,
    LeakyBucketQueue, Outcome, Priority, QuotaRollover, SlidingLog, SlidingWindow, Strategy, Timestamp,
    TokenBucket, Verdict, rate,
};

use crate::chart::{BLUE, Bars, Curve, GREEN, ORANGE, Picture, RED, SKY};

type Made<T> = Result<T, Box<dyn Error>>;

/// The windows of all pictures that have any.
const PERIOD: f64 = 10.0;
/// The seconds between two looks at a state.
const PROBE: f64 = 0.25;

pub(crate) fn all() -> Made<Vec<Picture>> {
    Ok(vec![
        compared("fixed-window", "FixedWindow, 10 per 10 s", true, FixedWindow::new(rate!("10/10s"))),
        compared("sliding-window", "SlidingWindow, 10 per 10 s", true, SlidingWindow::new(rate!("10/10s"))),
        compared(
            "strict-window",
            "SlidingWindow::strict, 10 per 10 s in 20 buckets",
            false,
            SlidingWindow::strict::<20>(rate!("10/10s")),
        ),
        compared("sliding-log", "SlidingLog, 10 per 10 s", false, SlidingLog::<16>::new(rate!("10/10s"))?),
        compared(
            "token-bucket",
            "TokenBucket, 10 per 10 s, a burst of 10",
            false,
            TokenBucket::new(rate!("10/10s")),
        ),
        compared(
            "leaky-bucket",
            "LeakyBucket, 10 per 10 s, a capacity of 3",
            false,
            LeakyBucket::new(rate!("10/10s")).capacity(3)?,
        ),
        compared("gcra", "Gcra, 10 per 10 s, evenly spaced", false, Gcra::new(rate!("10/10s"))),
        compared(
            "leaky-bucket-queue",
            "LeakyBucketQueue, 10 per 10 s, a queue of 5",
            false,
            LeakyBucketQueue::new(rate!("10/10s")).queue(5)?,
        ),
        compared(
            "all",
            "All: 3 per 1 s and 10 per 10 s, as token buckets",
            false,
            All([TokenBucket::new(rate!("3/s")), TokenBucket::new(rate!("10/10s"))]),
        ),
        rollover(),
        adaptive(),
        cost_based()?,
        fair_share(),
        priority()?,
    ])
}

fn seconds(at: f64) -> Timestamp {
    Timestamp::from_micros((at * 1e6).round() as u64)
}

/// Hits at these times, from the first on, before the last.
fn every(step: f64, from: f64, to: f64) -> impl Iterator<Item = f64> {
    (0u32..).map(move |number| from + f64::from(number) * step).take_while(move |at| *at < to - 1e-9)
}

/// The hits that all plain strategies meet: two bursts around the end of a window, steady hits at twice the
/// limit, silence, and a burst.
fn pattern() -> Vec<f64> {
    let mut hits: Vec<f64> = every(0.1, 8.5, 9.7).collect();
    hits.extend(every(0.1, 10.5, 11.7));
    hits.extend(every(0.5, 16.0, 38.0));
    hits.extend(every(0.1, 51.0, 52.2));
    hits
}

fn add(heights: &mut Vec<f64>, bin: f64, at: f64, height: f64) {
    let index = (at / bin + 1e-9) as usize;
    if heights.len() <= index {
        heights.resize(index + 1, 0.0);
    }
    if let Some(bar) = heights.get_mut(index) {
        *bar += height;
    }
}

/// A curve that jumps: each value holds up to the next point.
fn steps(values: &[(f64, f64)], end: f64) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (at, value) in values {
        match points.last() {
            Some((_, last)) if (*value - *last).abs() < 1e-9 => {}
            Some((_, last)) => points.extend([(*at, *last), (*at, *value)]),
            None => points.push((*at, *value)),
        }
    }
    if let Some((_, last)) = points.last().copied() {
        points.push((end, last));
    }
    points
}

/// How much happened within the last period, at any time.
fn in_the_last_period(times: &[f64], end: f64) -> Vec<(f64, f64)> {
    let mut changes = BTreeMap::from([(0, 0)]);
    for at in times {
        *changes.entry(seconds(*at).as_micros()).or_default() += 1;
        *changes.entry(seconds(at + PERIOD).as_micros()).or_default() -= 1;
    }
    let mut count = 0;
    let counts = changes.into_iter().map(|(micros, change)| {
        count += change;
        (micros as f64 / 1e6, f64::from(count))
    });
    let counts: Vec<_> = counts.filter(|(at, _)| *at < end).collect();
    steps(&counts, end)
}

fn line(label: &'static str, at: f64, end: f64) -> Curve {
    Curve { label, colour: RED, is_dashed: true, points: vec![(0.0, at), (end, at)] }
}

fn windows(end: f64) -> Vec<f64> {
    every(PERIOD, PERIOD, end).collect()
}

/// The same hits under a strategy, for readers to compare.
fn compared<S: Strategy<Cost: From<u32>>>(
    name: &'static str,
    title: &str,
    has_windows: bool,
    strategy: S,
) -> Picture {
    const END: f64 = 60.0;
    const BIN: f64 = 0.5;
    let mut state = S::State::default();
    let (mut now, mut later, mut denied) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = Vec::new();
    for at in pattern() {
        match strategy.decide(&mut state, &Hit::new(1.into()), seconds(at)).outcome() {
            Outcome::Allow { after } => {
                let bars = if after.is_zero() { &mut now } else { &mut later };
                add(bars, BIN, at, 1.0);
                left.push(at + after.as_secs_f64());
            }
            Outcome::Deny { .. } | Outcome::Never => add(&mut denied, BIN, at, 1.0),
        }
    }
    let is_queue = !later.is_empty();
    let mut bars = vec![Bars { label: "admitted", colour: BLUE, heights: now }];
    if is_queue {
        bars.push(Bars { label: "admitted with a delay", colour: SKY, heights: later });
    }
    bars.push(Bars { label: "denied", colour: ORANGE, heights: denied });
    let label = if is_queue { "leaves within the last 10 s" } else { "admitted within the last 10 s" };
    Picture {
        name,
        title: title.into(),
        seconds: END,
        bin: BIN,
        bars,
        bars_unit: "hits in 0.5 s",
        bars_top: 6.0,
        area: Curve { label, colour: BLUE, is_dashed: false, points: in_the_last_period(&left, END) },
        lines: vec![line("limit", 10.0, END)],
        lower_unit: "hits",
        lower_top: 22.0,
        boundaries: if has_windows { windows(END) } else { Vec::new() },
    }
}

/// Bars of a second each for what was admitted and denied. Between hits `decide` sees some of cost 0, which change
/// nothing and show how the state goes on.
fn judged(end: f64, hits: &[(f64, u32)], mut decide: impl FnMut(f64, u32) -> Decision) -> Vec<Bars> {
    let (mut admitted, mut denied) = (Vec::new(), Vec::new());
    let mut hits = hits.to_vec();
    hits.extend(every(PROBE, 0.0, end).map(|at| (at, 0)));
    hits.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, cost) in &hits {
        let is_allowed = decide(*at, *cost).is_allowed();
        if *cost == 0 {
            continue;
        }
        add(if is_allowed { &mut admitted } else { &mut denied }, 1.0, *at, f64::from(*cost));
    }
    vec![
        Bars { label: "admitted", colour: BLUE, heights: admitted },
        Bars { label: "denied", colour: ORANGE, heights: denied },
    ]
}

fn ones(times: impl IntoIterator<Item = f64>) -> Vec<(f64, u32)> {
    times.into_iter().map(|at| (at, 1)).collect()
}

fn rollover() -> Picture {
    const END: f64 = 60.0;
    let quota = QuotaRollover::new(rate!("10/10s"));
    let mut hits = ones(every(0.5, 0.0, 10.0));
    hits.extend(ones(every(2.5, 10.0, 20.0)));
    hits.extend(ones(every(0.5, 20.0, 40.0)));
    hits.extend(ones(every(0.5, 50.0, 60.0)));
    let mut state = Default::default();
    let (mut used, mut allowed) = (Vec::new(), Vec::new());
    let bars = judged(END, &hits, |at, cost| {
        let decision = quota.decide(&mut state, &Hit::new(cost), seconds(at));
        let stat = quota.stat(&state, Class::default(), seconds(at));
        used.push((at, f64::from(stat.used)));
        allowed.push((at, f64::from(stat.limit) + f64::from(stat.rollover)));
        decision
    });
    Picture {
        name: "quota-rollover",
        title: "QuotaRollover, 10 per 10 s and half of what the window before left".into(),
        seconds: END,
        bin: 1.0,
        bars,
        bars_unit: "hits in 1 s",
        bars_top: 3.0,
        area: Curve {
            label: "used in the window",
            colour: BLUE,
            is_dashed: false,
            points: steps(&used, END),
        },
        lines: vec![Curve { label: "quota", colour: RED, is_dashed: true, points: steps(&allowed, END) }],
        lower_unit: "hits",
        lower_top: 18.0,
        boundaries: windows(END),
    }
}

fn adaptive() -> Picture {
    const END: f64 = 120.0;
    let strategy = Adaptive::new(rate!("10/10s"));
    let mut hits = ones(every(2.0, 0.0, 20.0));
    hits.extend(ones(every(0.5, 20.0, 60.0)));
    hits.extend(ones(every(2.5, 60.0, END)));
    let mut state = Default::default();
    let (mut used, mut allowed) = (Vec::new(), Vec::new());
    let bars = judged(END, &hits, |at, cost| {
        let decision = strategy.decide(&mut state, &Hit::new(cost), seconds(at));
        let stat = strategy.stat(&state, Class::default(), seconds(at));
        used.push((at, f64::from(stat.used)));
        allowed.push((at, f64::from(stat.effective_limit)));
        decision
    });
    Picture {
        name: "adaptive",
        title: "Adaptive, 10 per 10 s: pressed on from 20 s to 60 s".into(),
        seconds: END,
        bin: 1.0,
        bars,
        bars_unit: "hits in 1 s",
        bars_top: 3.0,
        area: Curve {
            label: "used in the window",
            colour: BLUE,
            is_dashed: false,
            points: steps(&used, END),
        },
        lines: vec![Curve {
            label: "limit of the window",
            colour: RED,
            is_dashed: true,
            points: steps(&allowed, END),
        }],
        lower_unit: "hits",
        lower_top: 12.0,
        boundaries: windows(END),
    }
}

fn cost_based() -> Made<Picture> {
    const END: f64 = 60.0;
    let bucket = CostBased::new(rate!("40/10s")).burst(20)?.window(10)?;
    let mut hits = ones(every(0.25, 0.0, 15.0));
    hits.extend(every(1.0, 15.0, 40.0).map(|at| (at, 5)));
    hits.extend(ones(every(0.25, 40.0, END)));
    let mut state = Default::default();
    let (mut tokens, mut refill) = (Vec::new(), Vec::new());
    let bars = judged(END, &hits, |at, cost| {
        let decision = bucket.decide(&mut state, &Hit::new(cost), seconds(at));
        let stat = bucket.stat(&state, Class::default(), seconds(at));
        tokens.push((at, f64::from(stat.tokens)));
        if let Some(ratio) = stat.refill {
            refill.push((at, ratio.num() as f64 / ratio.den() as f64 * 1e6));
        }
        decision
    });
    Ok(Picture {
        name: "cost-based",
        title: "CostBased, 4 tokens per 1 s, a burst of 20: hits cost 5 from 15 s to 40 s".into(),
        seconds: END,
        bin: 1.0,
        bars,
        bars_unit: "cost in 1 s",
        bars_top: 6.0,
        area: Curve { label: "tokens", colour: BLUE, is_dashed: false, points: steps(&tokens, END) },
        lines: vec![Curve {
            label: "refill, tokens per 1 s",
            colour: RED,
            is_dashed: true,
            points: steps(&refill, END),
        }],
        lower_unit: "tokens",
        lower_top: 22.0,
        boundaries: Vec::new(),
    })
}

fn fair_share() -> Picture {
    const END: f64 = 80.0;
    let limit = FairShare::<4>::new(rate!("24/10s"));
    let mut hits: Vec<(f64, u32)> = every(0.25, 0.0, END).map(|at| (at, 0)).collect();
    hits.extend(every(0.25, 15.0, 45.0).map(|at| (at + 0.01, 1)));
    hits.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut state = Default::default();
    let mut admitted = [Vec::new(), Vec::new()];
    let (mut used, mut shares) = (Vec::new(), Vec::new());
    for (at, who) in hits {
        let class = Class::new().with_instance(Label(who));
        let decision = limit.decide(&mut state, &Hit::new(1).with_class(class), seconds(at));
        if let (true, Some(bars)) = (decision.is_allowed(), admitted.get_mut(who as usize)) {
            add(bars, 1.0, at, 1.0);
        }
        let stat = limit.stat(&state, Class::new().with_instance(Label(0)), seconds(at));
        used.push((at, f64::from(stat.usage)));
        if at >= PERIOD {
            shares.push((at, f64::from(stat.share)));
        }
    }
    let [first, second] = admitted;
    Picture {
        name: "fair-share",
        title: "FairShare, 24 per 10 s: B asks as often as A from 15 s to 45 s".into(),
        seconds: END,
        bin: 1.0,
        bars: vec![
            Bars { label: "admitted of A", colour: BLUE, heights: first },
            Bars { label: "admitted of B", colour: GREEN, heights: second },
        ],
        bars_unit: "hits in 1 s",
        bars_top: 9.0,
        area: Curve { label: "used by A", colour: BLUE, is_dashed: false, points: steps(&used, END) },
        lines: vec![Curve { label: "share of A", colour: RED, is_dashed: true, points: steps(&shares, END) }],
        lower_unit: "hits",
        lower_top: 28.0,
        boundaries: windows(END),
    }
}

fn priority() -> Made<Picture> {
    const END: f64 = 60.0;
    const LOW: Label = Label(1);
    let limit = Priority::new(TokenBucket::new(rate!("10/10s")), [(LOW, "40%".parse()?)])?;
    let urgent = |at: f64| (30.0..40.0).contains(&at) && (at * 10.0).round() % 5.0 != 0.0;
    let mut hits = ones(every(0.5, 5.0, 50.0));
    hits.extend(ones(every(0.5, 30.1, 40.0)));
    let mut state = Default::default();
    let mut tokens = Vec::new();
    let mut first = Vec::new();
    let mut bars = judged(END, &hits, |at, cost| {
        let class = if urgent(at) { Class::new() } else { Class::new().with_priority(LOW) };
        let decision = limit.decide(&mut state, &Hit::new(cost).with_class(class), seconds(at));
        if urgent(at) && cost > 0 && decision.is_allowed() {
            add(&mut first, 1.0, at, 1.0);
        }
        tokens.push((at, f64::from(limit.stat(&state, Class::default(), seconds(at)).available)));
        decision
    });
    if let Some(batch) = bars.first_mut() {
        batch.label = "batch";
        for (all, urgent) in batch.heights.iter_mut().zip(&first) {
            *all -= urgent;
        }
    }
    bars.insert(0, Bars { label: "urgent", colour: GREEN, heights: first });
    Ok(Picture {
        name: "priority",
        title: "Priority around TokenBucket, 10 per 10 s: batch work leaves 40 % free".into(),
        seconds: END,
        bin: 1.0,
        bars,
        bars_unit: "hits in 1 s",
        bars_top: 5.0,
        area: Curve { label: "tokens", colour: BLUE, is_dashed: false, points: steps(&tokens, END) },
        lines: vec![line("kept for urgent work", 4.0, END)],
        lower_unit: "tokens",
        lower_top: 11.0,
        boundaries: Vec::new(),
    })
}
