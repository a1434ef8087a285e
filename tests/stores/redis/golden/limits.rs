//! The kinds of limits that scripts know, and some that they do not.

use std::sync::Arc;
use std::time::Duration;

use super::{FOLDER, Scene, checked, compare, planted, runtime, swapped};
use traffik::strategy::{Erased, ErasedScale, ErasedStrategy};
use traffik::{
    Adaptive, All, CostBased, FairShare, FixedWindow, Gcra, HeapLog, Hours, Label, LeakyBucket,
    LeakyBucketQueue, Priority, QuotaRollover, Rate, Ratio, Regions, Scale, SlidingLog, SlidingWindow,
    StrictWindow, Tiered, TimeOfDay, TokenBucket,
};
use traffik_test_support::golden::golden;

type Chosen = Erased<Arc<dyn ErasedStrategy<160>>, 160>;

fn chosen(limit: impl ErasedStrategy<160> + 'static) -> Chosen {
    Erased::new(Arc::new(limit))
}

fn per(limit: u32, seconds: u64) -> Rate {
    Rate::new(limit, Duration::from_secs(seconds)).unwrap()
}

fn half() -> Ratio {
    Ratio::new(1, 2).unwrap()
}

/// Two parts of the day, one over midnight, in both of which some of the hits are.
fn by_hour<S: Scale<Verdict = traffik::Decision>>(strategy: S) -> TimeOfDay<S, 2> {
    let hours = [Hours::new((22, 0), (23, 30), half()), Hours::new((23, 30), (2, 0), Ratio::ONE)];
    TimeOfDay::new(strategy, hours).unwrap()
}

fn strict(rate: Rate) -> StrictWindow<5> {
    SlidingWindow::strict(rate)
}

async fn plain(scene: &mut Scene) {
    let rate = per(5, 3);
    let anchored = FixedWindow::new(rate).anchor(Duration::from_micros(777));
    checked(scene, "fixed_window", FixedWindow::new(rate)).await;
    checked(scene, "anchored", anchored).await;
    checked(scene, "long_window", FixedWindow::new(per(5, 7 * 86_400))).await;
    checked(scene, "sliding_window", SlidingWindow::new(rate)).await;
    checked(scene, "strict_window", strict(rate)).await;
    checked(scene, "heap_log", HeapLog::new(rate).unwrap()).await;
    checked(scene, "sliding_log", SlidingLog::<8>::new(rate).unwrap()).await;
    let rollover = QuotaRollover::new(rate).share(Ratio::new(2, 3).unwrap()).unwrap().max_rollover(4);
    checked(scene, "quota_rollover", rollover).await;
    checked(scene, "token_bucket", TokenBucket::new(rate).burst(4).unwrap().debt(2).unwrap()).await;
    checked(scene, "gcra", Gcra::new(rate).tolerance(Duration::from_micros(1_234_567)).unwrap()).await;
    checked(scene, "leaky_bucket", LeakyBucket::new(rate).capacity(6).unwrap()).await;
    checked(scene, "leaky_bucket_queue", LeakyBucketQueue::new(rate).queue(4).unwrap()).await;
    checked(scene, "drainless", TokenBucket::new(Rate::per_second(0)).burst(5).unwrap()).await;
    checked(scene, "unlimited", FixedWindow::new(Rate::UNLIMITED)).await;
}

async fn wrapped(scene: &mut Scene) {
    let rate = per(5, 3);
    let tiers = [(Label(0), half())];
    checked(scene, "tiered", Tiered::new(TokenBucket::new(rate), tiers).unwrap()).await;
    let reserves = [(Label(0), Ratio::new(1, 4).unwrap())];
    checked(scene, "priority", Priority::new(HeapLog::new(rate).unwrap(), reserves).unwrap()).await;
    checked(scene, "hours_token", by_hour(TokenBucket::new(rate))).await;
    checked(scene, "hours_window", by_hour(FixedWindow::new(rate))).await;
    checked(scene, "hours_rollover", by_hour(QuotaRollover::new(rate))).await;
    checked(scene, "hours_log", by_hour(HeapLog::new(rate).unwrap())).await;
    let inner: Arc<dyn ErasedScale<64>> = Arc::new(TokenBucket::new(rate));
    checked(scene, "hours_chosen", by_hour(Erased::new(inner))).await;
}

async fn composed(scene: &mut Scene) {
    let (rate, slower) = (per(5, 3), per(9, 60));
    checked(scene, "pair", (TokenBucket::new(rate), FixedWindow::new(slower))).await;
    checked(scene, "nested", (SlidingWindow::new(rate), (strict(rate), QuotaRollover::new(slower)))).await;
    checked(scene, "all", All([Gcra::new(rate).burst(5).unwrap(), Gcra::new(slower)])).await;
    let logs = All([HeapLog::new(rate).unwrap(), HeapLog::new(slower).unwrap()]);
    checked(scene, "all_logs", logs).await;
    checked(scene, "log_pair", (TokenBucket::new(rate), HeapLog::new(slower).unwrap())).await;
    let three = [
        chosen(TokenBucket::new(rate)),
        chosen(FixedWindow::new(Rate::UNLIMITED)),
        chosen(SmallLog::new(slower).unwrap()),
    ];
    checked(scene, "chosen", All(three.clone())).await;
    let one = three.into_iter().next().unwrap();
    checked(scene, "chosen_one", one).await;
    checked(scene, "chosen_hours", chosen(by_hour(FixedWindow::new(rate)))).await;
}

/// A log small enough to be inline; its limit is 9 at most.
type SmallLog = SlidingLog<9>;

async fn loaded(scene: &mut Scene) {
    let rate = per(9, 60);
    swapped(scene, "swap_token_bucket", TokenBucket::new(rate)).await;
    swapped(scene, "swap_fixed_window", FixedWindow::new(rate)).await;
    swapped(scene, "swap_adaptive", Adaptive::new(rate)).await;
    swapped(scene, "swap_cost_based", CostBased::new(rate)).await;
    swapped(scene, "swap_fair_share", FairShare::<2>::new(rate)).await;
    let regions = [(Label(1), half())];
    swapped(scene, "swap_regions", Regions::<2>::new(rate, &regions).unwrap()).await;
    swapped(scene, "swap_pair", (Adaptive::new(rate), Gcra::new(rate).burst(4).unwrap())).await;
    swapped(scene, "swap_chosen", chosen(TokenBucket::new(rate))).await;
}

async fn found(scene: &mut Scene) {
    let rate = per(9, 60);
    let window = FixedWindow::new(rate);
    planted(scene, "text", window, b"no state").await;
    planted(scene, "another", window, &[&[0x21][..], &[0; 24]].concat()).await;
    let late = [&[0x11][..], &((1u64 << 53) + 7).to_le_bytes(), &3u32.to_le_bytes()].concat();
    planted(scene, "late", window, &late).await;
    let longer = [&[0x11][..], &super::START.to_le_bytes(), &3u32.to_le_bytes(), b"x"].concat();
    planted(scene, "longer", window, &longer).await;
    planted(scene, "pair_text", (window, TokenBucket::new(rate)), b"no state").await;
    planted(scene, "log_text", HeapLog::new(rate).unwrap(), b"no state").await;
}

fn run(part: impl AsyncFn(&mut Scene), name: &str) {
    let mut scene = Scene::new();
    runtime().block_on(part(&mut scene));
    compare(&scene, name);
}

#[test]
fn scripts_decide_on_plain_limits_as_ever() {
    run(plain, "checks_plain");
}

#[test]
fn scripts_decide_on_wrapped_limits_as_ever() {
    run(wrapped, "checks_wrapped");
}

#[test]
fn scripts_decide_on_composed_limits_as_ever() {
    run(composed, "checks_composed");
}

#[test]
fn states_are_swapped_as_ever() {
    run(loaded, "swaps");
}

#[test]
fn what_is_found_is_taken_as_ever() {
    run(found, "found");
}

#[test]
fn scripts_have_the_same_texts() {
    let mut scene = Scene::new();
    runtime().block_on(async {
        plain(&mut scene).await;
        wrapped(&mut scene).await;
        composed(&mut scene).await;
        loaded(&mut scene).await;
    });
    let mut scripts: Vec<_> =
        scene.scripts.iter().map(|(hash, first)| format!("{first}: {hash}\n")).collect();
    scripts.sort();
    golden(FOLDER, "scripts", &scripts.concat());
}
