//! Headers of every form, compared with the lists that they encode.

use http::{HeaderValue, Request};
use proptest::prelude::*;

use super::*;

/// The entries that a proxy or a client may write for a hop, each with its address if it is one.
#[derive(Clone, Debug)]
struct Hop {
    text: String,
    address: Option<IpAddr>,
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u8..4).prop_map(|last| IpAddr::from([10, 0, 0, last])),
        (0u8..4).prop_map(|last| IpAddr::from([192, 0, 2, last])),
        (0u16..4).prop_map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])),
        (0u16..4).prop_map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])),
    ]
}

fn trusted() -> Networks {
    Networks::parse(["10.0.0.0/8", "fd00::/8"]).unwrap()
}

fn listed() -> impl Strategy<Value = Hop> {
    prop_oneof![
        8 => (ip(), 0..4).prop_map(|(address, form)| {
            let text = match (address, form) {
                (IpAddr::V4(it), 1) => format!("{it}:1234"),
                (IpAddr::V4(it), 2) => format!("::ffff:{it}"),
                (IpAddr::V6(it), 1) => format!("[{it}]:1234"),
                (IpAddr::V6(it), 2) => format!("{it}%eth0"),
                (IpAddr::V6(it), 3) => format!("[{it}]"),
                (it, _) => it.to_string(),
            };
            Hop { text, address: Some(address) }
        }),
        1 => "[a-z_:.\\[\\]]{1,6}x".prop_map(|text| Hop { text, address: None }),
    ]
}

fn element() -> impl Strategy<Value = Hop> {
    let extra =
        prop_oneof![Just(""), Just(";proto=https"), Just(";by=_a;host=\"x,y\""), Just("; x=\"\\\",\"")];
    let node = prop_oneof![
        8 => (ip(), any::<bool>()).prop_map(|(address, port)| {
            let port = if port { ":80" } else { "" };
            let text = match address {
                IpAddr::V4(it) => format!("for=\"{it}{port}\""),
                IpAddr::V6(it) => format!("FOR=\"[{it}]{port}\""),
            };
            Hop { text, address: Some(address) }
        }),
        1 => prop_oneof![Just("for=unknown"), Just("for=_x"), Just("by=1.1.1.1"), Just("for=1.1.1.1 nonsense")]
            .prop_map(|text| Hop { text: text.to_owned(), address: None }),
    ];
    (node, extra).prop_map(|(hop, extra)| Hop { text: hop.text + extra, ..hop })
}

/// Returns a request with the hops in a header, in a new line where a hop has `true`.
fn request(name: &'static str, peer: IpAddr, hops: &[(Hop, bool)]) -> Request<()> {
    let mut lines: Vec<String> = Vec::new();
    for (hop, new_line) in hops {
        match lines.last_mut() {
            Some(line) if !new_line => line.extend([", ", &hop.text]),
            _ => lines.push(hop.text.clone()),
        }
    }
    let request = lines.iter().fold(Request::builder(), |request, line| request.header(name, line));
    let mut request = request.body(()).unwrap();
    request.extensions_mut().insert(PeerAddress::new((peer, 1).into()));
    request
}

/// A model of the algorithm on the list itself: returns the client, and whether it is known.
fn model(peer: IpAddr, hops: &[(Hop, bool)]) -> (IpAddr, bool) {
    let trusted = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    };
    let mut client = peer;
    for (hop, _) in hops.iter().rev() {
        match hop.address {
            _ if !trusted(client) => return (client, true),
            Some(address) => client = address,
            None => return (client, false),
        }
    }
    (client, true)
}

/// Reports whether a request is known to be from this client.
fn is_known(via: ForwardedHeader, request: &Request<()>, client: IpAddr) -> bool {
    let there = Networks::parse([client.to_string().as_str()]).unwrap();
    ClientAddress::new(trusted(), via).is_in(&there, request.into())
}

fn of(via: ForwardedHeader, request: &Request<()>) -> Option<IpAddr> {
    ClientAddress::new(trusted(), via).of(request.into())
}

proptest! {
    #[test]
    fn x_forwarded_for_is_read_as_it_was_meant(peer in ip(), hops in prop::collection::vec((listed(), any::<bool>()), 0..6)) {
        let request = request("x-forwarded-for", peer, &hops);
        let (client, known) = model(peer, &hops);
        prop_assert_eq!(of(ForwardedHeader::XForwardedFor, &request), Some(client));
        prop_assert_eq!(is_known(ForwardedHeader::XForwardedFor, &request, client), known);
        prop_assert_eq!(of(ForwardedHeader::Forwarded, &request), Some(peer), "the header of another format is not read");
    }

    #[test]
    fn forwarded_is_read_as_it_was_meant(peer in ip(), hops in prop::collection::vec((element(), any::<bool>()), 0..6)) {
        let mut request = request("forwarded", peer, &hops);
        let (client, known) = model(peer, &hops);
        prop_assert_eq!(of(ForwardedHeader::Forwarded, &request), Some(client));
        prop_assert_eq!(is_known(ForwardedHeader::Forwarded, &request, client), known);
        let decoy = HeaderValue::from_static("6.6.6.6");
        request.headers_mut().insert("x-forwarded-for", decoy);
        prop_assert_eq!(of(ForwardedHeader::Forwarded, &request), Some(client), "the header of another format is not read");
    }

    #[test]
    fn nothing_a_client_writes_hides_what_a_proxy_appends(written in "[ -~]{0,60}", real in 0u8..255) {
        let real = IpAddr::from([192, 0, 2, real]);
        for (via, name, appended) in [
            (ForwardedHeader::XForwardedFor, "x-forwarded-for", format!("{written}, {real}")),
            (ForwardedHeader::Forwarded, "forwarded", format!("{written}, for={real}")),
            (ForwardedHeader::Forwarded, "forwarded", format!("{written}, for=\"{real}:80\";by=\"a,b\"")),
            (ForwardedHeader::Forwarded, "forwarded", format!("{written}, for={real};host=\"{}\"", "a,".repeat(1_000))),
        ] {
            let mut request = Request::builder().header(name, appended).body(()).unwrap();
            request.extensions_mut().insert(PeerAddress::new(([10, 0, 0, 1], 1).into()));
            prop_assert_eq!(of(via, &request), Some(real), "{}", written);
        }
    }

    #[test]
    fn any_bytes_are_taken(lines in prop::collection::vec(prop::collection::vec(32u8.., 0..80), 0..4)) {
        let mut request = Request::new(());
        request.extensions_mut().insert(PeerAddress::new(([10, 0, 0, 1], 1).into()));
        for name in ["forwarded", "x-forwarded-for", "x-real-ip", "cookie"] {
            for line in &lines {
                if let Ok(value) = HeaderValue::from_bytes(line) {
                    request.headers_mut().append(name, value);
                }
            }
        }
        for via in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded, ForwardedHeader::XRealIp] {
            prop_assert!(of(via, &request).is_some());
        }
        let name = http::header::COOKIE;
        let _ = crate::identify::Cookie::new("a").identify((&request).into());
        let _ = crate::identify::ClassHeaders::from_anyone().tier(name.clone()).of((&request).into());
        // `HeaderValue` refuses some of the lines.
        let sent = request.headers().get_all(&name).iter().count();
        if let Ok(cost) = crate::identify::CostHeader::new(name, trusted()).of((&request).into()) {
            prop_assert!(sent == 1 || cost == 1);
        }
    }

    /// Reading takes time linear in the length.
    #[test]
    fn a_long_line_is_no_burden(piece in prop_oneof![Just(","), Just("for=10.0.0.1,"), Just("\","), Just("for=10.0.0.1;x=\",,,,\","), Just(",a=\"b,c\";d=\"")]) {
        let mut request = Request::builder().header("forwarded", piece.repeat(4_000)).body(()).unwrap();
        request.extensions_mut().insert(PeerAddress::new(([10, 0, 0, 1], 1).into()));
        prop_assert_eq!(of(ForwardedHeader::Forwarded, &request), Some(IpAddr::from([10, 0, 0, 1])));
    }
}

/// The examples of RFC 7239, sections 4, 6, 6.3, 7.1, 7.4 and 7.5, as a trusted proxy at 10.0.0.1 passes them
/// on. The columns are the client if only such proxies are trusted, and if 198.51.100.17 is as well. If the
/// nearest node has no address, the proxy counts as the client, which is then not known.
#[test]
fn the_examples_of_the_standard() {
    let cafe = "2001:db8:cafe::17";
    let proxy = "10.0.0.1";
    for (lines, taken, behind_another) in [
        (&[r#"for="_gazonk""#][..], proxy, proxy),
        (&[r#"For="[2001:db8:cafe::17]:4711""#], cafe, cafe),
        (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60", "192.0.2.60"),
        (&["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17", "192.0.2.43"),
        (&[r#"for="192.0.2.43:47011""#], "192.0.2.43", "192.0.2.43"),
        (&[r#"for="[2001:db8:cafe::17]:47011""#], cafe, cafe),
        (&["for=_hidden, for=_SEVKISEK"], proxy, proxy),
        (&[r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#], proxy, proxy),
        (&[r#"for=192.0.2.43, for="[2001:db8:cafe::17]", for=unknown"#], proxy, proxy),
        (&["for=192.0.2.43", r#"for="[2001:db8:cafe::17]", for=unknown"#], proxy, proxy),
        (&[r#"for=192.0.2.43, for="[2001:db8:cafe::17]""#], cafe, cafe),
        (
            &["for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com"],
            "198.51.100.17",
            "192.0.2.43",
        ),
    ] {
        let request =
            lines.iter().fold(Request::builder(), |request, line| request.header("forwarded", *line));
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(PeerAddress::new(([10, 0, 0, 1], 1).into()));
        let two = Networks::parse(["10.0.0.0/8", "198.51.100.17"]).unwrap();
        for (trusted, client) in [(trusted(), taken), (two, behind_another)] {
            let address = ClientAddress::new(trusted, ForwardedHeader::Forwarded);
            assert_eq!(address.of((&request).into()), Some(client.parse().unwrap()), "{lines:?}");
            let there = Networks::parse([client]).unwrap();
            assert_eq!(address.is_in(&there, (&request).into()), client != proxy, "{lines:?}");
        }
    }
}

#[test]
fn x_real_ip_is_said_once_by_a_proxy() {
    let ask = |peer: [u8; 4], lines: &[&'static str]| {
        let request = lines.iter().fold(Request::builder(), |it, line| it.header("x-real-ip", *line));
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(PeerAddress::new((peer, 1).into()));
        of(ForwardedHeader::XRealIp, &request).unwrap().to_string()
    };
    let proxy = [10, 0, 0, 1];
    assert_eq!(ask(proxy, &["192.0.2.1"]), "192.0.2.1");
    assert_eq!(ask([192, 0, 2, 9], &["192.0.2.1"]), "192.0.2.9");
    for lines in [&[][..], &["192.0.2.1", "192.0.2.2"], &["192.0.2.1, 192.0.2.2"], &["unknown"]] {
        assert_eq!(ask(proxy, lines), "10.0.0.1", "{lines:?}");
    }
}

/// A client cannot evade the limit by sending another header than the one that the proxy writes.
#[test]
fn no_header_is_read_but_the_one_that_was_named() {
    let headers = [
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "cf-connecting-ip",
        "true-client-ip",
        "fly-client-ip",
        "x-ip",
    ];
    let written = |at: usize| match headers[at] {
        "forwarded" => format!("for=192.0.2.{at}"),
        _ => format!("192.0.2.{at}"),
    };
    let request =
        (0..headers.len()).fold(Request::builder(), |it, at| it.header(headers[at], written(at))).body(());
    let mut request = request.unwrap();
    request.extensions_mut().insert(PeerAddress::new(([10, 0, 0, 1], 1).into()));
    let own = ForwardedHeader::Header(HeaderName::from_static("x-ip"));
    let vias = [
        ForwardedHeader::XForwardedFor,
        ForwardedHeader::Forwarded,
        ForwardedHeader::XRealIp,
        ForwardedHeader::CfConnectingIp,
        ForwardedHeader::TrueClientIp,
        ForwardedHeader::FlyClientIp,
    ];
    for (at, via) in vias.into_iter().chain([own]).enumerate() {
        assert_eq!(of(via.clone(), &request).unwrap().to_string(), format!("192.0.2.{at}"), "{via:?}");
        // Each is believed from a trusted proxy only.
        let mut other = request.clone();
        other.extensions_mut().insert(PeerAddress::new(([198, 51, 100, 1], 1).into()));
        assert_eq!(of(via, &other).unwrap().to_string(), "198.51.100.1");
    }
    assert_eq!(ForwardedHeader::default(), ForwardedHeader::XForwardedFor);
}

/// A proxy in an exempt network is exempt for its own requests, and not for those of an unknown client.
#[test]
fn x_real_ip_that_is_none_exempts_nobody() {
    for (lines, exempt) in [(&[][..], true), (&["unknown"], false), (&["10.0.0.1", "10.0.0.1"], false)] {
        let request = lines.iter().fold(Request::builder(), |it, line| it.header("x-real-ip", *line));
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(PeerAddress::new(([10, 0, 0, 1], 1).into()));
        let client = ClientAddress::new(trusted(), ForwardedHeader::XRealIp);
        assert_eq!(client.is_in(&trusted(), (&request).into()), exempt, "{lines:?}");
    }
}
