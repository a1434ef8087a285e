//! The client that a request is counted for, as throttles see it: the defects of the system this one follows.

use http::{HeaderName, Request};
use traffik::web::{
    ClassHeaders, ClientAddress, CompositeKey, Cookie, Exempt, ForwardedHeader, FromExtension, Identify,
    Networks, Peer, PeerAddress, RequestParts, Route, Throttle,
};
use traffik::{Gcra, Label, Ratio, Tiered, TokenBucket, rate};

use crate::throttle::statuses;
use crate::{Clock, memory, request};

fn from(peer: &str, headers: &[(&'static str, &str)]) -> Request<String> {
    let mut request = headers.iter().fold(Request::builder(), |it, (name, value)| it.header(*name, *value));
    request = request.uri("/");
    let mut request = request.body(String::new()).unwrap();
    request.extensions_mut().insert(PeerAddress::new(peer.parse().unwrap()));
    request
}

/// One hit an hour for each client that this tells apart.
async fn once_each(identifier: impl Identify + 'static, requests: Vec<Request<String>>) -> Vec<u16> {
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), memory(&Clock::default()));
    statuses(&throttle.identifier(identifier).build().unwrap(), requests).await
}

/// X-Forwarded-For is believed from one's own proxies alone, and only what they have appended (defect 13).
#[tokio::test]
async fn a_forged_header_buys_no_second_request() {
    let proxies =
        || ClientAddress::new(Networks::parse(["10.0.0.0/8"]).unwrap(), ForwardedHeader::XForwardedFor);
    let forged = |list: &str| from("198.51.100.1:1", &[("x-forwarded-for", list)]);
    let asked = vec![forged("1.1.1.1"), forged("2.2.2.2"), from("198.51.100.1:9", &[])];
    assert_eq!(once_each(proxies(), asked).await, [201, 429, 429]);
    let passed_on = |list: &str| from("10.0.0.1:1", &[("x-forwarded-for", list)]);
    let asked =
        vec![passed_on("1.1.1.1, 192.0.2.1"), passed_on("2.2.2.2, 192.0.2.1"), passed_on("192.0.2.2")];
    assert_eq!(once_each(proxies(), asked).await, [201, 429, 201]);
}

/// A tier named in the text of a key, as a header or otherwise, is no tier (defect 13).
#[tokio::test]
async fn a_tier_in_a_key_promotes_nobody() {
    let tiers = [(Label::named("free"), Ratio::ONE), (Label::named("enterprise"), "10".parse().unwrap())];
    let limit = Tiered::new(TokenBucket::new(rate!("1/h")), tiers).unwrap();
    let inside = Networks::parse(["10.0.0.0/8"]).unwrap();
    let classes = ClassHeaders::from(inside.clone()).tier(HeaderName::from_static("x-tier"));
    let throttle = Throttle::builder("api", limit, memory(&Clock::default()))
        .identifier(ClientAddress::new(inside, ForwardedHeader::XForwardedFor))
        .class_by(move |request| classes.of(request))
        .build()
        .unwrap();
    let claims = |peer| from(peer, &[("x-forwarded-for", "tier:enterprise"), ("x-tier", "enterprise")]);
    assert_eq!(statuses(&throttle, [claims("192.0.2.1:1"), claims("192.0.2.1:1")]).await, [201, 429]);
    assert_eq!(statuses(&throttle, [claims("10.0.0.1:1"), claims("10.0.0.1:1")]).await, [201, 201]);
}

/// A path is the client's to choose, so it is no part of a key (defect 14).
#[tokio::test]
async fn another_path_is_no_way_round_a_limit() {
    let route = Route::new(["/items/{id}", "/users/{id}"]).unwrap();
    let get = |path: &str| {
        let mut request = request(1);
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let asked =
        vec![get("/items/1"), get("/items/2"), get("/items/3?a=b"), get("/users/1"), get("/%69tems/4")];
    let by_route = CompositeKey::new().and(Peer::default()).and(route);
    assert_eq!(once_each(by_route, asked).await, [201, 429, 429, 201, 429]);
    let asked = vec![get("/items/1"), get("/items/2"), get("/other")];
    assert_eq!(once_each(Peer::default(), asked).await, [201, 429, 429]);
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_client() {
    let asked = [
        "[2001:db8::1]:1",
        "[2001:db8::ffff]:1",
        "[2001:db8:0:1::1]:1",
        "[::ffff:192.0.2.1]:1",
        "192.0.2.1:2",
    ];
    let asked = asked.map(|peer| from(peer, &[])).into();
    assert_eq!(once_each(Peer::default(), asked).await, [201, 429, 201, 201, 429]);
}

#[tokio::test]
async fn a_user_is_named_by_a_layer_outside_and_some_are_exempt() {
    #[derive(Clone)]
    struct User(&'static str);
    let named = |name| {
        let mut request = request(1);
        request.extensions_mut().insert(User(name));
        request
    };
    let by_user = || FromExtension::new(|user: &User| user.0);
    let asked = vec![named("ann"), named("bob"), named("ann"), request(1), request(2)];
    assert_eq!(once_each(by_user(), asked).await, [201, 201, 429, 201, 429]);
    let staff = |request: RequestParts<'_>| request.extensions.get::<User>().is_some_and(|it| it.0 == "ann");
    let asked = vec![named("ann"), named("ann"), named("bob"), named("bob")];
    assert_eq!(once_each(Exempt::when(by_user(), staff), asked).await, [201, 201, 201, 429]);
    let inside = Networks::parse(["192.0.2.1"]).unwrap();
    let address = ClientAddress::new(Networks::default(), ForwardedHeader::Forwarded);
    let asked = vec![request(1), request(1), request(2), request(2)];
    assert_eq!(
        once_each(Exempt::networks(Peer::default(), inside, address), asked).await,
        [201, 201, 201, 429]
    );
}

#[tokio::test]
async fn a_cookie_tells_sessions_apart() {
    let session = |cookie: &str| from("192.0.2.1:1", &[("cookie", cookie)]);
    let asked =
        vec![session("a=1; sid=x"), session("sid=x; a=2"), session("sid=y"), session("a=1"), session("b=1")];
    assert_eq!(once_each(Cookie::new("sid"), asked).await, [201, 429, 201, 201, 429]);
}
