//! Keys of all kinds, to see what they are called on a server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use traffik::{ErasedKey, Key};

/// Keys of all kinds.
pub(crate) fn every_key() -> Vec<(&'static str, Box<dyn ErasedKey>)> {
    let long = "key/".repeat(100);
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    vec![
        ("text", Box::new("user:7")),
        ("empty text", Box::new("")),
        ("text to escape", Box::new("a b\r\n{c}*%\u{e9}\0~")),
        ("plain signs", Box::new("aZ09.:_-@/")),
        ("long text", Box::new(OwnedKey(long))),
        ("bytes", Box::new([0u8, 255, b'a'])),
        ("number of 8 bits", Box::new(65u8)),
        ("number of 16 bits", Box::new(258u16)),
        ("number of 32 bits", Box::new(0x0102_0304u32)),
        ("number of 64 bits", Box::new(u64::MAX - 1)),
        ("number of 128 bits", Box::new(1u128)),
        ("number below 0", Box::new(-2i64)),
        ("address", Box::new(Ipv4Addr::new(192, 0, 2, 1))),
        ("long address", Box::new(v6)),
        ("either address", Box::new(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        ("either long address", Box::new(IpAddr::V6(v6))),
        ("nothing", Box::new(())),
        ("pair", Box::new(("a", 7u32))),
        ("other pair", Box::new(("a", "7"))),
        ("three", Box::new((Ipv4Addr::LOCALHOST, "GET", ()))),
        ("pair in a pair", Box::new((("a", "b"), "c"))),
    ]
}

/// A key that is made when it is needed.
struct OwnedKey(String);

impl Key for OwnedKey {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        self.0.as_str().feed(sink);
    }
}
