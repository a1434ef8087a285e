//! The client, the class and the cost of a request.

use super::{Gateway, client, get};

/// Returns the status of each of these requests.
async fn statuses(gateway: &Gateway, requests: &[&[(&str, &str)]]) -> Vec<u16> {
    let client = client(false);
    let mut statuses = Vec::new();
    for headers in requests {
        statuses.push(get(&client, &gateway.url, headers).await.status().as_u16());
    }
    statuses
}

#[tokio::test]
async fn proxies_are_believed_if_they_are_trusted() {
    let forwarded = [
        &[("x-forwarded-for", "6.6.6.6, 192.0.2.1")][..],
        &[("x-forwarded-for", "7.7.7.7, 192.0.2.1")],
        &[("x-forwarded-for", "192.0.2.2")],
        &[("forwarded", "for=192.0.2.3"), ("x-forwarded-for", "192.0.2.1")],
        &[("forwarded", "for=192.0.2.3, for=127.0.0.9")],
    ];
    let options = ["--rate", "1/w", "--key", "forwarded"];
    let trusting = Gateway::start(&[&options[..], &["--trusted-proxy", "127.0.0.0/8"]].concat());
    // The client wrote `Forwarded`: this proxy writes only X-Forwarded-For.
    assert_eq!(statuses(&trusting, &forwarded).await, [200, 429, 200, 429, 200]);
    assert_eq!(statuses(&Gateway::start(&options), &forwarded).await, [200, 429, 429, 429, 429]);
    let by_peer = Gateway::start(&["--rate", "1/w", "--trusted-proxy", "127.0.0.0/8"]);
    assert_eq!(statuses(&by_peer, &forwarded).await, [200, 429, 429, 429, 429]);
}

#[tokio::test]
async fn the_exempt_are_not_counted() {
    let gateway = Gateway::start(&["--rate", "1/w", "--exempt", "10.0.0.0/8", "--exempt", "127.0.0.1"]);
    assert_eq!(statuses(&gateway, &[&[][..]; 3]).await, [200; 3]);
    let options =
        ["--rate", "1/w", "--key", "forwarded", "--trusted-proxy", "127.0.0.1", "--exempt", "192.0.2.0/24"];
    let gateway = Gateway::start(&options);
    let (inside, outside) = ([("x-forwarded-for", "192.0.2.9")], [("x-forwarded-for", "198.51.100.9")]);
    assert_eq!(statuses(&gateway, &[&inside, &inside, &outside, &outside]).await, [200, 200, 200, 429]);
}

/// Proxies write text of the client, such as the host, into `Forwarded`. However long it is, the client stays
/// the same.
#[tokio::test]
async fn what_is_no_address_exempts_nobody() {
    let options =
        |key| ["--key", key, "--trusted-proxy", "127.0.0.1", "--exempt", "127.0.0.0/8", "--rate", "2/52w"];
    let gateway = Gateway::start(&options("forwarded:rfc7239"));
    let (long, commas) = ("h".repeat(600), "a,".repeat(300));
    let (long, commas) = (
        format!("for=192.0.2.1;host=\"{long}\""),
        format!("for=192.0.2.1;host=\"{commas}\\\",for=127.0.0.1\""),
    );
    let of = |line: &'static str| [("forwarded", line)];
    let (long, commas) = ([("forwarded", long.as_str())], [("forwarded", commas.as_str())]);
    let normal = of("for=192.0.2.1;host=a.example");
    assert_eq!(statuses(&gateway, &[&normal, &normal, &normal]).await, [200, 200, 429]);
    assert_eq!(statuses(&gateway, &[&long, &commas]).await, [429, 429], "it is the same client");
    // The client of these requests is unknown: they are counted for the proxy, but not exempt like the proxy.
    let unknown =
        [of("for=unknown"), of("for=_hidden"), of("nonsense"), of("for=\"127.0.0.1"), of("by=127.0.0.1")];
    let asked: Vec<&[_]> = unknown.iter().map(|headers| &headers[..]).collect();
    assert_eq!(statuses(&gateway, &asked).await, [200, 200, 429, 429, 429]);
    assert_eq!(statuses(&gateway, &[&[][..]; 3]).await, [200; 3], "what the proxy asks itself");
    let gateway = Gateway::start(&options("forwarded"));
    let (list, mixed) = ([("x-forwarded-for", "unknown")], [("x-forwarded-for", "unknown, 127.0.0.1")]);
    assert_eq!(statuses(&gateway, &[&list, &mixed, &list, &mixed]).await, [200, 200, 429, 429]);
}

/// A proxy replaces only the header that it writes: the client may write all others.
#[tokio::test]
async fn no_header_is_believed_but_the_one_that_was_named() {
    let options =
        ["--rate", "1/52w", "--key", "forwarded", "--trusted-proxy", "127.0.0.1", "--exempt", "10.0.0.0/8"];
    let (inside, outside) = ("10.0.0.1", "192.0.2.1");
    let gateway = Gateway::start(&options);
    let both = |forwarded: &'static str, list| [("forwarded", forwarded), ("x-forwarded-for", list)];
    let (first, second) = (both("for=10.0.0.1", outside), both("for=192.0.2.7", outside));
    assert_eq!(statuses(&gateway, &[&first, &second]).await, [200, 429]);
    let (exempt, other) = (both("for=192.0.2.1", inside), [("x-forwarded-for", inside)]);
    assert_eq!(statuses(&gateway, &[&exempt, &exempt, &other, &other]).await, [200; 4]);
    // A client counted by another key is exempt by the same rule.
    let by_header = Gateway::start(&[&options[..3], &["header:x-user"], &options[4..]].concat());
    assert_eq!(statuses(&by_header, &[&first, &first]).await, [200, 429]);
    for (key, header) in [
        ("forwarded:cf-connecting-ip", "cf-connecting-ip"),
        ("forwarded:true-client-ip", "true-client-ip"),
        ("forwarded:fly-client-ip", "fly-client-ip"),
        ("forwarded:x-our-client", "x-our-client"),
    ] {
        let gateway = Gateway::start(&[&options[..3], &[key], &options[4..]].concat());
        let of = |value| [(header, value), ("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1")];
        let (one, another) = (of(outside), of("::ffff:192.0.2.2"));
        assert_eq!(
            statuses(&gateway, &[&one, &another, &one, &another]).await,
            [200, 200, 429, 429],
            "{key}"
        );
    }
}

/// Otherwise the gateway would count the first value, while the service behind may trust the second.
#[tokio::test]
async fn a_key_that_is_sent_twice_is_refused() {
    let gateway = Gateway::start(&["--rate", "1/52w", "--key", "header:x-api-key"]);
    let twice = |decoy| [("x-api-key", decoy), ("x-api-key", "real")];
    let decoys = [twice("a"), twice("b"), twice("real")];
    let asked: Vec<&[_]> = decoys.iter().map(|headers| &headers[..]).collect();
    assert_eq!(statuses(&gateway, &asked).await, [400; 3]);
    assert_eq!(
        statuses(&gateway, &[&[("x-api-key", "real")][..]; 2]).await,
        [200, 429],
        "nothing was counted"
    );
}

#[tokio::test]
async fn the_header_that_proxies_write_can_be_named() {
    let all =
        |forwarded, list, real| [("forwarded", forwarded), ("x-forwarded-for", list), ("x-real-ip", real)];
    let asked = [
        all("for=192.0.2.1", "192.0.2.2", "192.0.2.3"),
        all("for=192.0.2.1", "192.0.2.4", "192.0.2.5"),
        all("for=192.0.2.6", "192.0.2.2", "192.0.2.5"),
        all("for=10.0.0.1", "192.0.2.2", "192.0.2.3"),
        all("for=192.0.2.1", "10.0.0.1", "192.0.2.3"),
        all("for=192.0.2.1", "192.0.2.2", "10.0.0.1"),
    ];
    let asked: Vec<&[_]> = asked.iter().map(|headers| &headers[..]).collect();
    for (key, expected) in [
        ("forwarded:rfc7239", [200, 429, 200, 200, 429, 429]),
        ("forwarded:xff", [200, 200, 429, 429, 200, 429]),
        ("forwarded:x-real-ip", [200, 200, 429, 429, 429, 200]),
    ] {
        let options =
            ["--rate", "1/52w", "--key", key, "--trusted-proxy", "127.0.0.1", "--exempt", "10.0.0.0/8"];
        assert_eq!(statuses(&Gateway::start(&options), &asked).await, expected, "{key}");
    }
}

#[tokio::test]
async fn a_class_is_named_by_whom_one_trusts() {
    let options =
        ["--rate", "1/w", "--strategy", "tiered(free=1,premium=3)/fixed-window", "--tier-header", "x-tier"];
    let premium = [("x-tier", "premium")];
    let asked: [&[_]; 4] = [&premium, &premium, &premium, &premium];
    assert_eq!(statuses(&Gateway::start(&options), &asked).await, [200, 429, 429, 429]);
    for trust in [&["--trusted-proxy", "127.0.0.1"][..], &["--trust-class-headers"]] {
        let gateway = Gateway::start(&[&options[..], trust].concat());
        assert_eq!(statuses(&gateway, &asked).await, [200, 200, 200, 429]);
        let unknown = [("x-tier", "enterprise")];
        let gateway = Gateway::start(&[&options[..], trust].concat());
        assert_eq!(statuses(&gateway, &[&unknown, &unknown]).await, [200, 429], "unknown is free");
    }
    let options = [
        "--rate",
        "4/w",
        "--strategy",
        "priority(low=75%,normal=50%)/fixed-window",
        "--priority-header",
        "x-priority",
        "--trust-class-headers",
    ];
    let of = |name| [("x-priority", name)];
    let (low, odd, high) = (of("low"), of("odd"), of("high"));
    let gateway = Gateway::start(&options);
    let asked: [&[_]; 7] = [&low, &low, &odd, &odd, &[], &high, &high];
    assert_eq!(statuses(&gateway, &asked).await, [200, 429, 200, 429, 429, 200, 200], "odd is normal");
    let options = [
        "--rate",
        "10/w",
        "--strategy",
        "regions:us=2/5,default=3/5",
        "--region-header",
        "x-region",
        "--trust-class-headers",
    ];
    let gateway = Gateway::start(&options);
    let us = [("x-region", "us")];
    assert_eq!(statuses(&gateway, &[&us, &us, &us, &us, &us, &[]]).await, [200, 200, 200, 200, 429, 200]);
}

#[tokio::test]
async fn a_request_tells_what_it_costs() {
    let of = |cost: &'static str| [("x-cost", cost)];
    let (two, none, many, over, half) = (of("2"), of("0"), of("7"), of("4294967296"), of("1.5"));
    let options = ["--rate", "5/w", "--cost-header", "x-cost"];
    let gateway = Gateway::start(&options);
    let twice: &[_] = &[("x-cost", "1"), ("x-cost", "1")];
    let asked: [&[_]; 9] = [&two, &[], &over, &half, twice, &many, &none, &none, &none];
    assert_eq!(statuses(&gateway, &asked).await, [200, 200, 400, 400, 400, 429, 200, 200, 429]);
    let trusting = Gateway::start(&[&options[..], &["--trusted-proxy", "127.0.0.1"]].concat());
    assert_eq!(statuses(&trusting, &[&of("5"), &none, &none, &[]]).await, [200, 200, 200, 429]);
}
