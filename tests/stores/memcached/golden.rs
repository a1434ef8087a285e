//! The commands to a Memcached server, its answers and its items, on a clock that is set.
//!
//! `{u1}` stands for a number by which the server tells versions of items apart, `{call}` for that of a call,
//! `{rest}` for the seconds that an item has yet to live.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Duration;

use self::talk::{Call, Uniques, bytes, calls};
use crate::recorder::Recorder;
use traffik::runtime::Tokio;
use traffik::storage::AsyncStorage;
use traffik::strategy::{Cost, Erased, ErasedStrategy};
use traffik::{
    Adaptive, All, Clock, CostBased, FairShare, FixedWindow, Gcra, HeapLog, Hit, Hours, Label, LeakyBucket,
    LeakyBucketQueue, MemcachedStorage, Op, QuotaRollover, Rate, Ratio, Regions, SlidingLog, SlidingWindow,
    Strategy, StrictWindow, Tiered, TimeOfDay, Timestamp, TokenBucket, Verdict,
};
use traffik_test_support::agree::{Shared, runtime};
use traffik_test_support::golden::golden;
use traffik_test_support::servers::Memcached;

mod names;
mod talk;

const FOLDER: &str = "tests/stores/memcached/golden";

/// The first time: no round number.
const START: u64 = 1_700_000_000_123_457;

type Storage = MemcachedStorage<Tokio>;

/// A server behind what keeps all that is said, and what is to be compared.
struct Scene {
    server: Memcached,
    recorder: Recorder,
    clock: Shared,
    uniques: Uniques,
    text: String,
}

impl Scene {
    fn new() -> Self {
        let server = Memcached::start();
        let recorder = Recorder::to(server.address());
        let (clock, uniques, text) = (Shared::default(), Uniques::default(), String::new());
        Self { server, recorder, clock, uniques, text }
    }

    /// A storage of one connection, so that all is said in one order.
    fn storage(&self, namespace: &str) -> Storage {
        let storage = MemcachedStorage::servers(Tokio, [self.recorder.address().to_string()]);
        let storage = storage.namespace(namespace).clock(self.clock.clone()).max_connections(1).min_idle(1);
        storage.timeout(Duration::from_secs(10)).build().unwrap()
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.text, "{line}").unwrap();
    }

    /// The calls so far, without the questions whether a namespace has been cleared: there are some each
    /// second.
    fn made(&self) -> Vec<Call> {
        let mut made = calls(&self.recorder);
        made.retain(|call| !call.request.words[1].ends_with("#generation{}"));
        made
    }

    /// Writes calls.
    fn told(&mut self, calls: &[Call]) {
        for call in calls {
            let (request, answer) = (self.uniques.text(&call.request), self.uniques.text(&call.answer));
            self.line(format_args!("  {request}"));
            self.line(format_args!("    {answer}"));
        }
    }

    fn kept(&mut self, item: &str) {
        let kept = self.server.get(item).map_or_else(|| "nothing".to_owned(), |kept| bytes(&kept));
        self.line(format_args!("  {item} {kept}"));
    }

    fn set(&self, micros: u64) {
        self.clock.0.set(Timestamp::from_micros(micros));
    }

    /// Runs an operation, and writes what was called, the outcome and what is kept.
    async fn apply<S: Strategy>(
        &mut self,
        (storage, name): (&Storage, &str),
        strategy: &S,
        op: Op<S>,
    ) -> S::Verdict {
        let verdict = storage.apply(strategy, &"k", &op).await.unwrap();
        let now = self.clock.now().as_micros().wrapping_sub(START).cast_signed();
        let (verb, cost) = match &op {
            Op::Check(hit) => ("check", Some(hit.cost)),
            Op::Peek(hit) => ("peek", Some(hit.cost)),
            Op::Charge(hit) => ("charge", Some(hit.cost)),
            Op::Refund(hit, _) => ("refund", Some(hit.cost)),
            Op::Reset => ("reset", None),
        };
        let cost = cost.map_or_else(String::new, |cost| format!(" {cost:?}"));
        self.line(format_args!("{verb}{cost} {now:+}: {:?}", verdict.outcome()));
        let made = self.made();
        self.told(&made);
        self.kept(&format!("{name}:{{k}}"));
        verdict
    }

    async fn check<S: Strategy>(&mut self, at: (&Storage, &str), strategy: &S) {
        let _ = self.apply(at, strategy, Op::Check(hit(1))).await;
    }
}

fn hit<C: Cost>(cost: u32) -> Hit<C> {
    Hit::new(C::uniform(cost))
}

/// Writes what comes of every operation.
async fn asked<S: Strategy>(scene: &mut Scene, name: &str, strategy: S) {
    scene.line(format_args!("\n{name}"));
    let at = (&scene.storage(name), name);
    scene.set(START);
    let first = scene.apply(at, &strategy, Op::Check(hit(1))).await;
    scene.apply(at, &strategy, Op::Check(hit(0))).await;
    scene.set(START + 200_001);
    scene.apply(at, &strategy, Op::Check(hit(2))).await;
    scene.apply(at, &strategy, Op::Check(hit(1))).await;
    scene.apply(at, &strategy, Op::Peek(hit(1))).await;
    scene.apply(at, &strategy, Op::Refund(hit(1), first.receipt())).await;
    scene.apply(at, &strategy, Op::Charge(hit(9))).await;
    scene.apply(at, &strategy, Op::Check(hit(1))).await;
    scene.set(START + 7_205_000_000);
    scene.apply(at, &strategy, Op::Check(hit(1))).await;
    scene.set(START + 7_204_900_000);
    scene.apply(at, &strategy, Op::Check(hit(1))).await;
    scene.apply(at, &strategy, Op::Reset).await;
    scene.apply(at, &strategy, Op::Reset).await;
}

fn per(limit: u32, seconds: u64) -> Rate {
    Rate::new(limit, Duration::from_secs(seconds)).unwrap()
}

fn half() -> Ratio {
    Ratio::new(1, 2).unwrap()
}

fn by_hour(limit: FixedWindow) -> TimeOfDay<FixedWindow, 1> {
    TimeOfDay::new(limit, [Hours::new((23, 0), (12, 0), half())]).unwrap()
}

type Chosen = Erased<Arc<dyn ErasedStrategy<64>>, 64>;

fn chosen(limit: impl ErasedStrategy<64> + 'static) -> Chosen {
    Erased::new(Arc::new(limit))
}

async fn counted(scene: &mut Scene) {
    let rate = per(5, 60);
    let window = FixedWindow::new(rate);
    asked(scene, "window", window).await;
    asked(scene, "anchored", window.anchor(Duration::from_secs(7))).await;
    asked(scene, "long_window", FixedWindow::new(per(5, 7 * 86_400))).await;
    asked(scene, "odd_window", FixedWindow::new(Rate::new(5, Duration::from_millis(1_234)).unwrap())).await;
    asked(scene, "large_window", FixedWindow::new(per(1_000_000, 60))).await;
    asked(scene, "unlimited", FixedWindow::new(Rate::UNLIMITED)).await;
    asked(scene, "tiered", Tiered::new(window, [(Label(0), half())]).unwrap()).await;
    asked(scene, "hours", by_hour(window)).await;
    asked(scene, "chosen", All([chosen(window), chosen(Gcra::new(Rate::UNLIMITED))])).await;
}

async fn swapped(scene: &mut Scene) {
    let rate = per(5, 60);
    let strict: StrictWindow<5> = SlidingWindow::strict(rate);
    asked(scene, "token_bucket", TokenBucket::new(rate).burst(4).unwrap().debt(2).unwrap()).await;
    asked(scene, "gcra", Gcra::new(rate).burst(4).unwrap()).await;
    asked(scene, "leaky_bucket", LeakyBucket::new(rate)).await;
    asked(scene, "queue", LeakyBucketQueue::new(rate).queue(4).unwrap()).await;
    asked(scene, "sliding_window", SlidingWindow::new(rate)).await;
    asked(scene, "strict_window", strict).await;
    asked(scene, "heap_log", HeapLog::new(rate).unwrap()).await;
    asked(scene, "sliding_log", SlidingLog::<5>::new(rate).unwrap()).await;
    asked(scene, "rollover", QuotaRollover::new(rate)).await;
    asked(scene, "adaptive", Adaptive::new(rate)).await;
    asked(scene, "cost_based", CostBased::new(rate)).await;
    asked(scene, "fair_share", FairShare::<2>::new(rate)).await;
    asked(scene, "regions", Regions::<2>::new(rate, &[(Label(1), half())]).unwrap()).await;
    asked(scene, "pair", (TokenBucket::new(rate), FixedWindow::new(per(9, 3_600)))).await;
    asked(scene, "all", All([Gcra::new(rate).burst(4).unwrap(), Gcra::new(per(9, 60))])).await;
    asked(scene, "chosen_two", All([chosen(TokenBucket::new(rate)), chosen(FixedWindow::new(rate))])).await;
}

/// Writes what becomes of a count that another limit finds, of one far below zero, and of what is none.
async fn found(scene: &mut Scene) {
    let window = |limit| FixedWindow::new(per(limit, 60));
    scene.set(START);
    scene.line("changed");
    let at = (&scene.storage("changed"), "changed");
    for limit in [5, 5, 9, 2, 9] {
        scene.check(at, &window(limit)).await;
    }
    scene.check(at, &FixedWindow::new(per(9, 3_600))).await;
    scene.check(at, &TokenBucket::new(per(9, 60))).await;
    scene.line("\nflood");
    let at = (&scene.storage("flood"), "flood");
    scene.check(at, &window(1)).await;
    scene.server.command("ma flood:{k} MD D262200");
    for _ in 0..2 {
        scene.check(at, &window(1)).await;
    }
    for (name, planted) in [("number", &b"7"[..]), ("text", b"no state"), ("state", &[0x11; 13])] {
        scene.line(format_args!("\n{name}"));
        let at = (&scene.storage(name), name);
        scene.server.set(&format!("{name}:{{k}}"), planted);
        scene.check(at, &window(5)).await;
        scene.check(at, &window(5)).await;
        scene.server.set(&format!("{name}:{{k}}"), planted);
        scene.check(at, &TokenBucket::new(per(5, 60))).await;
    }
}

fn compare(scene: &Scene, name: &str) {
    golden(FOLDER, name, &scene.text);
}

#[test]
fn windows_are_counted_as_ever() {
    let mut scene = Scene::new();
    runtime().block_on(counted(&mut scene));
    compare(&scene, "counts");
}

#[test]
fn states_are_swapped_as_ever() {
    let mut scene = Scene::new();
    runtime().block_on(swapped(&mut scene));
    compare(&scene, "swaps");
}

#[test]
fn what_is_found_is_taken_as_ever() {
    let mut scene = Scene::new();
    runtime().block_on(found(&mut scene));
    compare(&scene, "found");
}
