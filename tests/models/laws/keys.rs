//! Keys: different ones of a type feed different bytes, however short and alike they are.

use std::borrow::Cow;
use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;
use traffik::Key;

fn bytes(key: &impl Key) -> Vec<u8> {
    let mut all = Vec::new();
    key.feed(&mut |bytes: &[u8]| all.extend_from_slice(bytes));
    all
}

/// Any two of some keys feed the same bytes if they are equal, and else different ones.
fn apart<K: Key + PartialEq + Debug>(keys: &[K]) -> Result<(), TestCaseError> {
    for (at, one) in keys.iter().enumerate() {
        for other in &keys[at..] {
            prop_assert_eq!(one == other, bytes(one) == bytes(other), "{:?} and {:?}", one, other);
        }
    }
    Ok(())
}

/// Few letters, one of which is a byte that other forms use as well.
fn text() -> impl Strategy<Value = String> {
    "[\0\u{1}a]{0,3}"
}

fn some<T: Strategy>(of: T) -> impl Strategy<Value = Vec<T::Value>> {
    vec(of, 2..12)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<bool>(), 0..2u8, 0..2u16, 0..2u32, 0..2u32).prop_map(|(v4, host, port, flow, scope)| match v4 {
        true => (Ipv4Addr::new(0, 0, 0, host), port).into(),
        false => SocketAddrV6::new(Ipv6Addr::from(u128::from(host)), port, flow, scope).into(),
    })
}

proptest! {
    #[test]
    fn different_keys_of_a_type_feed_different_bytes(
        texts in some(text()),
        characters in some(prop_oneof![any::<char>(), Just('\0'), Just('a')]),
        numbers in some((0..3usize, -1..2isize, any::<bool>())),
        addresses in some(address()),
        optional in some(proptest::option::of(proptest::option::of(text()))),
        several in some((text(), proptest::option::of(text()), any::<bool>(), text(), text())),
        many in some((text(), text(), 0..2u8, text(), text(), text(), text(), proptest::option::of(0..2u8))),
        ids in some(0..3u128),
    ) {
        apart(&texts)?;
        apart(&texts.iter().map(|text| Rc::<str>::from(text.as_str())).collect::<Vec<_>>())?;
        apart(&texts.iter().map(|text| Cow::Borrowed(text.as_bytes())).collect::<Vec<_>>())?;
        apart(&texts.iter().filter_map(|it| heapless::String::<8>::try_from(it.as_str()).ok()).collect::<Vec<_>>())?;
        apart(&ids.into_iter().map(uuid::Uuid::from_u128).collect::<Vec<_>>())?;
        apart(&characters)?;
        apart(&numbers)?;
        apart(&addresses)?;
        apart(&optional)?;
        apart(&several)?;
        apart(&many)?;
    }
}
