//! The events of a test, line by line: the calls of storages, their remaining costs, and the events of
//! observers.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, Local, MultiKeyReply, Reply, WaitQueue};
use traffik::strategy::Cost;
use traffik::web::{Event, Observe, Tally};
use traffik::{Class, Decision, ErasedKey, Hit, Memory, Op, Outcome, Strategy, Timestamp, Verdict};

use crate::elsewhere::owned;

/// A storage of any kind.
pub type Stored<S> = Arc<dyn AsyncStorage<S>>;

/// The visible events, and apart from them the calls of storages. Clones are the same.
#[derive(Clone, Default)]
pub struct Notes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    text: Mutex<String>,
    calls: Mutex<String>,
    ledgers: Mutex<Vec<Arc<dyn Left>>>,
    tally: Tally,
}

/// Tells what is left of each key of which that has changed since it was told last.
trait Left: Send + Sync {
    fn left(&self) -> String;
}

impl Notes {
    /// Adds a line to what people see.
    pub fn line(&self, line: &str) {
        self.0.text.lock().unwrap().extend([line, "\n"]);
    }

    /// Adds a line to what storages were asked.
    pub fn call(&self, line: &str) {
        self.0.calls.lock().unwrap().extend([line, "\n"]);
    }

    /// Adds what is left in all storages, of each key of which that is not what was told last.
    pub fn left(&self) {
        let ledgers = self.0.ledgers.lock().unwrap().clone();
        ledgers.iter().for_each(|ledger| self.0.text.lock().unwrap().push_str(&ledger.left()));
    }

    /// All that is written down since it was taken last: what people see, and what storages were asked.
    pub fn take(&self) -> (String, String) {
        self.0.ledgers.lock().unwrap().clear();
        (
            std::mem::take(&mut *self.0.text.lock().unwrap()),
            std::mem::take(&mut *self.0.calls.lock().unwrap()),
        )
    }

    /// The counts of all events, without durations.
    pub fn metrics(&self) -> String {
        without_times(&self.0.tally.prometheus())
    }

    /// The same without what did not happen.
    pub fn counted(&self) -> String {
        let metrics = self.metrics();
        let is_counted =
            |line: &&str| !line.starts_with('#') && !line.ends_with(" 0") && !line.ends_with(" *");
        metrics.lines().filter(is_counted).map(|line| format!("{line}\n")).collect()
    }

    /// A storage whose calls go through `through` to `truth`, and are noted.
    pub fn ledger<S: Strategy>(
        &self,
        uid: &str,
        through: Stored<S>,
        truth: Local<Arc<Memory<S, Manual>>>,
    ) -> Stored<S> {
        let (uid, notes) = (uid.to_owned(), self.clone());
        let ledger = Arc::new(Ledger { uid, notes, through, truth, keys: Mutex::default() });
        self.0.ledgers.lock().unwrap().push(Arc::clone(&ledger) as _);
        ledger
    }
}

/// Writes down what it hears, and counts it.
impl Observe for Notes {
    fn seen(&self, event: &Event<'_>) {
        self.0.tally.seen(event);
        let mut line = format!("  heard {} {}", event.throttle, event.result.name());
        if let Some(client) = event.client {
            line.extend([" of ", &name(client)]);
        }
        if let Some(origin) = event.origin {
            line.extend([" from ", origin.name()]);
        }
        if let (Some(kind), Some(failure)) = (event.failure_kind(), event.failure) {
            write!(line, ", {kind}: {failure}").unwrap();
        }
        if event.took.is_some() {
            line.push_str(", timed");
        }
        self.line(&line);
    }
}

/// The name of a key; connections, of which each has a name that nothing ever had, are all called the
/// same.
pub fn name(key: &dyn ErasedKey) -> String {
    let mut text = String::new();
    key.name_to(&mut text).unwrap();
    let is_connection = |word: &&str| {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        word.split_once('-').is_some_and(|(one, other)| one.len() == 16 && digits(one) && digits(other))
    };
    let word = |word| if is_connection(&word) { "connection" } else { word };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The same without what observers heard.
pub fn unobserved(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("  heard ")).map(|line| format!("{line}\n")).collect()
}

/// A limit's decision, in words.
pub fn decision(told: &Decision) -> String {
    if told.is_unlimited() {
        return "no limit".to_owned();
    }
    let window = told.window().as_millis();
    let reset = told.reset_after().as_millis();
    format!("{} of {} in {window} ms, whole in {reset} ms", told.remaining(), told.limit())
}

/// Returns a decision's outcome in words.
pub fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Allow { after } if after.is_zero() => "allowed".to_owned(),
        Outcome::Allow { after } => format!("allowed in {} ms", after.as_millis()),
        Outcome::Deny { retry_after } => format!("denied for {} ms", retry_after.as_millis()),
        Outcome::Never => "never".to_owned(),
    }
}

/// Metrics without the figures that tell how long something took.
pub fn without_times(metrics: &str) -> String {
    let line = |line: &str| {
        let is_timed =
            line.contains("_bucket{") && !line.contains("\"+Inf\"") || line.contains("_seconds_sum{");
        match line.rsplit_once(' ').filter(|_| is_timed) {
            Some((series, _)) => format!("{series} *\n"),
            None => format!("{line}\n"),
        }
    };
    metrics.lines().map(line).collect()
}

struct Ledger<S: Strategy> {
    uid: String,
    notes: Notes,
    through: Stored<S>,
    truth: Local<Arc<Memory<S, Manual>>>,
    keys: Mutex<Vec<Known<S>>>,
}

/// A key that was asked about, and the limit that was asked last.
struct Known<S> {
    key: Vec<u8>,
    name: String,
    strategy: S,
    class: Class,
    /// The text at the last look.
    told: String,
}

impl<S: Strategy> Ledger<S> {
    fn note(&self, what: &str, strategy: &S, key: &dyn ErasedKey, class: Option<Class>) {
        let name = name(key);
        self.notes.call(&format!("  {} {what} {name}", self.uid));
        let bytes = owned(key);
        let mut keys = self.keys.lock().unwrap();
        match keys.iter_mut().find(|known| known.key == bytes) {
            Some(known) => {
                known.strategy = strategy.clone();
                known.class = class.unwrap_or(known.class);
            }
            None => {
                let class = class.unwrap_or_default();
                keys.push(Known { key: bytes, name, strategy: strategy.clone(), class, told: String::new() });
            }
        }
    }
}

impl<S: Strategy> Left for Ledger<S> {
    fn left(&self) -> String {
        let mut text = String::new();
        for known in &mut *self.keys.lock().unwrap() {
            let hit = Hit::new(S::Cost::uniform(0)).with_class(known.class);
            let reply = self.truth.apply(&known.strategy, &known.key, &Op::Peek(hit));
            let Reply::Ready(Some(Ok(verdict))) = reply else { continue };
            let mut line = format!("  left in {} of {}:", self.uid, known.name);
            verdict.for_each(&mut |told| write!(line, " {};", decision(told)).unwrap());
            if line != known.told {
                text.extend([&*line, "\n"]);
                known.told = line;
            }
        }
        text
    }
}

impl<S: Strategy> AsyncStorage<S> for Ledger<S> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let (what, class) = match op {
            Op::Check(hit) => (format!("check {}", hit.cost.largest()), Some(hit.class)),
            Op::Peek(hit) => (format!("peek {}", hit.cost.largest()), Some(hit.class)),
            Op::Charge(hit) => (format!("charge {}", hit.cost.largest()), Some(hit.class)),
            Op::Refund(hit, _) => (format!("refund {}", hit.cost.largest()), Some(hit.class)),
            Op::Reset => ("reset".to_owned(), None),
        };
        self.note(&what, strategy, key, class);
        self.through.apply(strategy, key, op)
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.note("load", strategy, key, None);
        self.through.load(strategy, key)
    }

    fn is_local(&self) -> bool {
        self.through.is_local()
    }

    fn known_denial(&self, strategy: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
        self.through.known_denial(strategy, key, hit)
    }

    fn check_together(
        &self,
        strategy: &S,
        keys: &[&dyn ErasedKey],
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        keys.iter().for_each(|key| self.note("check together", strategy, *key, Some(hit.class)));
        self.through.check_together(strategy, keys, hit)
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        self.through.wait_queue()
    }
}
