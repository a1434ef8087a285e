//! Where scenes are played: throttles on storages that note what they are asked, and requests with answers.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, service_fn};
use traffik::runtime::{Manual, Runtime};
use traffik::storage::{AsyncStorage, BackendError, BoxFuture};
use traffik::web::{
    Admission, PeerAddress, RateLimitStatus, Scope, Throttle, ThrottleBuilder, ThrottleLayer, ThrottleSet,
    Throttled,
};
use traffik::{Strategy, Timer, TokenBucket};
use traffik_test_support::faulty::{Course, Faulty};
use traffik_test_support::golden::golden;
use traffik_test_support::ledger::{self, Notes, Stored, unobserved};
use traffik_test_support::ways::compared;

use crate::elsewhere;

/// A throttle of a token bucket.
pub(crate) type Bucket = ThrottleBuilder<TokenBucket, Stored<TokenBucket>>;

/// How a scene is played: who asks the throttle, and whether the first storage and the others are elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Way(&'static str, Door, [bool; 2]);

/// The caller of a throttle.
#[derive(Clone, Copy)]
enum Door {
    Tower,
    Hyper,
    /// The middleware, of several throttles of which it is the only one.
    Several,
    /// The service itself.
    Hit,
}

/// The ways for a throttle alone.
pub(crate) const ALONE: &[Way] = &[
    Way("tower, here", Door::Tower, [false; 2]),
    Way("tower, elsewhere", Door::Tower, [true; 2]),
    Way("hyper, here", Door::Hyper, [false; 2]),
    Way("hyper, elsewhere", Door::Hyper, [true; 2]),
    Way("hit, here", Door::Hit, [false; 2]),
    Way("hit, elsewhere", Door::Hit, [true; 2]),
    Way("as several, here", Door::Several, [false; 2]),
    Way("as several, elsewhere", Door::Several, [true; 2]),
];

/// The ways for several.
pub(crate) const SEVERAL: &[Way] = &[
    Way("all here", Door::Tower, [false, false]),
    Way("first here, others elsewhere", Door::Tower, [false, true]),
    Way("first elsewhere, others here", Door::Tower, [true, false]),
    Way("all elsewhere", Door::Tower, [true, true]),
    Way("hyper, all here", Door::Hyper, [false, false]),
];

/// Something to be played.
pub(crate) struct Scene {
    name: &'static str,
    play: Box<dyn Fn(Stage) -> BoxFuture<'static, ()>>,
}

pub(crate) fn scene<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    play: impl Fn(Stage) -> F + 'static,
) -> Scene {
    Scene { name, play: Box::new(move |stage| Box::pin(play(stage))) }
}

/// Plays scenes in these ways, and compares what is noted with goldens of this name.
pub(crate) fn play(name: &str, ways: &[Way], scenes: &[Scene]) {
    let notes: Vec<_> = ways.iter().map(|_| Notes::default()).collect();
    let (mut texts, mut calls) = (String::new(), String::new());
    for scene in scenes {
        let mut told = Vec::new();
        for (way, notes) in ways.iter().zip(&notes) {
            let (text, calls) = once(scene, *way, notes, true);
            // Nothing else changes where nobody listens.
            let unheard = once(scene, *way, &Notes::default(), false);
            let unheard = (unobserved(&unheard.0), unheard.1);
            assert_eq!(unheard, (unobserved(&text), calls.clone()), "{} {}", scene.name, way.0);
            told.push((way.0, (text, calls)));
        }
        let heading = format!("== {}\n", scene.name);
        texts += &heading;
        texts += &compared(&told.iter().map(|(way, told)| (*way, told.0.clone())).collect::<Vec<_>>());
        calls += &heading;
        calls += &compared(&told.iter().map(|(way, told)| (*way, told.1.clone())).collect::<Vec<_>>());
    }
    let metrics: Vec<_> = ways.iter().zip(&notes).map(|(way, notes)| (way.0, notes.counted())).collect();
    texts += "== counted\n";
    texts += &compared(&metrics);
    golden("tests/http/golden", name, &texts);
    golden("tests/http/golden", &format!("{name}-calls"), &calls);
}

/// Plays a scene in one way, and compares all that was counted with a golden of this name.
pub(crate) fn count(name: &str, way: Way, scene: &Scene) {
    let notes = Notes::default();
    once(scene, way, &notes, true);
    golden("tests/http/golden", name, &notes.metrics());
}

/// Plays a scene once, and takes what was noted.
fn once(scene: &Scene, way: Way, notes: &Notes, is_observed: bool) -> (String, String) {
    let (runtime, notes) = (Manual::new(), notes.clone());
    let stage =
        Stage { runtime: runtime.clone(), notes: notes.clone(), way, is_observed, made: Arc::default() };
    runtime.run((scene.play)(stage)).unwrap();
    notes.take()
}

/// Clones are the same stage.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) runtime: Manual,
    pub(crate) notes: Notes,
    way: Way,
    is_observed: bool,
    made: Arc<AtomicUsize>,
}

impl Stage {
    /// A throttle, which is observed if the stage is.
    pub(crate) fn throttle<S: Strategy>(&self, uid: &str, strategy: S) -> ThrottleBuilder<S, Stored<S>> {
        self.failing(uid, strategy, &[])
    }

    /// The same on a storage whose next calls go like this.
    pub(crate) fn failing<S: Strategy>(
        &self,
        uid: &str,
        strategy: S,
        courses: &[Course],
    ) -> ThrottleBuilder<S, Stored<S>> {
        let throttle = Throttle::builder(uid, strategy, self.storage(uid, courses));
        if self.is_observed { throttle.observe(self.notes.clone()) } else { throttle }
    }

    /// A storage whose next calls go like this.
    pub(crate) fn storage<S: Strategy>(&self, uid: &str, courses: &[Course]) -> Stored<S> {
        let store = Faulty::for_keys(64, &self.runtime);
        store.next(courses);
        let truth = store.store.clone();
        let others = self.made.fetch_add(1, Ordering::Relaxed).min(1);
        let through: Stored<S> =
            if self.way.2[others] { Arc::new(elsewhere(store)) } else { Arc::new(store) };
        self.notes.ledger(uid, through, truth)
    }

    /// The answers to these requests by a service behind a throttle.
    pub(crate) async fn ask<S: Strategy, M: AsyncStorage<S> + 'static>(
        &self,
        throttle: &Throttle<S, M>,
        asks: impl IntoIterator<Item = Ask>,
    ) {
        match self.way.1 {
            Door::Several => self.among(&ThrottleSet::new().and(throttle.clone()), asks).await,
            Door::Tower | Door::Hyper => self.among(throttle, asks).await,
            Door::Hit => {
                for ask in asks {
                    self.note(ask, |request| async move {
                        match throttle.hit(&request).await {
                            Err(rejection) => rejection.into_inner().map(|body| Full::from(body).boxed()),
                            Ok(pass) => {
                                let response = self.serve(request).await;
                                throttle.finish(pass, response).await.map(BodyExt::boxed)
                            }
                        }
                    })
                    .await;
                }
            }
        }
    }

    /// The same behind a gate of any kind.
    pub(crate) async fn among<G: Admission>(&self, gate: &G, asks: impl IntoIterator<Item = Ask>) {
        for ask in asks {
            let stage = self.clone();
            let inner = move |request| {
                let stage = stage.clone();
                async move { Ok::<_, Infallible>(stage.serve(request).await) }
            };
            let gate = gate.clone();
            let is_hyper = matches!(self.way.1, Door::Hyper);
            self.note(ask, |request| async move {
                let response = if is_hyper {
                    let service = Throttled::new(hyper::service::service_fn(inner), gate);
                    hyper::service::Service::call(&service, request).await
                } else {
                    ThrottleLayer::new(gate).layer(service_fn(inner)).call(request).await
                };
                response.unwrap().map(BodyExt::boxed)
            })
            .await;
        }
    }

    /// Sends a request, and notes all that comes of it.
    async fn note<B, F>(&self, ask: Ask, send: impl FnOnce(Request<String>) -> F)
    where
        F: Future<Output = Response<B>> + Send,
        B: Body<Data = Bytes, Error = Infallible> + Send + Unpin,
    {
        self.runtime.sleep(ask.after).await;
        let told = format!("> {}", ask.told());
        self.notes.line(&told);
        self.notes.call(&told);
        let began = self.runtime.now();
        let patience = ask.leaves.unwrap_or(Duration::from_secs(100_000));
        let answer = self.runtime.timeout(patience, send(ask.request())).await;
        let took = (self.runtime.now().as_micros() - began.as_micros()) / 1_000;
        let waited = if took > 0 { format!(" after {took} ms") } else { String::new() };
        match answer {
            Err(_) => self.notes.line(&format!("< gone{waited}")),
            Ok(response) => {
                let (head, body) = response.into_parts();
                self.notes.line(&format!("< {}{waited}", head.status.as_u16()));
                for (name, value) in &head.headers {
                    self.notes.line(&format!("  {name}: {}", String::from_utf8_lossy(value.as_bytes())));
                }
                if let Some(failure) = head.extensions.get::<BackendError>() {
                    self.notes.line(&format!("  with the failure: {failure}"));
                }
                if ask.gives_up {
                    drop(body);
                } else {
                    let body = body.collect().await.unwrap().to_bytes();
                    if body.len() > 20 && body.iter().all(|byte| *byte == b'x') {
                        self.notes.line(&format!("  | {} bytes", body.len()));
                    } else {
                        self.notes.line(&format!("  | {}", String::from_utf8_lossy(&body)));
                    }
                }
            }
        }
        // Whatever goes on by itself comes to its end.
        self.runtime.advance(Duration::ZERO);
        self.notes.left();
    }

    /// The service behind: it answers what the request asks for, and notes where the client stands.
    async fn serve(&self, request: Request<String>) -> Response<Full<Bytes>> {
        self.notes.line("  served");
        for standing in RateLimitStatus::all(request.extensions()) {
            let mut line =
                format!("  standing with {} from {}:", standing.throttle(), standing.origin().name());
            for (name, told) in standing.policies() {
                line += &format!(" {name} {};", ledger::decision(told));
            }
            match standing.stat().await {
                Ok(figures) => figures.iter().for_each(|(name, figure)| line += &format!(" {name}={figure}")),
                Err(failure) => line += &format!(" {failure}"),
            }
            self.notes.line(&line);
        }
        let (head, body) = request.into_parts();
        let mut response = Response::new(Full::from(body));
        for (name, value) in &head.headers {
            let text = value.to_str().unwrap_or_default();
            match name.as_str().strip_prefix("answer-") {
                None => {}
                Some("status") => *response.status_mut() = text.parse().unwrap(),
                Some("after") => self.runtime.sleep(Duration::from_millis(text.parse().unwrap())).await,
                Some(name) => {
                    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                    response.headers_mut().append(name, value.clone());
                }
            }
        }
        response
    }
}

/// A request to be sent, and what becomes of its answer.
#[derive(Clone)]
pub(crate) struct Ask {
    method: &'static str,
    path: &'static str,
    peer: u8,
    headers: Vec<(&'static str, &'static str)>,
    body: usize,
    scope: Option<&'static str>,
    after: Duration,
    gives_up: bool,
    leaves: Option<Duration>,
}

/// A request of this peer's, by GET and for the root.
pub(crate) const fn ask(peer: u8) -> Ask {
    Ask {
        method: "GET",
        path: "/",
        peer,
        headers: Vec::new(),
        body: 0,
        scope: None,
        after: Duration::ZERO,
        gives_up: false,
        leaves: None,
    }
}

/// This number of equal requests.
pub(crate) fn asks(number: usize) -> Vec<Ask> {
    vec![ask(1); number]
}

impl Ask {
    pub(crate) fn to(self, method: &'static str, path: &'static str) -> Self {
        Self { method, path, ..self }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With a body of so many bytes, which comes back.
    pub(crate) fn body(self, body: usize) -> Self {
        Self { body, ..self }
    }

    pub(crate) fn scope(self, scope: &'static str) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// Delays the request by this time after the one before.
    pub(crate) fn after(self, millis: u64) -> Self {
        Self { after: Duration::from_millis(millis), ..self }
    }

    /// The client does not read the body.
    pub(crate) fn gives_up(self) -> Self {
        Self { gives_up: true, ..self }
    }

    /// The client goes away after so long.
    pub(crate) fn leaves(self, millis: u64) -> Self {
        Self { leaves: Some(Duration::from_millis(millis)), ..self }
    }

    pub(crate) fn request(&self) -> Request<String> {
        let mut request = Request::new("x".repeat(self.body));
        *request.method_mut() = self.method.parse().unwrap();
        *request.uri_mut() = self.path.parse().unwrap();
        if self.peer > 0 {
            let address = ([192, 0, 2, self.peer], 1000).into();
            request.extensions_mut().insert(PeerAddress::new(address));
        }
        if let Some(scope) = self.scope {
            request.extensions_mut().insert(Scope::from(scope));
        }
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.headers_mut().append(*name, value);
        }
        request
    }

    fn told(&self) -> String {
        let mut told = format!("{} {} by {}", self.method, self.path, self.peer);
        self.headers.iter().for_each(|(name, value)| told += &format!(", {name}: {value}"));
        if self.body > 0 {
            told += &format!(", {} bytes", self.body);
        }
        if let Some(scope) = self.scope {
            told += &format!(", in {scope}");
        }
        if !self.after.is_zero() {
            told += &format!(", {} ms later", self.after.as_millis());
        }
        told
    }
}
