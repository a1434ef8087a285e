//! Which requests a throttle applies to, and several throttles as one limit.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tower::{Layer, Service, ServiceExt, service_fn};
use traffik::layer::{CallCounters, DenyCache, Instrumented};
use traffik::storage::{AsyncStorage, Local};
use traffik::web::{
    Enforcement, Event, HeaderFormat, Observe, RequestOutcome, Rule, Throttle, ThrottleLayer, ThrottleSet,
};
use traffik::{FixedWindow, Gcra, LeakyBucketQueue, Memory, Strategy, TokenBucket, rate};

use crate::throttle::statuses;
use crate::{Clock, elsewhere, header, hello, memory, request};

fn ask(method: &str, path: &str) -> http::Request<String> {
    let mut request = request(1);
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = path.parse().unwrap();
    request
}

/// One hit an hour for requests that meet the rule; for others as many as there are.
async fn once(rule: Rule, requests: &[(&str, &str)]) -> Vec<u16> {
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), memory(&Clock::default()));
    let throttle = throttle.apply_to(rule).build().unwrap();
    statuses(&throttle, requests.iter().map(|(method, path)| ask(method, path))).await
}

#[tokio::test]
async fn a_throttle_applies_by_method_path_and_predicate() {
    let twice = |path| [("GET", path), ("GET", path)];
    for (rule, hit, missed) in [
        (Rule::new().path("/a"), "/a?b=c", "/a/b"),
        (Rule::new().prefix("/a"), "/a/b", "/ab"),
        (Rule::new().glob("/a/*/c"), "/a/b/c", "/a/b/d"),
        (Rule::new().template("/a/{id}/c").unwrap(), "/a/b/c", "/a/b/d"),
        (Rule::new().regex("^/a/[0-9]+$").unwrap(), "/a/12", "/a/b"),
        (Rule::new().when(|request| request.uri.path() == "/a"), "/a", "/b"),
        (Rule::new().when_async(|request| std::future::ready(request.uri.path() == "/a")), "/a", "/b"),
        (Rule::new().prefix("/a").glob("/**/c").methods([Method::GET]).when(|_| true), "/a/c", "/a/b"),
    ] {
        let told = format!("{rule:?}");
        let asked = [twice(hit), twice(missed)].concat();
        assert_eq!(once(rule, &asked).await, [201, 429, 201, 201], "{told}");
    }
    let posts = Rule::new().methods([Method::POST]);
    let asked = [("POST", "/"), ("POST", "/"), ("GET", "/"), ("HEAD", "/"), ("OPTIONS", "/")];
    assert_eq!(once(posts, &asked).await, [201, 429, 201, 201, 201]);
    let all = [("GET", "/a"), ("HEAD", "/a"), ("OPTIONS", "/a"), ("GET", "/a?other=query")];
    assert_eq!(once(Rule::new(), &all).await, [201, 429, 429, 429]);
}

#[tokio::test]
async fn any_of_several_rules_is_enough_and_a_bypass_beats_them() {
    let throttle = Throttle::builder("api", Gcra::new(rate!("1/h")), memory(&Clock::default()))
        .apply_to(Rule::new().prefix("/a"))
        .apply_to(Rule::new().prefix("/b"))
        .bypass(Rule::new().glob("/*/health"))
        .bypass(Rule::new().when_async(|request| {
            let staff = request.headers.contains_key("x-staff");
            async move {
                tokio::task::yield_now().await;
                staff
            }
        }))
        .build()
        .unwrap();
    let staff = |path| {
        let mut request = ask("GET", path);
        request.headers_mut().insert("x-staff", "1".parse().unwrap());
        request
    };
    let asked = [
        ask("GET", "/a"),
        ask("GET", "/b"),
        ask("GET", "/c"),
        ask("GET", "/a/health"),
        staff("/a"),
        staff("/b"),
    ];
    assert_eq!(statuses(&throttle, asked).await, [201, 429, 201, 201, 201, 201]);
}

fn throttle<S: Strategy, M: AsyncStorage<S> + 'static>(
    uid: &str,
    strategy: S,
    storage: M,
) -> traffik::web::ThrottleBuilder<S, M> {
    Throttle::builder(uid, strategy, storage).headers(HeaderFormat::Draft10)
}

/// Whichever of them denies, and wherever they are kept, none of the others is charged.
#[tokio::test]
async fn several_throttles_charge_all_or_none() {
    type Stored = Arc<dyn AsyncStorage<TokenBucket>>;
    let here: fn(&Clock) -> Stored = |clock| Arc::new(memory(clock));
    let there: fn(&Clock) -> Stored = |clock| Arc::new(elsewhere(memory(clock)));
    for places in [[here, here], [here, there], [there, here], [there, there]] {
        let clock = Clock::default();
        let [first, second] = places.map(|place| place(&clock));
        let per_peer = throttle("peer", TokenBucket::new(rate!("5/h")), first).build().unwrap();
        let logins = throttle("login", TokenBucket::new(rate!("2/h")), second)
            .apply_to(Rule::new().path("/login"))
            .build()
            .unwrap();
        let both = ThrottleSet::new().and(per_peer.clone()).and(logins.clone());
        let asked = (0..4).map(|_| ask("GET", "/login"));
        assert_eq!(statuses(&both, asked).await, [201, 201, 429, 429]);
        let client = per_peer.client(&request(1)).await.unwrap().unwrap();
        assert_eq!(client.stat().await.unwrap().tokens, 3, "the two denied were not charged");
        let asked = (0..4).map(|_| ask("GET", "/other"));
        assert_eq!(statuses(&both, asked).await, [201, 201, 201, 429]);
        let client = logins.client(&ask("GET", "/login")).await.unwrap().unwrap();
        assert!(client.reset().await.unwrap().is_allowed());
        assert_eq!(statuses(&both, [ask("GET", "/login")]).await, [429]);
        assert_eq!(client.stat().await.unwrap().tokens, 2);
    }
}

/// One answer with the figures of all, the tightest first; the wait is the longest of those that deny.
#[tokio::test]
async fn several_throttles_tell_one_story() {
    let clock = Clock::default();
    let minute = throttle("minute", FixedWindow::new(rate!("2/min")), memory(&clock)).build().unwrap();
    let hour = throttle("hour", FixedWindow::new(rate!("10/h")), memory(&clock)).build().unwrap();
    let plain = Throttle::builder("plain", FixedWindow::new(rate!("9/d")), memory(&clock))
        .headers(HeaderFormat::XRateLimit)
        .build()
        .unwrap();
    let mut service =
        ThrottleLayer::new(ThrottleSet::new().and(hour).and(minute).and(plain)).layer(service_fn(hello));
    let first = service.call(request(1)).await.unwrap();
    assert_eq!(header(&first, "ratelimit-policy"), r#""minute";q=2;w=60, "hour";q=10;w=3600"#);
    assert_eq!(header(&first, "ratelimit"), r#""minute";r=1;t=60, "hour";r=9;t=3600"#);
    assert_eq!(header(&first, "x-ratelimit-remaining"), "8");
    let _ = service.call(request(1)).await.unwrap();
    let denied = service.call(request(1)).await.unwrap();
    assert_eq!((denied.status().as_u16(), header(&denied, "retry-after")), (429, "60"));
    assert_eq!(header(&denied, "ratelimit"), r#""minute";r=0;t=60, "hour";r=8"#);
    let body = http_body_util::BodyExt::collect(denied.into_body()).await.unwrap().to_bytes();
    assert!(body.ends_with(br#""violated-policies":["minute"]}"#), "{body:?}");
}

/// One limit would admit in a while and one never: the client gets no time at which to retry.
#[tokio::test]
async fn of_several_one_that_never_admits_is_what_is_told() {
    let clock = Clock::default();
    let soon =
        throttle("soon", FixedWindow::new(rate!("1/min")), memory(&clock)).min_wait(Duration::from_secs(5));
    let never = throttle("never", FixedWindow::new(rate!("1/min")), memory(&clock))
        .cost(2)
        .min_wait(Duration::from_secs(5));
    let (soon, never) = (soon.build().unwrap(), never.build().unwrap());
    assert_eq!(statuses(&soon, [request(1)]).await, [201]);
    for several in
        [ThrottleSet::new().and(soon.clone()).and(never.clone()), ThrottleSet::new().and(never).and(soon)]
    {
        let service = ThrottleLayer::new(several).layer(service_fn(hello));
        let denied = service.oneshot(request(1)).await.unwrap();
        assert_eq!((denied.status().as_u16(), header(&denied, "retry-after")), (429, ""));
        let body = http_body_util::BodyExt::collect(denied.into_body()).await.unwrap().to_bytes();
        let body = std::str::from_utf8(&body).unwrap();
        assert!(body.contains("\"never\":true") && !body.contains("retry_after_ms"), "{body}");
    }
}

#[tokio::test]
async fn the_most_specific_throttle_is_the_one_that_counts_if_chosen() {
    let build = || {
        let clock = Clock::default();
        let limit = |limit| FixedWindow::new(traffik::Rate::per_hour(limit));
        let api = Throttle::builder("api", limit(1), memory(&clock)).apply_to(Rule::new().prefix("/api"));
        let me = Throttle::builder("me", limit(3), memory(&clock)).apply_to(Rule::new().path("/api/me"));
        let all = Throttle::builder("all", limit(2), memory(&clock));
        let several = ThrottleSet::new().and(all.build().unwrap()).and(api.build().unwrap());
        several.and(me.build().unwrap())
    };
    let asked = || {
        let me = || ask("GET", "/api/me");
        [me(), me(), me(), me(), ask("GET", "/api/x"), ask("GET", "/api/x"), ask("GET", "/x")]
    };
    assert_eq!(statuses(&build().most_specific(), asked()).await, [201, 201, 201, 429, 201, 429, 201]);
    assert_eq!(statuses(&build(), asked()).await, [201, 429, 429, 429, 429, 429, 201]);
}

/// A rule whose predicate turns out not to be met says nothing about how specific its throttle is.
#[tokio::test]
async fn an_awaited_rule_ranks_its_throttle_only_if_it_is_met() {
    let got = async |answer: bool| {
        let clock = Clock::default();
        let me = Rule::new().path("/api/users/me").when_async(move |_| std::future::ready(answer));
        let wide = throttle("wide", FixedWindow::new(rate!("1/h")), memory(&clock))
            .apply_to(me)
            .apply_to(Rule::new().prefix("/"));
        let users = throttle("users", FixedWindow::new(rate!("2/h")), memory(&clock));
        let users = users.apply_to(Rule::new().prefix("/api/users")).build().unwrap();
        let both = ThrottleSet::new().and(wide.build().unwrap()).and(users).most_specific();
        let me = || ask("GET", "/api/users/me");
        statuses(&both, [me(), me(), me(), ask("GET", "/"), ask("GET", "/")]).await
    };
    assert_eq!(got(true).await, [201, 429, 429, 429, 429], "all are counted by `wide`");
    assert_eq!(got(false).await, [201, 201, 429, 201, 429], "`users` counts what is below it");
}

/// A known denial by one throttle costs the stores of the others nothing, in any order of the throttles.
#[tokio::test]
async fn who_is_denied_by_one_and_hammers_costs_no_store_a_call() {
    for own_first in [false, true] {
        let (clock, calls) = (Clock::default(), CallCounters::default());
        let counted = || Instrumented::new(elsewhere(memory(&clock)), calls.clone());
        let shared = throttle("shared", TokenBucket::new(rate!("100/w")), counted()).build().unwrap();
        let cached = DenyCache::builder(counted()).build();
        let own = throttle("own", TokenBucket::new(rate!("1/w")), cached).build().unwrap();
        let both = match own_first {
            true => ThrottleSet::new().and(own).and(shared),
            false => ThrottleSet::new().and(shared).and(own),
        };
        assert_eq!(statuses(&both, [request(1), request(1)]).await, [201, 429]);
        let made = || calls.iter().map(|(_, _, count, _)| count).sum::<u64>();
        let before = made();
        assert_eq!(statuses(&both, (0..20).map(|_| request(1))).await, [429; 20]);
        assert_eq!(made(), before);
        assert_eq!(statuses(&both, [request(2)]).await, [201]);
        assert!(made() > before);
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<std::sync::Mutex<Vec<(String, RequestOutcome)>>>);

impl Observe for Heard {
    fn seen(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push((event.throttle.to_owned(), event.result));
    }
}

/// A shadow is asked after the others, charged only if they admit, and told of to nobody but observers.
#[tokio::test]
async fn a_shadow_among_several_stands_outside() {
    let (clock, heard) = (Clock::default(), Heard::default());
    let shadow = throttle("shadow", TokenBucket::new(rate!("1/h")), memory(&clock))
        .enforcement(Enforcement::Shadow)
        .observe(heard.clone())
        .build()
        .unwrap();
    let real = throttle("real", TokenBucket::new(rate!("3/h")), memory(&clock)).observe(heard.clone());
    let both = ThrottleSet::new().and(shadow).and(real.build().unwrap());
    let mut service = ThrottleLayer::new(both).layer(service_fn(hello));
    for expected in [201, 201, 201, 429] {
        let response = service.call(request(1)).await.unwrap();
        assert_eq!(response.status(), expected);
        assert!(
            header(&response, "ratelimit").starts_with("\"real\"")
                && !header(&response, "ratelimit").contains("shadow")
        );
    }
    let heard = heard.0.lock().unwrap();
    let told: Vec<_> = heard.iter().map(|(uid, seen)| (uid.as_str(), *seen)).collect();
    let (real, shadow) = ("real", "shadow");
    assert_eq!(
        told,
        [
            (real, RequestOutcome::Allowed),
            (shadow, RequestOutcome::Allowed),
            (real, RequestOutcome::Allowed),
            (shadow, RequestOutcome::WouldDeny),
            (real, RequestOutcome::Allowed),
            (shadow, RequestOutcome::WouldDeny),
            (real, RequestOutcome::Denied),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_longest_delay_of_several_is_sat_out() {
    let clock = Clock::default();
    let queue = |uid, rate| {
        let limit = LeakyBucketQueue::new(rate).queue(5).unwrap();
        throttle(uid, limit, memory(&clock)).runtime(traffik::runtime::Tokio).build().unwrap()
    };
    let several = ThrottleSet::new().and(queue("fast", rate!("2/s"))).and(queue("slow", rate!("1/s")));
    let began = tokio::time::Instant::now();
    assert_eq!(statuses(&several, [request(1), request(1)]).await, [201, 201]);
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

/// Racers for a limit behind another one: exactly as many as there is room for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racers_are_admitted_exactly_the_limit() {
    let one =
        Throttle::builder("one", TokenBucket::new(rate!("50/w")), Local(Memory::new(100))).build().unwrap();
    let other = Throttle::builder(
        "other",
        TokenBucket::new(rate!("70/w")),
        elsewhere(Arc::new(Local(Memory::new(100)))),
    );
    let other = other.build().unwrap();
    let both = ThrottleSet::new().and(one.clone()).and(other.clone());
    let racers: Vec<_> = (0..200)
        .map(|_| {
            let service = ThrottleLayer::new(both.clone()).layer(service_fn(hello));
            tokio::spawn(async move { service.oneshot(request(1)).await.unwrap().status() == 201 })
        })
        .collect();
    let mut admitted = 0;
    for racer in racers {
        admitted += u32::from(racer.await.unwrap());
    }
    // In a race one may be denied that could have been admitted, never the other way round.
    assert!((45..=50).contains(&admitted), "{admitted}");
    let left = other.client(&request(1)).await.unwrap().unwrap().stat().await.unwrap().tokens;
    assert_eq!(left, 70 - i64::from(admitted), "what the denied were charged was given back");
}
