//! Every strategy does on Memcached what a storage owes, a user's own too.

use traffik::laws;
use traffik::{
    Class, Decision, FixedWindow, HeapLog, Hit, Label, Priority, Rate, Ratio, Receipt, Strategy, Tiered,
    Timestamp, TokenBucket,
};

use super::{SERVER, by_hour, run, storage};

#[test]
fn memcached_keeps_the_duties_of_a_storage() {
    async fn held<S: Strategy>(name: &str, strategy: S) {
        let storage = storage(name);
        laws::awaited::every(&strategy, &storage).await.unwrap();
        let plant = async |key: &[u8], bytes: &[u8]| {
            let escaped: String = key
                .iter()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b':' | b'_' | b'-' | b'@' | b'/' => {
                        char::from(*byte).to_string()
                    }
                    other => format!("%{other:02x}"),
                })
                .collect();
            SERVER.set(&format!("{name}:{{{escaped}}}"), bytes);
        };
        laws::awaited::corrupt_is_never_seen(&strategy, &storage, plant).await.unwrap();
    }
    run(async {
        let rate = Rate::per_hour(7);
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                held(concat!("duty-", stringify!($name)), make(rate).unwrap()).await;
            };
        }
        traffik::every_strategy!(each);
        held("duty-tiers", Tiered::new(FixedWindow::new(rate), [(Label(1), Ratio::ONE)]).unwrap()).await;
        held("duty-hours", by_hour(FixedWindow::new(rate))).await;
        let quarter = Ratio::new(1, 4).unwrap();
        held("duty-priority", Priority::new(FixedWindow::new(rate), [(Label(1), quarter)]).unwrap()).await;
        held("duty-heap", HeapLog::new(rate).unwrap()).await;
        held("duty-own", Own(TokenBucket::new(rate))).await;
        held("duty-pair", (TokenBucket::new(rate), FixedWindow::new(Rate::per_day(9)))).await;
    });
}

/// A strategy of a user's own, of which no store knows more than that.
#[derive(Clone)]
struct Own(TokenBucket);

impl Strategy for Own {
    type State = <TokenBucket as Strategy>::State;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = ();

    fn decide(&self, state: &mut Self::State, hit: &Hit, now: Timestamp) -> Decision {
        self.0.decide(state, hit, now)
    }

    fn charge(&self, state: &mut Self::State, hit: &Hit, now: Timestamp) {
        self.0.charge(state, hit, now);
    }

    fn refund(&self, state: &mut Self::State, hit: &Hit, receipt: Receipt, now: Timestamp) {
        self.0.refund(state, hit, receipt, now);
    }

    fn expires_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.0.expires_at(state, class)
    }

    fn max_ttl(&self) -> u64 {
        self.0.max_ttl()
    }

    fn stat(&self, _: &Self::State, _: Class, _: Timestamp) {}
}
