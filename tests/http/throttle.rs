//! A throttle: every part of it as a value and as a function of the request, and asked within a service.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, Service, service_fn};
use traffik::storage::Local;
use traffik::strategy::{Erased, ErasedStrategy};
use traffik::web::{
    Admission, Anonymous, Enforcement, Event, Header, Identify, Identity, IdentityCache, Observe, OnError,
    Origin, Peer, Refusal, Registry, RequestError, RequestOutcome, RequestParts, Scope, Throttle,
    ThrottleDefaults, ThrottleError, ThrottleLayer,
};
use traffik::{
    Class, FixedWindow, Gcra, Label, LeakyBucketQueue, Outcome, Rate, Ratio, SharedMemory, Tiered,
    TokenBucket, rate,
};

use crate::{Clock, elsewhere, header, hello, memory, request};

/// The status of each of these requests, from a service behind the gate.
pub(crate) async fn statuses<G: Admission>(
    gate: &G,
    requests: impl IntoIterator<Item = Request<String>>,
) -> Vec<u16> {
    let mut service = ThrottleLayer::new(gate.clone()).layer(service_fn(hello));
    let mut statuses = Vec::new();
    for request in requests {
        statuses.push(service.call(request).await.unwrap().status().as_u16());
    }
    statuses
}

fn with(name: &'static str, value: &str) -> Request<String> {
    let mut request = request(1);
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// The number in a header.
fn number(request: RequestParts<'_>, name: &str) -> Option<u32> {
    request.headers.get(name)?.to_str().ok()?.parse().ok()
}

#[tokio::test]
async fn three_lines_limit_by_peer_address() {
    let limit = TokenBucket::new(rate!("2/h"));
    let throttle = Throttle::in_memory("api", limit).build().unwrap();
    let got = statuses(&throttle, [request(1), request(1), request(1), request(2)]).await;
    assert_eq!(got, [201, 201, 429, 201]);
}

/// Every function of the request, answered at once and after a while, on a storage here and one elsewhere.
#[tokio::test]
async fn limit_cost_class_and_identity_can_be_functions_of_the_request() {
    let tiers = [(Label(1), Ratio::ONE), (Label(2), "10".parse().unwrap())];
    let tiered = move |rate| {
        Tiered::new(TokenBucket::new(rate), tiers)
            .map_err(|_| RequestError::from(Refusal::new(StatusCode::BAD_REQUEST, "no such rate")))
    };
    let class = |request: RequestParts<'_>| {
        let mut class = Class::default();
        class.tier = Label(number(request, "tier").unwrap_or(1));
        class
    };
    let rate = |request: RequestParts<'_>| Rate::per_hour(number(request, "rate").unwrap_or(2));
    let cost = |request: RequestParts<'_>| number(request, "cost").unwrap_or(1);
    let who = |request: RequestParts<'_>| Header::new(HeaderName::from_static("who")).identify(request);

    let clock = Clock::default();
    let limit = tiered(Rate::per_hour(1)).unwrap();
    let at_once = Throttle::builder("api", limit, memory(&clock))
        .strategy_by(move |request| tiered(rate(request)))
        .cost_by(cost)
        .class_by(class)
        .identifier(who)
        .build()
        .unwrap();
    let later = Throttle::builder("api", limit, elsewhere(Arc::new(memory(&clock))))
        .strategy_by_async(move |request| {
            let limit = tiered(rate(request));
            async move {
                tokio::task::yield_now().await;
                limit
            }
        })
        .cost_by_async(move |request| std::future::ready(cost(request)))
        .class_by_async(move |request| std::future::ready(class(request)))
        .identifier_by_async(move |request| std::future::ready(who(request)))
        .build()
        .unwrap();
    let ask = |headers: &[(&'static str, &str)]| {
        let mut request = request(1);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request
    };
    let asked = || {
        [
            ask(&[("who", "a")]),
            ask(&[("who", "a"), ("cost", "2")]),
            ask(&[("who", "a"), ("cost", "0")]),
            ask(&[("who", "a"), ("rate", "4"), ("cost", "3")]),
            ask(&[("who", "b"), ("tier", "2"), ("cost", "20")]),
            ask(&[("who", "b"), ("tier", "2")]),
            ask(&[("who", "c"), ("cost", "3")]),
        ]
    };
    let expected = [201, 429, 201, 201, 201, 429, 429];
    assert_eq!(statuses(&at_once, asked()).await, expected);
    assert_eq!(statuses(&later, asked()).await, expected);
    // The figures are there also where the limit is a function of the request.
    for request in [ask(&[("who", "a"), ("rate", "4")]), ask(&[("who", "d"), ("rate", "4")])] {
        let here = at_once.client(&request).await.unwrap().unwrap().stat().await.unwrap();
        let there = later.client(&request).await.unwrap().unwrap().stat().await.unwrap();
        assert_eq!((here.inner.tokens, here.effective_limit), (there.inner.tokens, 4));
    }
}

#[tokio::test]
async fn what_a_function_refuses_or_cannot_tell_is_answered() {
    let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("2/h")))
        .cost_by(|request| match number(request, "cost") {
            Some(cost) => Ok(cost),
            None => Err(Refusal::new(StatusCode::BAD_REQUEST, "say a \"cost\"").into()),
        })
        // A burst that cannot be counted exactly.
        .strategy_by(|request| {
            Ok(TokenBucket::new(rate!("300000007/d")).burst(number(request, "burst").unwrap_or(2))?)
        })
        .build()
        .unwrap();
    let mut service = ThrottleLayer::new(throttle.clone()).layer(service_fn(hello));
    let refused = service.call(request(1)).await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), header(&refused, "content-type")),
        (400, "application/problem+json")
    );
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"title":"Bad Request","status":400,"detail":"say a \"cost\""}"#);
    let mut too_large = with("burst", "4294967295");
    too_large.headers_mut().insert("cost", "1".parse().unwrap());
    assert_eq!(statuses(&throttle, [with("cost", "2"), too_large]).await, [201, 503]);
}

#[tokio::test]
async fn what_throttles_on_a_storage_have_in_common_is_said_once() {
    let storage = Arc::new(memory(&Clock::default()));
    let base = ThrottleDefaults::new(storage)
        .identifier(Header::new(HeaderName::from_static("who")))
        .on_error(OnError::Allow)
        .on_throttled(|_| Response::builder().status(420).body("calm".into()).unwrap());
    let common = base.throttle("common", Gcra::new(rate!("1/h"))).build().unwrap();
    let own = base.throttle("own", Gcra::new(rate!("1/h"))).identifier(Peer::default()).build().unwrap();
    let asked = || [with("who", "a"), with("who", "b"), with("who", "a")];
    assert_eq!(statuses(&common, asked()).await, [201, 201, 420]);
    assert_eq!(statuses(&own, asked()).await, [201, 420, 420]);
}

#[tokio::test]
async fn limits_and_costs_are_replaced_without_losing_what_was_used() {
    let throttle =
        Throttle::builder("api", FixedWindow::new(rate!("3/h")), memory(&Clock::default())).build().unwrap();
    let three = || [request(1), request(1), request(1)];
    assert_eq!(statuses(&throttle, [request(1), request(1)]).await, [201, 201]);
    throttle.set_strategy(FixedWindow::new(rate!("4/h")));
    assert_eq!(statuses(&throttle, three()).await, [201, 201, 429], "two of four are used");
    throttle.set_strategy(FixedWindow::new(rate!("1/h")));
    throttle.set_strategy(FixedWindow::new(rate!("10/h")));
    throttle.set_cost(3);
    assert_eq!(statuses(&throttle, three()).await, [201, 201, 429], "four of ten are used, then ten");
    throttle.set_cost_by(|_| 0);
    assert_eq!(statuses(&throttle, three()).await, [201, 201, 201]);
    throttle.set_cost(1);
    throttle.disable();
    assert!(!throttle.is_enabled());
    assert_eq!(throttle.hit(&request(1)).await.unwrap().origin(), Origin::Disabled);
    throttle.enable();
    assert_eq!(statuses(&throttle, [request(1)]).await, [429], "nothing was forgotten meanwhile");
    throttle
        .set_strategy_by(|request| FixedWindow::new(Rate::per_hour(number(request, "rate").unwrap_or(10))));
    assert_eq!(statuses(&throttle, [with("rate", "11"), with("rate", "11")]).await, [201, 429]);
}

#[tokio::test]
async fn the_strategy_is_replaced_and_inherits_what_was_used() {
    type Chosen = Erased<Arc<dyn ErasedStrategy<64>>, 64>;
    let window: Arc<dyn ErasedStrategy<64>> = Arc::new(FixedWindow::new(rate!("5/h")));
    let bucket: Arc<dyn ErasedStrategy<64>> = Arc::new(TokenBucket::new(rate!("5/h")));
    let limit = Chosen::new(Arc::clone(&window));
    let throttle = Throttle::builder("api", limit, memory(&Clock::default())).build().unwrap();
    assert_eq!(statuses(&throttle, [request(1), request(1), request(1)]).await, [201; 3]);
    throttle.set_strategy(Chosen::new(bucket).migrating_from(window));
    assert_eq!(statuses(&throttle, [request(1), request(1), request(1)]).await, [201, 201, 429]);
}

#[test]
fn a_registry_knows_each_name_once() {
    let registry = Registry::default();
    let build = |uid| Throttle::in_memory(uid, Gcra::new(rate!("1/h"))).register(&registry).build();
    let api = build("api").unwrap();
    let clone = api.clone();
    let _other = build("other").unwrap();
    let refused = build("api").unwrap_err();
    assert!(
        matches!(&refused, ThrottleError::Taken(_))
            && refused.to_string().contains("\"api\" is in use already")
    );
    assert_eq!(registry.names(), ["api", "other"]);
    registry.set_enabled("api", false).unwrap();
    assert!(!api.is_enabled() && !registry.is_enabled("api").unwrap());
    assert!(registry.set_enabled("nobody", true).unwrap_err().to_string().contains("nobody"));
    drop(api);
    assert!(build("api").is_err(), "a clone of it is in use");
    drop(clone);
    assert!(build("api").is_ok());
    assert!(build("not a name").is_err() && !registry.names().contains(&"not a name".to_owned()));
}

#[tokio::test]
async fn a_client_is_asked_for_by_request_and_by_key() {
    let throttle =
        Throttle::builder("api", TokenBucket::new(rate!("5/h")), memory(&Clock::default())).build().unwrap();
    let by_request = throttle.client(&request(1)).await.unwrap().unwrap();
    let by_key = throttle.client_for(by_request.key().clone());
    let other = throttle.client_for(throttle.client(&request(2)).await.unwrap().unwrap().key().clone());
    let admitted = by_request.check().await.unwrap();
    assert_eq!(by_key.peek().await.unwrap().remaining(), 3);
    assert_eq!(by_key.stat().await.unwrap().tokens, 4);
    assert_eq!(other.stat().await.unwrap().tokens, 5);
    assert_eq!(by_key.refund(admitted.receipt()).await.unwrap().remaining(), 5);
    let by_key = by_key.cost(4);
    assert!(by_key.check().await.unwrap().is_allowed() && !by_key.check().await.unwrap().is_allowed());
    assert_eq!(by_request.charge().await.unwrap().remaining(), 0);
    assert_eq!(statuses(&throttle, [request(1)]).await, [429]);
    assert_eq!(by_key.reset().await.unwrap().remaining(), 5);
    // The same as in the middleware, within a handler.
    let pass = throttle.hit(&request(1)).await.unwrap();
    assert_eq!((pass.origin(), pass.verdict().unwrap().remaining()), (Origin::Store, 4));
    let _ = by_key.check().await.unwrap();
    assert_eq!(throttle.hit(&request(1)).await.unwrap_err().status(), 429);
    // Where the limit is a function of the request there is none for a key alone.
    throttle.set_strategy_by(|_| TokenBucket::new(rate!("5/h")));
    let error = throttle.client_for(by_key.key().clone()).check().await.unwrap_err();
    assert!(error.to_string().contains("set it on the client"));
    let given = throttle.client_for(by_key.key().clone()).strategy(TokenBucket::new(rate!("9/h")));
    assert_eq!(given.peek().await.unwrap().limit(), 9);
}

#[tokio::test]
async fn a_scope_has_a_limit_of_its_own() {
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), memory(&Clock::default()))
        .scope("all")
        .build()
        .unwrap();
    let scoped = |name: &str| {
        let mut request = request(1);
        request.extensions_mut().insert(Scope::from(name));
        request
    };
    let asked = [request(1), scoped("export"), scoped("export"), scoped("import"), scoped("all")];
    assert_eq!(statuses(&throttle, asked).await, [201, 201, 429, 201, 429]);
    let client = throttle.client(&request(1)).await.unwrap().unwrap();
    assert!(!client.check().await.unwrap().is_allowed());
    assert!(client.scope("other").check().await.unwrap().is_allowed());
}

#[tokio::test]
async fn the_anonymous_share_a_limit_or_are_refused_or_exempt() {
    let builder = || {
        Throttle::builder("api", Gcra::new(rate!("1/h")), memory(&Clock::default()))
            .identifier(Header::new(HeaderName::from_static("who")))
    };
    for (anonymous, expected) in [
        (Anonymous::Bucket, [201, 429, 201, 429]),
        (Anonymous::Reject(StatusCode::UNAUTHORIZED), [401, 401, 201, 429]),
        (Anonymous::Exempt, [201, 201, 201, 429]),
    ] {
        let throttle = builder().anonymous(anonymous).build().unwrap();
        let asked = [request(1), request(2), with("who", "a"), with("who", "a")];
        assert_eq!(statuses(&throttle, asked).await, expected, "{anonymous:?}");
    }
}

/// Two throttles behind one another ask once who is asking.
#[tokio::test]
async fn who_is_asking_is_found_out_once_per_request() {
    let (asked, cache) = (Arc::new(AtomicUsize::new(0)), IdentityCache::new());
    let build = |uid, cache: Option<IdentityCache>| {
        let asked = Arc::clone(&asked);
        let builder = Throttle::builder(uid, Gcra::new(rate!("1000/s")), memory(&Clock::default()));
        let builder = builder.identifier_by_async(move |request| {
            asked.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Peer::default().identify(request))
        });
        match cache {
            Some(cache) => builder.identity_cache(cache).build().unwrap(),
            None => builder.build().unwrap(),
        }
    };
    for (cached, expected) in [(Some(cache), 1), (None, 2)] {
        asked.store(0, Ordering::Relaxed);
        let inner = ThrottleLayer::new(build("inner", cached)).layer(service_fn(hello));
        let mut service = ThrottleLayer::new(build("outer", cached)).layer(inner);
        assert_eq!(service.call(request(1)).await.unwrap().status(), 201);
        assert_eq!(asked.load(Ordering::Relaxed), expected);
    }
    // A cache of another identifier is not taken for it.
    let inner = ThrottleLayer::new(build("inner", Some(IdentityCache::new()))).layer(service_fn(hello));
    let mut service = ThrottleLayer::new(build("outer", Some(cache))).layer(inner);
    asked.store(0, Ordering::Relaxed);
    let _ = service.call(request(1)).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

/// Remembers what it hears.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(RequestOutcome, Option<String>)>>>);

impl Observe for Heard {
    fn seen(&self, event: &Event<'_>) {
        assert_eq!(event.throttle, "api");
        let name = event.client.map(|client| {
            let mut text = String::new();
            client.name_to(&mut text).unwrap();
            text
        });
        self.0.lock().unwrap().push((event.result, name));
    }
}

#[tokio::test]
async fn a_shadow_counts_and_tells_and_denies_nobody() {
    for remote in [false, true] {
        let (heard, clock) = (Heard::default(), Clock::default());
        let storage = Arc::new(memory(&clock));
        let shadow = Enforcement::Shadow;
        let gcra = Gcra::new(rate!("1/h"));
        macro_rules! got {
            ($storage:expr) => {{
                let throttle = Throttle::builder("api", gcra, $storage)
                    .enforcement(shadow)
                    .headers(traffik::web::HeaderFormat::Draft10)
                    .observe(heard.clone())
                    .build()
                    .unwrap();
                let mut service = ThrottleLayer::new(throttle).layer(service_fn(hello));
                for _ in 0..3 {
                    let response = service.call(request(1)).await.unwrap();
                    assert_eq!(
                        (response.status().as_u16(), response.headers().len()),
                        (201, 1),
                        "told nothing"
                    );
                }
            }};
        }
        if remote {
            got!(elsewhere(storage))
        } else {
            got!(storage)
        }
        let heard = heard.0.lock().unwrap();
        let words: Vec<_> = heard.iter().map(|(seen, _)| seen.name()).collect();
        // A storage elsewhere is not waited for: what it says is heard of if it says so before the request is served.
        let expected: &[&str] = if remote { &[] } else { &["allowed", "would_deny", "would_deny"] };
        assert_eq!(words, expected);
        assert!(heard.iter().all(|(_, name)| name.as_deref() == Some("192.0.2.1")));
    }
}

/// A shadow on a storage elsewhere counts also where the service is faster, if there is somebody to see to it.
#[tokio::test]
async fn a_shadow_elsewhere_is_seen_to_in_the_background() {
    let heard = Heard::default();
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), elsewhere(memory(&Clock::default())))
        .enforcement(Enforcement::Shadow)
        .observe(heard.clone())
        .spawner(|future| drop(tokio::spawn(future)))
        .build()
        .unwrap();
    assert_eq!(statuses(&throttle, [request(1), request(1)]).await, [201, 201]);
    while heard.0.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    let words: Vec<_> = heard.0.lock().unwrap().iter().map(|(seen, _)| *seen).collect();
    // Which of them comes first is for the runtime to say.
    assert!(
        words.contains(&RequestOutcome::Allowed) && words.contains(&RequestOutcome::WouldDeny),
        "{words:?}"
    );
}

#[tokio::test]
async fn a_part_of_the_clients_is_denied_always_the_same() {
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), memory(&Clock::default()))
        .enforcement(Enforcement::percent(30, 7))
        .build()
        .unwrap();
    let mut denied = Vec::new();
    for peer in 0..60 {
        let got = statuses(&throttle, [request(peer), request(peer), request(peer)]).await;
        assert!(got == [201, 429, 429] || got == [201, 201, 201]);
        denied.extend((got[1] == 429).then_some(peer));
    }
    assert!((8..30).contains(&denied.len()), "{denied:?}");
    throttle.set_enforcement(Enforcement::Full);
    assert_eq!(statuses(&throttle, (0..60).map(request)).await, [429; 60], "all were counted");
}

/// A request that a queue admits later waits its turn, or gets a time to retry and gives its place back.
#[tokio::test(start_paused = true)]
async fn a_delayed_request_waits_or_gives_its_place_back() {
    let queue = LeakyBucketQueue::new(rate!("1/s")).queue(2).unwrap();
    let clock = Clock::default();
    let build = |uid| Throttle::builder(uid, queue, memory(&clock));
    let patient = build("patient").runtime(traffik::runtime::Tokio).build().unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(statuses(&patient, [request(1), request(1), request(1)]).await, [201; 3]);
    // The clock of the storage stands still, so the second waits one second and the third two.
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    let hasty = build("hasty").build().unwrap();
    assert_eq!(statuses(&hasty, (0..5).map(|_| request(1))).await, [201, 429, 429, 429, 429]);
    let client = hasty.client(&request(1)).await.unwrap().unwrap();
    assert_eq!(client.peek().await.unwrap().outcome(), Outcome::Allow { after: Duration::from_secs(1) });
}

#[tokio::test]
async fn an_exempt_client_is_heard_of_and_not_counted() {
    let heard = Heard::default();
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), memory(&Clock::default()))
        .identifier(|_: RequestParts<'_>| Identity::Exempt)
        .observe(heard.clone())
        .build()
        .unwrap();
    assert_eq!(statuses(&throttle, [request(1), request(1)]).await, [201, 201]);
    assert_eq!(*heard.0.lock().unwrap(), [(RequestOutcome::Exempt, None), (RequestOutcome::Exempt, None)]);
    assert!(throttle.client(&request(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_handler_that_asks_can_be_spawned() {
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), elsewhere(memory(&Clock::default())));
    let throttle = throttle.build().unwrap();
    let asked = tokio::spawn(async move { throttle.hit(&request(1)).await.is_ok() });
    assert!(asked.await.unwrap());
}

/// A question before the first request: the whole limit is left, and a request would leave one less.
#[tokio::test]
async fn the_status_of_a_fresh_client_is_the_whole_limit() {
    async fn left<S: traffik::Strategy<Verdict = traffik::Decision, Cost = u32>>(strategy: S) -> [u64; 5] {
        let throttle = Throttle::builder("api", strategy, memory(&Clock::default())).build().unwrap();
        let client = throttle.client(&request(1)).await.unwrap().unwrap().cost(3);
        let fresh = [client.status().await.unwrap(), client.peek().await.unwrap()];
        assert!(client.check().await.unwrap().is_allowed());
        let used = [client.status().await.unwrap(), client.peek().await.unwrap()];
        [
            fresh[0].limit(),
            fresh[0].remaining(),
            fresh[1].remaining(),
            used[0].remaining(),
            used[1].remaining(),
        ]
        .map(u64::from)
    }
    let rate = rate!("10/min");
    let expected = [10, 10, 7, 7, 4];
    assert_eq!(left(traffik::FixedWindow::new(rate)).await, expected);
    assert_eq!(left(traffik::SlidingWindow::new(rate)).await, expected);
    assert_eq!(left(TokenBucket::new(rate)).await, expected);
    assert_eq!(left(traffik::Gcra::new(rate).burst(10).unwrap()).await, expected);
}

/// Several strategies in one memory: each throttle counts by itself, and all take from one budget.
#[tokio::test]
async fn throttles_of_several_strategies_share_a_memory() {
    let builder = SharedMemory::builder().capacity(100).clock(Clock::default());
    let memory = Arc::new(Local(builder.build_shared()));
    let logins =
        Throttle::builder("logins", FixedWindow::new(rate!("1/h")), Arc::clone(&memory)).build().unwrap();
    let pages =
        Throttle::builder("pages", TokenBucket::new(rate!("2/h")), Arc::clone(&memory)).build().unwrap();
    let uploads =
        Throttle::builder("uploads", TokenBucket::new(rate!("1/h")), Arc::clone(&memory)).build().unwrap();
    for (at, expected) in [[true, true, true], [false, true, false], [false, false, false]].iter().enumerate()
    {
        let request = request(1);
        let admitted = [
            logins.hit(&request).await.is_ok(),
            pages.hit(&request).await.is_ok(),
            uploads.hit(&request).await.is_ok(),
        ];
        assert_eq!(admitted, *expected, "request {at}");
    }
    assert_eq!(memory.0.len(), 3);
}
