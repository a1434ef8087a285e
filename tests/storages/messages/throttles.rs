//! Throttles for HTTP: names, rules, routes and networks, and requests that are refused or not decided on.

use http::{HeaderName, Method, Request, StatusCode};
use traffik::runtime::Manual;
use traffik::storage::Local;
use traffik::web::{
    Cookie, CostHeader, Header, Identify, Identity, Networks, NotExposed, PeerAddress, Refusal, Registry,
    RequestParts, Route, Rule, Throttle, ThrottleBuilder, ThrottleError,
};
use traffik::{Memory, TokenBucket, rate};
use traffik_test_support::faulty::{Faulty, before};

use super::{Messages, refused};

fn bucket() -> TokenBucket {
    TokenBucket::new(rate!("1/h"))
}

fn api(uid: &str) -> ThrottleBuilder<TokenBucket, Local<Memory<TokenBucket>>> {
    Throttle::in_memory(uid, bucket())
}

fn with(rule: Rule) -> Result<(), ThrottleError> {
    api("api").apply_to(rule).build().map(drop)
}

pub(super) fn provoke(messages: &mut Messages) {
    names(messages);
    rules(messages);
    routes(messages);
    refusals(messages);
    rejections(messages);
}

fn names(messages: &mut Messages) {
    messages.section("Names of throttles");
    let registry = Registry::new();
    let first = api("api").register(&registry).build().unwrap();
    let storage = std::sync::Arc::new(Memory::new(100));
    let on = |uid| Throttle::builder(uid, bucket(), Local(storage.clone()));
    let second = on("api").build().unwrap();
    refused! { messages:
        api("").build();
        api("my api").build();
        api("api").policies(["per minute"]).build();
        api("api").register(&registry).build();
        on("api").build();
        registry.set_enabled("apis", true);
        registry.is_enabled("apis");
    }
    drop((first, second));
}

fn rules(messages: &mut Messages) {
    messages.section("Rules of throttles");
    let rule = Rule::new;
    let method = |name: &str| Method::from_bytes(name.as_bytes()).unwrap();
    refused! { messages:
        with(rule().path("users"));
        with(rule().prefix("users"));
        with(rule().glob("users/*"));
        with(rule().path("/users?page=1"));
        with(rule().path("/users#top"));
        with(rule().path("/users/:id"));
        with(rule().path("/users/<id>"));
        with(rule().path("/users/{id}"));
        with(rule().path("/users/*"));
        with(rule().glob("/users/{id}"));
        with(rule().path("/users/[0-9]+"));
        with(rule().prefix("/users/.*"));
        with(rule().path("/users;v=1"));
        with(rule().methods([method("get")]));
        with(rule().methods([method("*")]));
        with(rule().methods([method("any")]));
        with(rule().methods([method("GTE")]));
        with(rule().path("/users").prefix("/admin"));
    }
}

fn routes(messages: &mut Messages) {
    messages.section("Routes, regular expressions and networks");
    refused! { messages:
        Rule::new().template("users");
        Rule::new().template("/users/{id");
        Rule::new().template("/users/{}");
        Rule::new().template("/users/{id}-{name}");
        Rule::new().template("/files/{*path}/more");
        Route::new(["/users/{id}", "/users/{name}"]);
        Route::new(["/users/{id"]);
        Rule::new().regex("/users/(");
        Rule::new().regex("/users/[0-9");
        Networks::parse(["10.0.0.0/33"]);
        Networks::parse(["10.0.0.0/8, 192.168.0.0/16"]);
        Networks::parse(["localhost"]);
    }
}

fn identified(identity: Identity) -> Result<(), String> {
    match identity {
        Identity::Refused(refusal) => Err(refusal.to_string()),
        _ => Ok(()),
    }
}

fn refusals(messages: &mut Messages) {
    messages.section("Requests that are refused");
    let user = HeaderName::from_static("x-user");
    let cost = HeaderName::from_static("x-cost");
    let request = Request::builder()
        .header("x-user", "ann")
        .header("x-user", "bob")
        .header("cookie", "id=1; id=2")
        .header("x-cost", "many")
        .body(())
        .unwrap();
    let parts = RequestParts::from(&request);
    let costs = CostHeader::new(cost, Networks::default());
    refused! { messages:
        identified(Header::new(user).identify(parts));
        identified(Cookie::new("id").identify(parts));
        costs.of(parts).map_err(|error| error.to_string());
    }
    messages.line("RateLimitStatus as an extractor of axum, and no throttle exposes it", &NotExposed);
    messages.line("Refusal::from(StatusCode::FORBIDDEN)", &Refusal::from(StatusCode::FORBIDDEN));
}

fn rejections(messages: &mut Messages) {
    messages.section("Rejections");
    let runtime = Manual::new();
    let mut request = Request::new(());
    request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 1000).into()));
    let stranger = Request::new(());
    let throttle = api("api").build().unwrap();
    let by_function = api("functions").strategy_by(|_| bucket()).build().unwrap();
    let store = Faulty::new(&runtime);
    store.always(before(traffik::ErrorKind::Unavailable));
    let broken = Throttle::builder("broken", bucket(), store).build().unwrap();
    let refusing =
        api("refusing").identifier_by(|_| Identity::Refused(StatusCode::FORBIDDEN.into())).build().unwrap();
    runtime.run(throttle.hit(&request)).unwrap().unwrap();
    refused! { messages:
        runtime.run(throttle.hit(&request)).unwrap();
        runtime.run(throttle.hit_n(&request, 2)).unwrap();
        runtime.run(throttle.hit(&stranger)).unwrap();
        runtime.run(broken.hit(&request)).unwrap();
        runtime.run(refusing.hit(&request)).unwrap();
        runtime.run(by_function.client_for(traffik::web::ClientKey::of("ann")).check()).unwrap();
    }
}
