//! Every strategy does on Memcached what a storage owes, a user's own too.

use traffik::laws;
use traffik::{
    Adaptive, Class, CostBased, Decision, FairShare, FixedWindow, Gcra, HeapLog, Hit, Label, LeakyBucket,
    LeakyBucketQueue, Priority, QuotaRollover, Rate, Ratio, Receipt, Regions, SlidingLog, SlidingWindow,
    Strategy, Tiered, Timestamp, TokenBucket,
};

use super::{SERVER, by_hour, run, storage, strict};

#[test]
fn memcached_keeps_the_duties_of_a_storage() {
    async fn held<S: Strategy>(name: &str, limit: S) {
        let storage = storage(name);
        laws::awaited::every(&limit, &storage).await.unwrap();
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
        laws::awaited::corrupt_is_never_seen(&limit, &storage, plant).await.unwrap();
    }
    run(async {
        let rate = Rate::per_hour(7);
        held("duty-window", FixedWindow::new(rate)).await;
        held("duty-tiers", Tiered::new(FixedWindow::new(rate), [(Label(1), Ratio::ONE)]).unwrap()).await;
        held("duty-hours", by_hour(FixedWindow::new(rate))).await;
        held("duty-token", TokenBucket::new(rate)).await;
        held("duty-gcra", Gcra::new(rate).burst(5).unwrap()).await;
        held("duty-queue", LeakyBucketQueue::new(rate)).await;
        held("duty-sliding", SlidingWindow::new(rate)).await;
        held("duty-strict", strict(rate)).await;
        held("duty-log", SlidingLog::<8>::new(rate).unwrap()).await;
        held("duty-heap", HeapLog::new(rate).unwrap()).await;
        held("duty-rollover", QuotaRollover::new(rate)).await;
        held("duty-costs", CostBased::new(rate)).await;
        held("duty-adaptive", Adaptive::new(rate)).await;
        held("duty-leaky", LeakyBucket::new(rate).capacity(5).unwrap()).await;
        let quarter = Ratio::new(1, 4).unwrap();
        held("duty-priority", Priority::new(FixedWindow::new(rate), [(Label(1), quarter)]).unwrap()).await;
        held("duty-fair", FairShare::<4>::new(rate)).await;
        held("duty-regions", Regions::<2>::new(rate, &[(Label(0), Ratio::ONE)]).unwrap()).await;
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

    fn fresh_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.0.fresh_at(state, class)
    }

    fn horizon(&self) -> u64 {
        self.0.horizon()
    }

    fn stat(&self, _: &Self::State, _: Class, _: Timestamp) {}
}
