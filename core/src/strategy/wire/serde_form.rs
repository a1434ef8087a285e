//! The serde form of states (feature `serde`): the bytes of their encoded form.

use core::fmt;
use core::marker::PhantomData;

use serde::Serializer;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::Error as _;

use super::codec::{State, decode, encode};

/// The longest state that is written, in bytes.
const LONGEST: usize = 1024;

/// Implements serde for a state in its encoded form: `serde_as_bytes!([const N: usize] MyState<N>);`.
macro_rules! serde_as_bytes {
    ([$($generic:tt)*] $state:ty) => {
        impl<$($generic)*> serde::Serialize for $state {
            fn serialize<Out: serde::Serializer>(&self, serializer: Out) -> Result<Out::Ok, Out::Error> {
                $crate::strategy::wire::serde_form::write(self, serializer)
            }
        }

        impl<'de, $($generic)*> serde::Deserialize<'de> for $state {
            fn deserialize<In: serde::Deserializer<'de>>(deserializer: In) -> Result<Self, In::Error> {
                deserializer.deserialize_bytes($crate::strategy::wire::serde_form::StateVisitor::new())
            }
        }
    };
}
pub(crate) use serde_as_bytes;

/// Writes a state as bytes.
pub(crate) fn write<T: State, S: Serializer>(state: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut buffer = [0; LONGEST];
    let length = encode(state, &mut buffer);
    let bytes = length.and_then(|length| buffer.get(..length));
    serializer.serialize_bytes(bytes.ok_or_else(|| S::Error::custom("the state takes more than 1024 bytes"))?)
}

/// The serde visitor that reads a state from bytes.
pub(crate) struct StateVisitor<T>(PhantomData<T>);

impl<T> StateVisitor<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: State> Visitor<'de> for StateVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a state of this strategy")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        decode(bytes).map_err(E::custom)
    }

    /// Reads bytes as numbers, which formats without a type for bytes write.
    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<T, A::Error> {
        let (mut buffer, mut length) = ([0; LONGEST], 0);
        while let Some(byte) = bytes.next_element()? {
            *buffer.get_mut(length).ok_or_else(|| A::Error::invalid_length(length + 1, &self))? = byte;
            length += 1;
        }
        self.visit_bytes(buffer.get(..length).unwrap_or_default())
    }
}
