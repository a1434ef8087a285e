//! The throttle's part of a key: its name, and for some strategies the kinds of their states.

use std::fmt::{self, Write};

use smallvec::SmallVec;
use traffik_core::{Key, Strategy};

/// The [kinds](Strategy::kinds) of the states of a strategy.
pub(super) type StateKinds = SmallVec<[(u32, u64); 2]>;

/// Returns the kinds of a strategy.
pub(super) fn kinds_of<S: Strategy>(strategy: &S) -> StateKinds {
    let mut kinds = StateKinds::new();
    strategy.kinds(&mut |form, period| kinds.push((form, period)));
    kinds
}

/// The name of a throttle, qualified by the kinds of a strategy whose states must not mix with those of the
/// throttle's strategy: `api/1911:3600000000`, with the form of the state in hexadecimal and the period in
/// microseconds. The name of a throttle has no slash, so no two keys are alike.
pub(super) struct QualifiedUid<'a> {
    pub(super) uid: &'a str,
    pub(super) kinds: StateKinds,
}

#[deny(clippy::missing_trait_methods)]
impl Key for QualifiedUid<'_> {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        // Writing to a sink cannot fail.
        let _ = self.name(&mut SinkWriter(sink));
    }

    fn name(&self, text: &mut dyn Write) -> fmt::Result {
        text.write_str(self.uid)?;
        self.kinds.iter().try_for_each(|(form, period)| write!(text, "/{form:x}:{period}"))
    }
}

/// Writes text as the bytes of a key.
struct SinkWriter<'a, F>(&'a mut F);

impl<F: FnMut(&[u8])> Write for SinkWriter<'_, F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.0)(text.as_bytes());
        Ok(())
    }
}
