//! The commands to a Redis server, its answers and its keys, word for word, on a clock that is set.
//!
//! `checks` has what scripts decide for each kind of limit that they know, `swaps` what is loaded and
//! swapped, `found` what becomes of what is no state, `names` what keys are called, `locks` what is asked for
//! a lock. `scripts` has the hashes of all scripts: it alone tells when the text of one changes.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::time::Duration;

use self::talk::{Call, Item, calls, hex};
use crate::recorder::Recorder;
use traffik::storage::{AsyncStorage, MultiKeyReply};
use traffik::strategy::Cost;
use traffik::{Clock, Hit, Op, RedisBuilder, RedisStorage, Strategy, Timestamp, Verdict};
use traffik_test_support::agree::{Shared, runtime};
use traffik_test_support::golden::golden;
use traffik_test_support::servers::{Redis, Reply};

mod keys;
mod limits;
mod locks;
mod talk;

const FOLDER: &str = "tests/stores/redis/golden";

/// The first time: no round number.
const START: u64 = 1_700_000_000_123_457;

/// A server behind what keeps all that is said, and what is to be compared.
struct Scene {
    server: Redis,
    recorder: Recorder,
    clock: Shared,
    /// By hash, which is that of the text: when a script was first called.
    scripts: BTreeMap<String, String>,
    text: String,
}

impl Scene {
    fn new() -> Self {
        let server = Redis::start();
        let recorder = Recorder::to(server.address());
        let (clock, scripts, text) = (Shared::default(), BTreeMap::new(), String::new());
        Self { server, recorder, clock, scripts, text }
    }

    /// A storage on the server's own clock.
    fn real(&self, namespace: &str) -> RedisBuilder {
        let url = format!("redis://{}", self.recorder.address());
        RedisStorage::url(&url).unwrap().namespace(namespace).timeout(Duration::from_secs(10))
    }

    fn storage(&self, namespace: &str) -> RedisStorage {
        self.real(namespace).clock(self.clock.clone()).build().unwrap()
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.text, "{line}").unwrap();
    }

    /// The calls so far.
    fn made(&self) -> Vec<Call> {
        calls(&self.recorder)
    }

    /// Writes what was called.
    fn calls(&mut self, name: &str) {
        let made = self.made();
        for call in &made {
            self.line(format_args!("  {}", call.text()));
            self.line(format_args!("    {}", call.answered()));
            if let Some((hash, known)) = call.script() {
                self.scripts.entry(hash).or_insert_with(|| known.unwrap_or(name).to_owned());
            }
        }
    }

    /// Writes what the server keeps of these keys, and for how many minutes.
    fn kept(&mut self, keys: &[String]) {
        for key in keys {
            let kept = match self.server.command(&["GET", key]) {
                Reply::Bulk(bytes) => hex(&bytes),
                Reply::Null => "nothing".to_owned(),
                other => format!("{other:?}"),
            };
            // Some of the last minute has gone by.
            let minutes = self.server.command(&["PTTL", key]).integer().cast_unsigned().div_ceil(60_000);
            let minutes = if kept == "nothing" { String::new() } else { format!(" for {minutes} min") };
            self.line(format_args!("  {key} {kept}{minutes}"));
        }
    }

    fn set(&self, micros: u64) {
        self.clock.0.set(Timestamp::from_micros(micros));
    }

    /// Runs an operation, and writes what was called, the outcome and what is kept.
    async fn apply<S: Strategy>(
        &mut self,
        (storage, name): (&RedisStorage, &str),
        strategy: &S,
        op: Op<S>,
    ) -> S::Verdict {
        let verdict = storage.apply(strategy, &"k", &op).await.unwrap();
        let now = self.clock.now().as_micros().wrapping_sub(START).cast_signed();
        self.line(format_args!("{} {now:+}: {:?}", told(&op), verdict.outcome()));
        self.calls(name);
        self.kept(&[format!("{name}:{{k}}")]);
        verdict
    }
}

/// An operation, without what it is taken back by.
fn told<S: Strategy>(op: &Op<S>) -> String {
    match op {
        Op::Check(hit) => format!("check {:?}", hit.cost),
        Op::Peek(hit) => format!("peek {:?}", hit.cost),
        Op::Charge(hit) => format!("charge {:?}", hit.cost),
        Op::Refund(hit, _) => format!("refund {:?}", hit.cost),
        Op::Reset => "reset".to_owned(),
    }
}

/// The hits of a run: the cost, and the microseconds after the first hit.
const HITS: [(u32, u64); 10] = [
    (1, 0),
    (2, 200_001),
    (1, 900_000),
    (0, 900_000),
    (1, 850_000),
    (4, 3_500_007),
    (9, 3_600_000),
    (1, 7_205_000_000),
    (3, 7_205_000_009),
    (1, 93_000_000_000),
];

/// Writes what the script decides on one key, and on two at once.
async fn checked<S: Strategy>(scene: &mut Scene, name: &str, strategy: S) {
    scene.line(format_args!("\n{name}"));
    let storage = scene.storage(name);
    for (cost, after) in HITS {
        scene.set(START + after);
        scene.apply((&storage, name), &strategy, Op::Check(Hit::new(S::Cost::uniform(cost)))).await;
    }
    scene.line("two keys");
    for cost in [1, 2, 9] {
        let hit = Hit::new(S::Cost::uniform(cost));
        let told = match storage.check_together(&strategy, &[&"k", &"l"], &hit).await.unwrap() {
            MultiKeyReply::Atomic(verdicts) => {
                verdicts.iter().map(|verdict| format!(" {:?}", verdict.outcome())).collect()
            }
            MultiKeyReply::Sequential(_) => " in turn".to_owned(),
            MultiKeyReply::Unsupported => " unable".to_owned(),
        };
        scene.line(format_args!("check {cost}:{told}"));
        scene.calls(&format!("{name}, two keys"));
        scene.kept(&["k", "l"].map(|key| format!("{name}:{{{key}}}")));
    }
}

/// Writes what all operations load and swap, and what a check of the same limit comes to.
async fn swapped<S: Strategy>(scene: &mut Scene, name: &str, strategy: S) {
    scene.line(format_args!("\n{name}"));
    scene.set(START);
    let at = (&scene.storage(name), name);
    let hit = |cost| Hit::new(S::Cost::uniform(cost));
    let taken = scene.apply(at, &strategy, Op::Check(hit(1))).await;
    scene.apply(at, &strategy, Op::Peek(hit(2))).await;
    scene.set(START + 300_000);
    scene.apply(at, &strategy, Op::Charge(hit(2))).await;
    scene.apply(at, &strategy, Op::Check(hit(40))).await;
    scene.apply(at, &strategy, Op::Refund(hit(1), taken.receipt())).await;
    scene.apply(at, &strategy, Op::Charge(hit(50))).await;
    scene.apply(at, &strategy, Op::Check(hit(1))).await;
    scene.apply(at, &strategy, Op::Reset).await;
    scene.apply(at, &strategy, Op::Reset).await;
}

/// Writes what becomes of a key at which there is something else.
async fn planted<S: Strategy>(scene: &mut Scene, name: &str, strategy: S, bytes: &[u8]) {
    scene.line(format_args!("\n{name} finds {}", Item::Bytes(bytes.to_vec()).text()));
    scene.set(START);
    let at = (&scene.storage(name), name);
    let key = format!("{name}:{{k}}");
    for op in [Op::Check(Hit::new(S::Cost::uniform(1))), Op::Charge(Hit::new(S::Cost::uniform(1)))] {
        scene.server.command(&[&b"SET"[..], key.as_bytes(), bytes]);
        scene.apply(at, &strategy, op).await;
    }
}

fn compare(scene: &Scene, name: &str) {
    golden(FOLDER, name, &scene.text);
}
