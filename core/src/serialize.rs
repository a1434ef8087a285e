//! The forms in which serde writes and reads values (feature `serde`).
//!
//! | value | form |
//! |---|---|
//! | [`Rate`], [`Ratio`] | the text that they print, such as `"100/m"` and `"3/2"` |
//! | [`Timestamp`](crate::Timestamp) | microseconds since the epoch, as a number |
//! | [`Outcome`] | `{"allow": {"after": 0}}`, `{"deny": {"retry_after": 500000}}` or `"never"` (µs) |
//! | [`Decision`] | its figures, waits in microseconds; only written |
//! | the state of a strategy | the bytes of [`encode`](crate::strategy::encode); nothing else is read |
//! | [`Composite`] | the decision of each limit, and the outcome; only written |
//!
//! The other values are written as their fields. A state of more than 1024 bytes, such as that of a log with
//! more than about eighty entries, cannot be written: serde returns an error.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::strategy::{Composite, DecisionList, PerLimit};
use crate::time::micros_ceil;
use crate::{Decision, Outcome, Rate, Ratio, Verdict};

/// Implements serde for values that are written as their printed text, and read by parsing it.
macro_rules! as_text {
    ($($value:ty, $expected:literal;)*) => {$(
        impl Serialize for $value {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;
                impl Visitor<'_> for TextVisitor {
                    type Value = $value;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$value, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(TextVisitor)
            }
        }
    )*};
}

as_text! {
    Rate, "a rate such as \"100/min\"";
    Ratio, "a ratio such as \"3/2\"";
}

impl Serialize for Decision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = serializer.serialize_struct("Decision", 6)?;
        form.serialize_field("outcome", &self.outcome())?;
        form.serialize_field("limit", &self.limit())?;
        form.serialize_field("window", &micros_ceil(self.window()))?;
        form.serialize_field("remaining", &self.remaining())?;
        form.serialize_field("reset_after", &micros_ceil(self.reset_after()))?;
        form.serialize_field("unlimited", &self.is_unlimited())?;
        form.end()
    }
}

impl<A: Verdict + Serialize, B: Verdict + Serialize> Serialize for Composite<(A, B)> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = serializer.serialize_struct("Composite", 3)?;
        form.serialize_field("first", &self.parts.0)?;
        form.serialize_field("second", &self.parts.1)?;
        form.serialize_field("outcome", &self.outcome())?;
        form.end()
    }
}

impl<V: Verdict + Serialize, const N: usize> Serialize for Composite<[V; N]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        verdicts(&self.parts, self.outcome(), serializer)
    }
}

impl<const N: usize> Serialize for Composite<DecisionList<N>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        verdicts(self.decisions(), self.outcome(), serializer)
    }
}

fn verdicts<V: Serialize, S: Serializer>(
    decisions: &[V],
    outcome: Outcome,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut form = serializer.serialize_struct("Composite", 2)?;
    form.serialize_field("decisions", decisions)?;
    form.serialize_field("outcome", &outcome)?;
    form.end()
}

impl<T: Serialize, const N: usize> Serialize for PerLimit<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de, T: Deserialize<'de> + Default, const N: usize> Deserialize<'de> for PerLimit<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SequenceVisitor<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Default, const N: usize> Visitor<'de> for SequenceVisitor<T, N> {
            type Value = PerLimit<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list with one value for each of {N} limits")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
                let mut each = PerLimit::default();
                for (at, place) in each.0.iter_mut().enumerate() {
                    *place = sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &self))?;
                }
                match sequence.next_element::<T>()? {
                    None => Ok(each),
                    Some(_) => Err(A::Error::invalid_length(N + 1, &self)),
                }
            }
        }
        deserializer.deserialize_seq(SequenceVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Debug;
    use core::time::Duration;

    use serde::de::DeserializeOwned;
    use serde_json::{Value, from_str, from_value, json, to_string, to_value};

    use super::*;
    use crate::storage::{Counters, WhenFull};
    use crate::strategy::{ErasedVerdict, Level, Shares};
    use crate::{
        Adaptive, All, Class, CostBased, ErrorKind, FixedWindow, Gcra, Hit, Label, QuotaRollover, Receipt,
        SlidingLog, SlidingWindow, Strategy, TimeOfDay, Timestamp, TokenBucket, rate,
    };

    fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, form: Value) {
        assert_eq!(to_value(value).unwrap(), form);
        assert_eq!(from_value::<T>(form).unwrap(), *value);
    }

    #[test]
    fn values_are_written_and_read_in_these_forms() {
        both_ways(&rate!("100/min"), json!("100/m"));
        both_ways(&Rate::UNLIMITED, json!("0/0"));
        both_ways(&Ratio::new(6, 4).unwrap(), json!("3/2"));
        both_ways(&Timestamp::MAX, json!(u64::MAX));
        both_ways(&Outcome::Allow { after: Duration::from_millis(1) }, json!({"allow": {"after": 1000}}));
        both_ways(
            &Outcome::Deny { retry_after: Duration::from_secs(1) },
            json!({"deny": {"retry_after": 1_000_000}}),
        );
        both_ways(&Outcome::Never, json!("never"));
        both_ways(&Counters { evictions: 1, refusals: 2 }, json!({"evictions": 1, "refusals": 2}));
        both_ways(&WhenFull::Refuse, json!("refuse"));
        both_ways(&ErrorKind::Timeout, json!("timeout"));
        let class = Class { tier: Label(7), ..Class::default() };
        let form = json!({"tier": 7, "priority": 0, "region": 0, "instance": 0});
        both_ways(&class, form.clone());
        both_ways(&Hit::new((1u32, 2u32)).with_class(class), json!({"cost": [1, 2], "class": form}));
        assert_eq!(
            from_value::<Class>(json!({"tier": 7})).unwrap(),
            class,
            "what is not said is the default"
        );
    }

    #[test]
    fn decisions_are_written_with_their_figures() {
        let limits = All([TokenBucket::new(rate!("10/s")), TokenBucket::new(rate!("1/s"))]);
        let mut state = Default::default();
        let _ = limits.decide(&mut state, &Hit::new(1), Timestamp::EPOCH);
        let denied = limits.decide(&mut state, &Hit::new(1), Timestamp::EPOCH);
        let deny = json!({"deny": {"retry_after": 1_000_000}});
        assert_eq!(
            to_value(denied).unwrap(),
            json!({"decisions": [
                {"outcome": {"allow": {"after": 0}}, "limit": 10, "window": 1_000_000, "remaining": 9,
                 "reset_after": 100_000, "unlimited": false},
                {"outcome": deny, "limit": 1, "window": 1_000_000, "remaining": 0,
                 "reset_after": 1_000_000, "unlimited": false},
            ], "outcome": deny})
        );
        let pair = (Gcra::new(rate!("1/s")), FixedWindow::new(Rate::UNLIMITED));
        let verdict = pair.decide(&mut Default::default(), &Hit::new((2, 1)), Timestamp::EPOCH);
        let form = to_value(verdict).unwrap();
        assert_eq!((&form["outcome"], &form["second"]["unlimited"]), (&json!("never"), &json!(true)));
        let stat = to_value(pair.0.stat(&Default::default(), Class::default(), Timestamp::EPOCH)).unwrap();
        assert_eq!(stat, json!({"tat": 0, "interval": "1000000", "conformant": true}));
    }

    /// Checks that a state after two hits, written and read again, is the same state.
    fn state_survives<S: Strategy<State: Serialize + DeserializeOwned>>(strategy: &S, cost: S::Cost) {
        let mut state = S::State::default();
        let mut receipt = Default::default();
        for micros in [1 << 50, (1 << 50) + 7] {
            receipt = strategy.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(micros)).receipt();
        }
        for state in [state, S::State::default()] {
            let text = to_string(&state).unwrap();
            assert_eq!(from_str::<S::State>(&text).unwrap(), state, "{text}");
        }
        let _: <S::Verdict as Verdict>::Receipt = receipt;
    }

    #[test]
    fn states_are_written_as_their_bytes_and_read_again() {
        const NIGHT: crate::Hours = crate::Hours::new((22, 0), (6, 0), Ratio::ONE);
        state_survives(&FixedWindow::new(rate!("3/s")), 1);
        state_survives(&SlidingWindow::new(rate!("3/s")), 1);
        state_survives(&SlidingWindow::strict::<10>(rate!("3/s")), 1);
        state_survives(&SlidingLog::<8>::new(rate!("3/s")).unwrap(), 1);
        state_survives(&CostBased::new(rate!("3/s")), 1);
        state_survives(&Adaptive::new(rate!("3/s")), 1);
        state_survives(&QuotaRollover::new(rate!("3/s")), 1);
        state_survives(&TimeOfDay::new(Gcra::new(rate!("3/s")), [NIGHT]).unwrap(), 1);
        state_survives(&Gcra::new(rate!("3/s")), 1);
        state_survives(&(Gcra::new(rate!("3/s")), FixedWindow::new(rate!("3/s"))), (1, 2));
        state_survives(&All([Gcra::new(rate!("3/s")), Gcra::new(rate!("9/s"))]), 1);
        let shares = Shares::<2, 1>::default();
        assert_eq!(from_str::<Shares<2, 1>>(&to_string(&shares).unwrap()).unwrap(), shares);
    }

    #[test]
    fn receipts_survive_the_way_to_a_store_and_back() {
        let limit = All([Gcra::new(rate!("3/s")), Gcra::new(rate!("9/s"))]);
        let verdict = limit.decide(&mut Default::default(), &Hit::new(1), Timestamp::from_micros(1 << 50));
        let receipts = verdict.receipt();
        assert_eq!(from_str::<PerLimit<Receipt, 2>>(&to_string(&receipts).unwrap()).unwrap(), receipts);
    }

    #[test]
    fn a_malformed_value_is_refused_with_a_reason() {
        let refused = |text: &str| from_str::<Rate>(text).unwrap_err().to_string();
        assert!(refused("\"5/month\"").contains("month"), "{}", refused("\"5/month\""));
        assert!(refused("5").contains("a rate such as"));
        assert!(from_str::<Ratio>("\"1/0\"").is_err());
        assert!(from_str::<Level>("[]").is_err());
        let long = format!("[{}0]", "0,".repeat(1_024));
        assert!(from_str::<Level>(&long).unwrap_err().to_string().contains("1025"));
        assert!(from_str::<PerLimit<Receipt, 1>>("[]").is_err());
        let two = to_string(&PerLimit([Receipt::default(); 2])).unwrap();
        assert!(
            from_str::<PerLimit<Receipt, 1>>(&two).is_err()
                && from_str::<PerLimit<Receipt, 3>>(&two).is_err()
        );
        assert!(
            to_string(&Composite::<DecisionList<1>>::of(&Decision::unlimited()))
                .unwrap()
                .contains("\"unlimited\":true")
        );
    }

    #[test]
    fn a_state_too_long_to_be_written_is_an_error() {
        let limit = SlidingLog::<200>::new(Rate::per_hour(200)).unwrap();
        let mut state = Default::default();
        for micros in 0..200 {
            let _ = limit.decide(&mut state, &Hit::new(1), Timestamp::from_micros(micros));
        }
        assert!(to_string(&state).unwrap_err().to_string().contains("1024"));
    }
}
