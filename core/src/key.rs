//! The key that a limit is kept for: any value with a fixed byte form, and its keyed hash.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

pub(crate) mod hash;
#[cfg(feature = "heapless")]
mod heapless;
#[cfg(test)]
mod tests;
#[cfg(feature = "uuid")]
mod uuid;

/// A key that a limit is kept for: a user's name, an address, a number, or a tuple of these.
///
/// Implement it for an identifier of your own; strings, numbers, addresses and tuples are keys already.
///
/// * Equal keys MUST feed equal bytes, in pieces of any length; different keys of a type MUST feed different
///   bytes.
/// * The bytes are what a shared store sees, so they MUST NOT depend on the machine or the version.
///
/// | key | bytes that it feeds |
/// |---|---|
/// | `str`, `[u8]`, `[u8; N]`, `()` | itself |
/// | `String`, `Vec<u8>` (feature `alloc`) | itself |
/// | strings and vectors of bytes of `heapless` (feature `heapless`) | itself |
/// | `char` | its UTF-8, as text of that one character |
/// | integers | little-endian; `usize` and `isize` as those of 64 bits, so that every machine agrees |
/// | `bool` | 0 or 1 |
/// | `IpAddr`, `Ipv4Addr`, `Ipv6Addr` | octets |
/// | `SocketAddr`, `SocketAddrV4`, `SocketAddrV6` | octets and port; of V6 also flow label and scope |
/// | `Uuid` (feature `uuid`) | its 16 bytes, in the order in which it is written |
/// | `Option` | 0, or 1 and the key |
/// | tuples of 2 to 8 keys | each part followed by its length: `("a", "bc")` is not `("ab", "c")` |
/// | `&`, `Box`, `Rc`, `Arc` and `Cow` of a key (all but `&`: feature `alloc`) | those of the key |
///
/// ```
/// # use traffik::{Fixed, Limiter, ManualClock, Rate, TokenBucket};
/// let storage = Fixed::<TokenBucket, _, 16>::new(ManualClock::default(), 1);
/// let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(2)), storage);
///
/// assert!(limiter.check(&("login", Some(7u64)))?.is_allowed()); // a route, and a user if there is one
/// # #[cfg(feature = "heapless")] {
/// let peer: heapless::String<8> = heapless::format!("pump-{}", 7)?; // no heap
/// assert!(limiter.check_n(&peer, 2)?.is_allowed());
/// assert!(!limiter.check("pump-7")?.is_allowed()); // the same key
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Key {
    /// Hands the bytes of this key to `sink`, in any number of pieces.
    fn feed(&self, sink: &mut impl FnMut(&[u8]));

    /// Writes the key as people read it, on one line and without control characters.
    ///
    /// Defaults to its bytes, escaped.
    ///
    /// # Errors
    ///
    /// Fails if `text` does.
    fn name(&self, text: &mut dyn fmt::Write) -> fmt::Result {
        let mut written = Ok(());
        self.feed(&mut |bytes: &[u8]| {
            written = written.and_then(|()| write!(text, "{}", bytes.escape_ascii()))
        });
        written
    }
}

/// A [`Key`] of any type behind a reference. Every key implements it.
///
/// Choose `&dyn ErasedKey` where keys of several types meet, as in an
/// [`AsyncStorage`](crate::storage::AsyncStorage).
///
/// ```
/// use traffik::ErasedKey;
///
/// let keys: [&dyn ErasedKey; 2] = [&"alice", &7u64];
/// let mut names = String::new();
/// keys[0].name_to(&mut names)?;
/// assert_eq!(names, "alice");
/// # Ok::<(), std::fmt::Error>(())
/// ```
pub trait ErasedKey {
    /// Hands the bytes of this key to `sink`, in any number of pieces.
    fn feed_to(&self, sink: &mut dyn FnMut(&[u8]));

    /// Writes the key as people read it; see [`Key::name`].
    ///
    /// # Errors
    ///
    /// Fails if `text` does.
    fn name_to(&self, text: &mut dyn fmt::Write) -> fmt::Result;
}

impl<K: Key + ?Sized> ErasedKey for K {
    fn feed_to(&self, mut sink: &mut dyn FnMut(&[u8])) {
        self.feed(&mut sink);
    }

    fn name_to(&self, text: &mut dyn fmt::Write) -> fmt::Result {
        self.name(text)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Key for dyn ErasedKey + '_ {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        self.feed_to(sink);
    }

    fn name(&self, text: &mut dyn fmt::Write) -> fmt::Result {
        self.name_to(text)
    }
}

impl Key for [u8] {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(self);
    }
}

impl<const N: usize> Key for [u8; N] {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(self);
    }
}

impl Key for str {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(self.as_bytes());
    }

    fn name(&self, text: &mut dyn fmt::Write) -> fmt::Result {
        write!(text, "{}", self.escape_debug())
    }
}

/// Implements `Key` for pointers to keys.
macro_rules! key_behind {
    ($([$($generic:tt)*] $pointer:ty;)*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<$($generic)*> Key for $pointer {
            fn feed(&self, sink: &mut impl FnMut(&[u8])) {
                (**self).feed(sink);
            }

            fn name(&self, text: &mut dyn core::fmt::Write) -> core::fmt::Result {
                (**self).name(text)
            }
        }
    )*};
}
#[cfg(any(feature = "alloc", feature = "heapless"))]
pub(crate) use key_behind;

key_behind! {
    [K: Key + ?Sized] &K;
}

/// Implements `Key` for types by a block that feeds the sink; their names are their printed form.
macro_rules! printed_keys {
    ($([$($key:ty),+] ($self:ident, $sink:ident) $feed:block)+) => {$($(
        impl Key for $key {
            fn feed(&$self, $sink: &mut impl FnMut(&[u8])) $feed

            fn name(&self, text: &mut dyn core::fmt::Write) -> core::fmt::Result {
                write!(text, "{self}")
            }
        }
    )+)+};
}
#[cfg(feature = "uuid")]
use printed_keys;

printed_keys! {
    [u8, u16, u32, u64, u128, i8, i16, i32, i64, i128] (self, sink) { sink(&self.to_le_bytes()); }
    // As 64 bits, so that a machine of 32 bits names the same key on a shared store.
    [usize] (self, sink) { (*self as u64).feed(sink); }
    [isize] (self, sink) { (*self as i64).feed(sink); }
    [bool] (self, sink) { sink(&[u8::from(*self)]); }
    [Ipv4Addr, Ipv6Addr] (self, sink) { sink(&self.octets()); }
    [SocketAddrV4] (self, sink) {
        self.ip().feed(sink);
        self.port().feed(sink);
    }
    [SocketAddrV6] (self, sink) {
        self.ip().feed(sink);
        self.port().feed(sink);
        self.flowinfo().feed(sink);
        self.scope_id().feed(sink);
    }
}

/// Implements `Key` for enums of keys whose bytes differ in length.
macro_rules! either_keys {
    ($($key:ident: $($kind:ident)+;)*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl Key for $key {
            fn feed(&self, sink: &mut impl FnMut(&[u8])) {
                match self { $(Self::$kind(key) => key.feed(sink),)+ }
            }

            fn name(&self, text: &mut dyn fmt::Write) -> fmt::Result {
                match self { $(Self::$kind(key) => key.name(text),)+ }
            }
        }
    )*};
}

// 4 octets or 16: the length alone distinguishes the kinds.
either_keys! { IpAddr: V4 V6; SocketAddr: V4 V6; }

#[deny(clippy::missing_trait_methods)]
impl Key for char {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        (*self.encode_utf8(&mut [0; 4])).feed(sink);
    }

    fn name(&self, text: &mut dyn fmt::Write) -> fmt::Result {
        (*self.encode_utf8(&mut [0; 4])).name(text)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<K: Key> Key for Option<K> {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        // The mark comes first, so that `Some` of an empty key differs from `None`.
        self.is_some().feed(sink);
        if let Some(key) = self {
            key.feed(sink);
        }
    }

    fn name(&self, text: &mut dyn fmt::Write) -> fmt::Result {
        match self {
            Some(key) => key.name(text),
            None => text.write_str("none"),
        }
    }
}

impl Key for () {
    fn feed(&self, _: &mut impl FnMut(&[u8])) {}
}

macro_rules! tuple_keys {
    ($(($($part:ident)+))*) => {$(
        impl<$($part: Key),+> Key for ($($part,)+) {
            #[expect(non_snake_case, reason = "a part is named after its type")]
            fn feed(&self, sink: &mut impl FnMut(&[u8])) {
                let ($($part,)+) = self;
                $(
                    // Each part is followed by its length, so that the cut between two parts matters.
                    let mut length = 0u32;
                    $part.feed(&mut |bytes: &[u8]| {
                        length = length.wrapping_add(bytes.len() as u32);
                        sink(bytes);
                    });
                    sink(&length.to_le_bytes());
                )+
            }

            #[expect(non_snake_case, reason = "a part is named after its type")]
            fn name(&self, text: &mut dyn fmt::Write) -> fmt::Result {
                let ($($part,)+) = self;
                let mut between = "";
                $(
                    // A blank between two parts, and none in front of the first.
                    text.write_str(core::mem::replace(&mut between, " "))?;
                    $part.name(text)?;
                )+
                Ok(())
            }
        }
    )*};
}

tuple_keys! {
    (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
}
