//! Settings of strategies, and limits that cannot be counted exactly.

use std::time::Duration;

use traffik::strategy::{PerLimit, decode};
use traffik::{
    Adaptive, CostBased, FairShare, FixedWindow, Gcra, HeapLog, Label, LeakyBucket, LeakyBucketQueue,
    QuotaRollover, Rate, Ratio, Regions, SlidingLog, SlidingWindow, Strategy, StrategyError, TokenBucket,
    rate,
};

use super::{Messages, refused};

fn ratio(text: &str) -> Ratio {
    text.parse().unwrap()
}

/// A rate whose limit and period have no common factor, so few bursts can be counted.
const ODD: Rate = rate!("1000001/31d");

const WEST: Label = Label(1);
const EAST: Label = Label(2);

/// Regions with room for three.
fn regions(rate: Rate, shares: &[(Label, &str)]) -> Result<Regions<3>, StrategyError> {
    let shares: Vec<_> = shares.iter().map(|(label, share)| (*label, ratio(share))).collect();
    Regions::new(rate, &shares)
}

pub(super) fn provoke(messages: &mut Messages) {
    capacities(messages);
    settings(messages);
    shares(messages);
    states(messages);
}

fn capacities(messages: &mut Messages) {
    messages.section("Limits that are too large");
    refused! { messages:
        TokenBucket::new(ODD).burst(u32::MAX);
        LeakyBucket::new(ODD).capacity(u32::MAX);
        LeakyBucketQueue::new(ODD).queue(u32::MAX);
        Gcra::new(ODD).burst(u32::MAX);
        Gcra::new(ODD).tolerance(Duration::MAX);
        CostBased::new(ODD).burst(u32::MAX);
    }
}

fn settings(messages: &mut Messages) {
    messages.section("Settings of strategies");
    let adaptive = Adaptive::new(rate!("100/s"));
    refused! { messages:
        adaptive.threshold(ratio("0"));
        adaptive.threshold(ratio("120%"));
        adaptive.reduction(ratio("1"));
        adaptive.recovery(ratio("2"));
        adaptive.floor(ratio("3/2"));
        CostBased::new(rate!("4/s")).window(0);
        CostBased::new(rate!("4/s")).floor(ratio("0"));
        CostBased::new(rate!("4/s")).floor(ratio("3/2"));
        QuotaRollover::new(rate!("10/d")).share(ratio("150%"));
        FairShare::<8>::new(rate!("10/s")).weight(0);
        SlidingLog::<8>::new(rate!("9/s"));
        HeapLog::new(rate!("65537/s"));
        SlidingWindow::strict::<4>(rate!("9/s")).buckets(0);
        SlidingWindow::strict::<4>(rate!("9/s")).buckets(5);
    }
}

fn shares(messages: &mut Messages) {
    messages.section("Regions");
    let most = regions(rate!("10/s"), &[(WEST, "9/10")]).unwrap();
    refused! { messages:
        regions(rate!("10/s"), &[(WEST, "2/3"), (EAST, "34%")]);
        regions(rate!("10/s"), &[(WEST, "1/2"), (WEST, "1/4")]);
        regions(rate!("10/s"), &[(WEST, "9%")]);
        regions(rate!("10/s"), &[(WEST, "1/8"), (EAST, "1/8"), (Label(3), "1/8"), (Label(4), "1/8")]);
        regions(rate!("10/s"), &[(WEST, "1/18446744073709551557"), (EAST, "1/4294967311")]);
        most.other(ratio("1/5"));
        most.other(ratio("1/11"));
    }
}

type State = <FixedWindow as Strategy>::State;

fn states(messages: &mut Messages) {
    messages.section("States as bytes");
    refused! { messages:
        decode::<State>(b"no state");
        serde_json::from_str::<State>("[1, 2, 3]");
        serde_json::from_str::<State>("\"no state\"");
        serde_json::from_str::<State>(&format!("{:?}", [1; 1025]));
        serde_json::from_str::<PerLimit<u32, 2>>("[1]");
        serde_json::from_str::<PerLimit<u32, 2>>("[1, 2, 3]");
        serde_json::from_str::<PerLimit<u32, 2>>("1");
    }
}
