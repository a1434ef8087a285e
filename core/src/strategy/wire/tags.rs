//! The registry of state tags, and the policy of compatibility between versions.
//!
//! Every encoded state starts with a tag: one byte that names both the form and its version. There is no
//! other version number. A composed state is the states of its limits one after the other, each with its own
//! tag.
//!
//! # What a reader accepts
//!
//! A decoder accepts the tag of its own form alone, and only bytes that its encoder or a script could have
//! written; all else is [`DecodeError`](super::DecodeError). The consequence depends on the storage:
//!
//! * A storage of bytes (`cas`, `redis` and its scripts, `memcached`, a storage under a lock) takes such
//!   bytes as the state of a key never seen. The next write replaces them, so the key starts afresh.
//! * An [`InlineState`](crate::strategy::InlineState) decodes any bytes that it holds. An
//!   [`Erased`](crate::strategy::Erased) strategy takes another strategy's bytes as the state of a key never
//!   seen. One that [migrates from](crate::strategy::Erased::migrating_from) that strategy charges itself the
//!   cost that was in use there instead.
//! * A snapshot of a memory is refused as a whole.
//!
//! Memcached counts a fixed window as a number, which has no tag (`memcached/counter`).
//!
//! # What may be mixed
//!
//! * Strategies that share a tag share states: all buckets but queues keep a [`LEVEL`]. Rates, bursts and
//!   periods may differ, for a state carries what its numbers are counted in.
//! * A state of larger dimensions than the reader has (entries of a log, buckets of a strict window, members
//!   of a shared limit) is `DecodeError` to that reader.
//! * Versions of this crate may share a store, as in a rolling deploy, while each knows every tag that the
//!   others write. Otherwise each takes the states of the others as those of keys never seen and overwrites
//!   them, so a client is granted its limit again at each change between them.
//!
//! # When a tag changes
//!
//! * A form takes a new tag as soon as an old decoder would refuse, or read differently, what the new
//!   encoder writes, or a new decoder what an old encoder wrote.
//! * A form that only becomes shorter or longer within what old decoders accept keeps its tag.
//! * The new tag and a decoder of both forms MUST come in one release, and the encoder of the new form no
//!   earlier than in the next one. So a deploy from one release to the next loses no state.
//! * A retired tag stays listed here and is never given to another form.
//! * The scripts in `redis/check` have the same numbers; `tests/stores` compares both.

/// The first tag for strategies outside of this crate.
const FIRST_FOREIGN: u8 = 0x80;

macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident = $tag:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: u8 = $tag;)*

        const _: () = assert!(is_registry(&[$($name),*]), "tags differ, and are below those for others");
    };
}

tags! {
    /// `FixedWindowState`, version 1.
    FIXED_WINDOW = 0x11;
    /// `SlidingWindowState`, version 1.
    SLIDING_WINDOW = 0x12;
    /// `StrictWindowState`, version 1.
    STRICT_WINDOW = 0x13;
    /// `LogState`, version 1.
    LOG = 0x14;
    /// `Level`, the state of all buckets, version 1.
    LEVEL = 0x21;
    /// `QueueState`, version 1.
    QUEUE = 0x23;
    /// `CostBasedState`, version 1.
    COST_BASED = 0x22;
    /// `AdaptiveState`, version 1.
    ADAPTIVE = 0x31;
    /// `QuotaRolloverState`, version 1.
    QUOTA_ROLLOVER = 0x32;
    /// `TimeOfDayState`, version 1.
    TIME_OF_DAY = 0x41;
    /// `FairShareState`, version 1.
    FAIR_SHARE = 0x51;
    /// `RegionsState`, version 1.
    REGIONS = 0x52;
    /// `InlineState`, version 1.
    INLINE = 0x7f;
}

/// Reports whether all tags differ and are this crate's.
const fn is_registry(mut tags: &[u8]) -> bool {
    while let [tag, rest @ ..] = tags {
        let mut others = rest;
        while let [other, more @ ..] = others {
            if *other == *tag {
                return false;
            }
            others = more;
        }
        if *tag >= FIRST_FOREIGN {
            return false;
        }
        tags = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_given_twice_and_one_of_others_are_found() {
        assert!(is_registry(&[]) && is_registry(&[LEVEL, INLINE]));
        assert!(!is_registry(&[LEVEL, LOG, LEVEL]) && !is_registry(&[LEVEL, FIRST_FOREIGN]));
    }
}
