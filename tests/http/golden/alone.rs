//! One throttle: who passes, who is denied, who is not counted, and what each dialect tells of it.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use traffik::web::{
    Anonymous, ApiKey, ClassHeaders, CompositeKey, Cookie, CostHeader, Header, HeaderFormat, Identity,
    Networks, OnError, Peer, Registry, RequestParts, Route, Rule, Tenants,
};
use traffik::{All, FixedWindow, Gcra, Label, LeakyBucketQueue, Rate, Ratio, Tiered, TokenBucket, rate};

use super::stage::{ALONE, Scene, ask, asks, play, scene};

const DIALECTS: [(&str, HeaderFormat); 5] = [
    ("no headers", HeaderFormat::None),
    ("draft 10", HeaderFormat::Draft10),
    ("draft 07", HeaderFormat::Draft07),
    ("draft 06", HeaderFormat::Draft06),
    ("X-RateLimit", HeaderFormat::XRateLimit),
];

const fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

#[test]
fn golden_dialects() {
    let mut scenes = Vec::new();
    for (name, dialect) in DIALECTS {
        scenes.push(scene(name, move |stage| async move {
            let one =
                stage.throttle("api", FixedWindow::new(rate!("2/min"))).headers(dialect).build().unwrap();
            stage.ask(&one, [ask(1), ask(1), ask(1), ask(2), ask(1).after(59_001), ask(1).after(999)]).await;
            let limits = All([FixedWindow::new(rate!("1/1500ms")), FixedWindow::new(rate!("9/h"))]);
            let named = stage.throttle("two", limits).policies(["burst", "hourly"]).headers(dialect);
            stage.ask(&named.build().unwrap(), asks(2)).await;
            let never = stage.throttle("never", FixedWindow::new(rate!("2/min"))).cost(3).headers(dialect);
            stage.ask(&never.build().unwrap(), asks(1)).await;
            let free = stage.throttle("free", FixedWindow::new(Rate::UNLIMITED)).headers(dialect);
            stage.ask(&free.build().unwrap(), asks(1)).await;
            let mixed = All([FixedWindow::new(Rate::UNLIMITED), FixedWindow::new(rate!("1/min"))]);
            let mixed = stage.throttle("mixed", mixed).headers(dialect).build().unwrap();
            stage.ask(&mixed, asks(2)).await;
        }));
    }
    play("dialects", ALONE, &scenes);
}

/// A service's own headers are kept, unless a throttle sets the same ones.
#[test]
fn golden_own_headers() {
    let mut scenes: Vec<Scene> = DIALECTS
        .map(|(name, dialect)| {
            scene(name, move |stage| async move {
                let one = stage.throttle("api", FixedWindow::new(rate!("2/min"))).headers(dialect);
                let own = ask(1)
                    .with("answer-ratelimit", "\"inner\";r=5")
                    .with("answer-ratelimit", "\"other\";r=6")
                    .with("answer-ratelimit-policy", "\"inner\";q=9;w=1")
                    .with("answer-ratelimit-limit", "99")
                    .with("answer-x-ratelimit-remaining", "98")
                    .with("answer-retry-after", "7")
                    .with("answer-status", "503");
                stage.ask(&one.build().unwrap(), [own.clone(), own.clone(), own]).await;
            })
        })
        .into();
    scenes.push(scene("headers of one's own", |stage| async move {
        let one = stage
            .throttle("api", FixedWindow::new(rate!("1/min")))
            .headers(HeaderFormat::Draft07)
            .header(name("x-always"), HeaderValue::from_static("a"))
            .denial_header(name("x-denied"), HeaderValue::from_static("d"))
            .header(name("ratelimit"), HeaderValue::from_static("mine"))
            .denial_header(name("retry-after"), HeaderValue::from_static("soon"));
        let own = || ask(1).with("answer-x-always", "inner").with("answer-x-denied", "inner");
        stage.ask(&one.build().unwrap(), [own(), own()]).await;
        let free = stage
            .throttle("exempt", FixedWindow::new(rate!("1/min")))
            .identifier(|_: RequestParts<'_>| Identity::Exempt)
            .headers(HeaderFormat::Draft07)
            .header(name("x-always"), HeaderValue::from_static("a"));
        stage.ask(&free.build().unwrap(), [own()]).await;
    }));
    play("own-headers", ALONE, &scenes);
}

fn strategies() -> Vec<Scene> {
    vec![
        scene("token bucket", |stage| async move {
            let one = stage.throttle("api", TokenBucket::new(rate!("2/s"))).headers(HeaderFormat::Draft10);
            stage
                .ask(&one.build().unwrap(), [ask(1), ask(1), ask(1), ask(1).after(250), ask(1).after(250)])
                .await;
        }),
        scene("gcra", |stage| async move {
            let one = stage.throttle("api", Gcra::new(rate!("60/min"))).headers(HeaderFormat::Draft10);
            stage.ask(&one.build().unwrap(), [ask(1), ask(1), ask(1).after(1_000)]).await;
        }),
        scene("a queue, without a runtime to wait on", |stage| async move {
            let queue = LeakyBucketQueue::new(rate!("1/s")).queue(2).unwrap();
            let one = stage.throttle("api", queue).headers(HeaderFormat::Draft10);
            stage.ask(&one.build().unwrap(), asks(2)).await;
        }),
        scene("the least wait", |stage| async move {
            let wait = std::time::Duration::from_millis(30_001);
            let one = stage.throttle("api", TokenBucket::new(rate!("1/s"))).min_wait(wait).build().unwrap();
            stage.ask(&one, asks(2)).await;
            one.set_min_wait(std::time::Duration::ZERO);
            stage.ask(&one, asks(1)).await;
        }),
        scene("a wait of ten seconds and of many", |stage| async move {
            for (uid, rate) in
                [("ten", rate!("1/10s")), ("hundred", rate!("1/100s")), ("year", rate!("1/52w"))]
            {
                let one = stage.throttle(uid, FixedWindow::new(rate)).build().unwrap();
                stage.ask(&one, asks(2)).await;
            }
        }),
        scene("a cost of nothing, and one of more than is left", |stage| async move {
            let costs = |request: RequestParts<'_>| request.uri.path().len() as u32 - 1;
            let one = stage.throttle("api", TokenBucket::new(rate!("5/min"))).cost_by(costs);
            let one = one.headers(HeaderFormat::Draft06).build().unwrap();
            let to = |path| ask(1).to("GET", path);
            stage.ask(&one, [to("/"), to("/abc"), to("/abc"), to("/"), to("/abcdef"), to("/ab")]).await;
        }),
        scene("what is replaced", |stage| async move {
            let one = stage.throttle("api", TokenBucket::new(rate!("5/h"))).headers(HeaderFormat::Draft10);
            let one = one.build().unwrap();
            stage.ask(&one, asks(1)).await;
            one.set_strategy(TokenBucket::new(rate!("3/h")));
            stage.ask(&one, asks(1)).await;
            one.set_cost(2);
            stage.ask(&one, asks(1)).await;
            one.set_cost_by(|_| 1);
            one.set_strategy_by(|_| TokenBucket::new(rate!("9/h")));
            stage.ask(&one, asks(1)).await;
        }),
        scene("disabled, and enabled again by a registry", |stage| async move {
            let registry = Registry::default();
            let one =
                stage.throttle("api", Gcra::new(rate!("1/h"))).headers(HeaderFormat::Draft10).disabled();
            let one = one.register(&registry).build().unwrap();
            stage.ask(&one, asks(2)).await;
            registry.set_enabled("api", true).unwrap();
            stage.ask(&one, asks(2)).await;
            let again = stage.throttle("api", Gcra::new(rate!("1/h"))).register(&registry).build();
            stage.notes.line(&again.unwrap_err().to_string());
            stage.notes.line(&registry.set_enabled("none", true).unwrap_err().to_string());
            let unfit = stage.throttle("not a name", Gcra::new(rate!("1/h"))).build();
            stage.notes.line(&unfit.unwrap_err().to_string());
        }),
    ]
}

#[test]
fn golden_strategies() {
    play("strategies", ALONE, &strategies());
}

fn rules() -> Vec<Scene> {
    vec![
        scene("by method, path and host", |stage| async move {
            let host = |request: RequestParts<'_>| request.uri.host() == Some("a.example");
            let one = stage
                .throttle("api", FixedWindow::new(rate!("1/min")))
                .headers(HeaderFormat::Draft10)
                .apply_to(Rule::new().methods([Method::POST]).prefix("/api"))
                .apply_to(Rule::new().template("/users/{id}").unwrap())
                .apply_to(Rule::new().when(host))
                .bypass(Rule::new().glob("/*/health"));
            let requests = [
                ("POST", "/api"),
                ("POST", "/api/x"),
                ("GET", "/api/x"),
                ("GET", "/users/7"),
                ("GET", "/users/7/x"),
                ("POST", "/api/health"),
                ("GET", "http://a.example/"),
                ("GET", "http://b.example/"),
            ];
            let requests = requests.map(|(method, path)| ask(1).to(method, path));
            stage.ask(&one.build().unwrap(), requests).await;
        }),
        scene("by a rule that is awaited", |stage| async move {
            let counted = |request: RequestParts<'_>| {
                let counted = request.headers.contains_key("counted");
                async move {
                    tokio::task::yield_now().await;
                    counted
                }
            };
            let one = stage.throttle("api", FixedWindow::new(rate!("1/min"))).headers(HeaderFormat::Draft10);
            let one = one.apply_to(Rule::new().when_async(counted)).build().unwrap();
            stage.ask(&one, [ask(1), ask(1).with("counted", "1"), ask(1).with("counted", "1"), ask(1)]).await;
        }),
        scene("a scope has a limit of its own", |stage| async move {
            let one = stage.throttle("api", FixedWindow::new(rate!("1/min"))).scope("all").build().unwrap();
            stage
                .ask(&one, [ask(1), ask(1).scope("export"), ask(1).scope("export"), ask(1).scope("all")])
                .await;
        }),
    ]
}

#[test]
fn golden_rules() {
    play("rules", ALONE, &rules());
}

fn identities() -> Vec<Scene> {
    let anonymous = |told, anonymous| {
        scene(told, move |stage| async move {
            let one = stage.throttle("api", FixedWindow::new(rate!("1/min"))).headers(HeaderFormat::Draft10);
            let one = one.identifier(Header::new(name("who"))).anonymous(anonymous).build().unwrap();
            let ann = || ask(1).with("who", "ann");
            stage.ask(&one, [ask(1), ask(2), ann(), ann(), ask(1).with("who", "bob")]).await;
        })
    };
    vec![
        anonymous("the anonymous share a limit", Anonymous::Bucket),
        anonymous("the anonymous are rejected", Anonymous::Reject(StatusCode::UNAUTHORIZED)),
        anonymous("the anonymous are exempt", Anonymous::Exempt),
        scene("no peer is known", |stage| async move {
            let one = stage.throttle("api", FixedWindow::new(rate!("1/min"))).build().unwrap();
            stage.ask(&one, [ask(0), ask(0)]).await;
        }),
        scene("by key, cookie, address and route", |stage| async move {
            let routes = Route::new(["/users/{id}"]).unwrap();
            let all = CompositeKey::new().and(Peer::default()).and(ApiKey::new(name("key")));
            let all = all.and(Cookie::new("session")).and(routes);
            let one =
                stage.throttle("api", FixedWindow::new(rate!("1/min"))).identifier(all).build().unwrap();
            let known = |path| ask(1).to("GET", path).with("key", "k").with("cookie", "a=b; session=s");
            stage.ask(&one, [known("/users/1"), known("/users/2"), known("/"), ask(1), ask(2)]).await;
        }),
        scene("found out later", |stage| async move {
            let one = stage.throttle("api", FixedWindow::new(rate!("1/min"))).headers(HeaderFormat::Draft10);
            let who = |request: RequestParts<'_>| {
                let who = request.headers.get("who").map(|who| who.as_bytes().to_vec());
                async move {
                    tokio::task::yield_now().await;
                    match who.as_deref() {
                        None => Identity::Exempt,
                        Some(b"evil") => Identity::Refused(StatusCode::FORBIDDEN.into()),
                        Some(who) => Identity::of(b'u', who),
                    }
                }
            };
            let one = one.identifier_by_async(who).build().unwrap();
            let of = |who| ask(1).with("who", who);
            stage.ask(&one, [ask(1), of("ann"), of("ann"), of("evil"), of("bob")]).await;
        }),
        scene("tiers by a header, believed from whom it may come", |stage| async move {
            let free = Label::named("free");
            let tiered = Tiered::new(TokenBucket::new(rate!("4/h")), [(free, Ratio::new(1, 2).unwrap())]);
            let classes = ClassHeaders::from(Networks::parse(["192.0.2.1/32"]).unwrap()).tier(name("tier"));
            let one = stage.throttle("api", tiered.unwrap()).headers(HeaderFormat::Draft10);
            let one = one.class_by(move |request| classes.of(request)).build().unwrap();
            let of = |peer| ask(peer).with("tier", "free");
            stage.ask(&one, [of(1), of(1), of(1), of(2), ask(1)]).await;
        }),
        scene("a storage for each tenant", |stage| async move {
            let (maker, tenants) = (stage.clone(), Tenants::new(1));
            let of = move |request: RequestParts<'_>| {
                let tenant =
                    request.headers.get("tenant").map_or("none", |it| it.to_str().unwrap()).to_owned();
                tenants.get(tenant, |tenant| maker.storage::<FixedWindow>(tenant, &[]))
            };
            let limit = FixedWindow::new(rate!("1/min"));
            let one = traffik::web::Throttle::builder_by("api", limit, of).observe(stage.notes.clone());
            let one = one.headers(HeaderFormat::Draft10).on_error(OnError::Throttle).build().unwrap();
            let of = |tenant| ask(1).with("tenant", tenant);
            stage.ask(&one, [of("a"), of("a"), of("b"), of("a"), ask(1)]).await;
        }),
        scene("a cost in a header", |stage| async move {
            let costs = CostHeader::new(name("cost"), Networks::parse(["192.0.2.2/32"]).unwrap());
            let one = stage.throttle("api", TokenBucket::new(rate!("5/h"))).headers(HeaderFormat::Draft10);
            let one = one.cost_by(move |request| costs.of(request)).build().unwrap();
            let of = |peer, cost| ask(peer).with("cost", cost);
            stage
                .ask(&one, [of(1, "3"), of(1, "0"), of(2, "0"), of(1, "many"), of(1, "9"), of(1, "2")])
                .await;
        }),
    ]
}

#[test]
fn golden_identities() {
    play("identities", ALONE, &identities());
}
