//! Throttles asked within handlers of axum, and around its services, over real sockets.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tower::util::{BoxCloneService, BoxCloneSyncService};
use tower::{Service, ServiceBuilder, ServiceExt};
use traffik::storage::DynStorage;
use traffik::web::{
    DynThrottle, HeaderFormat, Identity, MemoryThrottle, Quota, RateLimitStatus, Rejection, Rule, Throttle,
    ThrottleLayer,
};
use traffik::{Outcome, TokenBucket, rate};

use crate::peers::ask;

/// The state of a server: its throttles have types that can be written.
#[derive(Clone)]
struct App {
    api: MemoryThrottle<TokenBucket>,
    layered: DynThrottle<TokenBucket>,
}

fn app(rate: traffik::Rate) -> App {
    let limit = TokenBucket::new(rate);
    let storage: DynStorage<TokenBucket> = std::sync::Arc::new(crate::memory(&crate::Clock::default()));
    App {
        api: Throttle::in_memory("api", limit).headers(HeaderFormat::Draft10).build().unwrap(),
        layered: Throttle::builder("layered", limit, storage).build().unwrap(),
    }
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

async fn told(response: http::Response<Incoming>) -> (u16, Vec<String>, String) {
    let names = ["content-type", "retry-after", "ratelimit-policy"];
    let header = |name: &str| response.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
    let (status, headers) = (response.status().as_u16(), names.into_iter().filter_map(header).collect());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, headers, String::from_utf8(body.into()).unwrap())
}

/// Compiles only if it is so.
fn is_send<T: Send>(it: T) -> T {
    it
}

/// A body that can be sent to another thread and not be shared with one, as axum's and hyper's.
type Unshared = http::Request<Cell<u8>>;

#[tokio::test]
async fn no_future_holds_the_body_of_a_request() {
    let App { api, layered } = app(rate!("100/h"));
    let mut request: Unshared = http::Request::new(Cell::new(1));
    request.extensions_mut().insert(traffik::web::PeerAddress::new(([192, 0, 2, 1], 1).into()));
    let asked = is_send(async move {
        let request = request;
        let client = api.client(&request).await.unwrap().unwrap();
        let client = is_send(client);
        assert!(client.check().await.unwrap().is_allowed());
        assert!(api.explain(&request).await.contains("192.0.2.1"));
        let quota = Quota::new();
        quota.charge(client);
        is_send(quota.apply()).await.unwrap();
        let pass = layered.hit_n(&request, 3).await.unwrap();
        let response = layered.finish(pass, http::Response::new(Cell::new(2))).await;
        assert_eq!(response.status(), 200);
        let (parts, _) = request.into_parts();
        assert!(layered.hit(&parts).await.is_ok());
        parts
    });
    let parts = tokio::spawn(asked).await.unwrap();
    assert!(RateLimitStatus::all(&parts.extensions).next().is_none());
}

/// The request has axum's body; a denial is what the layer would have answered, in each shape of an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_answers_a_denial_by_a_question_mark() {
    async fn by_client(State(app): State<App>, request: Request) -> Result<String, Rejection> {
        let client = app.layered.client(&request).await?;
        Ok(format!("{}", client.is_some()))
    }
    async fn by_hit(State(app): State<App>, request: Request) -> Result<impl IntoResponse, Rejection> {
        app.api.hit(&request).await?;
        Ok("itself")
    }
    async fn by_parts(State(app): State<App>, parts: Parts, body: String) -> Result<String, Rejection> {
        app.api.hit(&parts).await?;
        Ok(body)
    }

    /// An error of one's own.
    enum Own {
        Limited(Rejection),
    }
    impl From<Rejection> for Own {
        fn from(rejection: Rejection) -> Self {
            Self::Limited(rejection)
        }
    }
    impl IntoResponse for Own {
        fn into_response(self) -> Response {
            let Self::Limited(rejection) = self;
            rejection.into_response()
        }
    }
    async fn by_own(State(app): State<App>, request: Request) -> Result<&'static str, Own> {
        app.api.hit(&request).await?;
        Ok("own")
    }

    /// As `anyhow::Error` is made of it.
    struct Any(Box<dyn std::error::Error + Send + Sync>);
    impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Any {
        fn from(error: E) -> Self {
            Self(error.into())
        }
    }
    impl IntoResponse for Any {
        fn into_response(self) -> Response {
            let text = self.0.to_string();
            let rejection = self.0.downcast::<Rejection>().unwrap();
            assert!(
                matches!(rejection.outcome(), Some(Outcome::Deny { .. })) && rejection.failure().is_none()
            );
            assert_eq!(rejection.client().map(|it| Identity::Key(it.clone())), Some(peer()));
            assert_eq!(rejection.throttle(), "api");
            let mut response = (*rejection).into_response();
            response.headers_mut().insert("text", text.parse().unwrap());
            response
        }
    }
    async fn by_any(State(app): State<App>, request: Request) -> Result<&'static str, Any> {
        app.api.hit_n(&request, 1).await?;
        Ok("any")
    }

    let state = app(rate!("4/h"));
    let router = Router::new()
        .route("/client", get(by_client))
        .route("/itself", get(by_hit))
        .route("/parts", post(by_parts).get(by_parts))
        .route("/own", get(by_own))
        .route("/any", get(by_any))
        .route("/layer", get(async || "layer").layer(ThrottleLayer::new(state.api.clone())))
        .with_state(state.clone());
    let address = serve(router).await;
    assert_eq!(told(ask(1, false, address, "/client").await).await.2, "true");
    for path in ["/itself", "/parts", "/own", "/any"] {
        assert_eq!(ask(1, false, address, path).await.status(), 200, "{path}");
    }
    let layer = told(ask(1, false, address, "/layer").await).await;
    assert_eq!(layer.0, 429);
    assert_eq!(layer.1, ["application/problem+json", "900", "\"api\";q=4;w=3600"]);
    for path in ["/itself", "/parts", "/own", "/any"] {
        let response = ask(1, false, address, path).await;
        if path == "/any" {
            let text = response.headers()["text"].to_str().unwrap();
            assert_eq!(text, "127.0.0.1 is over the limit api; try again in 900 s");
        }
        let (status, headers, body) = told(response).await;
        assert_eq!((status, &headers), (429, &layer.1), "{path}");
        assert!(body.contains("over the limit api; try again in "), "{path}: {body}");
    }
}

fn peer() -> Identity {
    traffik::web::Peer::default().of([127, 0, 0, 1].into())
}

/// Ten of twelve, and then four: the second is denied, and charges nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_has_a_cost() {
    async fn export(State(app): State<App>, parts: Parts) -> Result<String, Rejection> {
        let rows = parts.uri.path().trim_start_matches("/export/").parse().unwrap_or(1);
        let pass = app.api.hit_n(&parts, rows).await?;
        Ok(pass.verdict().map_or(0, |decision| decision.remaining()).to_string())
    }
    let state = app(rate!("12/h"));
    let address = serve(Router::new().route("/export/{rows}", get(export)).with_state(state)).await;
    let ask = async |rows: u32| told(ask(1, false, address, &format!("/export/{rows}")).await).await;
    assert_eq!(ask(10).await.2, "2");
    let (status, headers, _) = ask(4).await;
    assert_eq!((status, headers.get(1).map(String::as_str)), (429, Some("600")));
    assert_eq!(ask(2).await.2, "0");
    let never = ask(13).await;
    assert!(never.0 == 429 && never.2.contains("never admits as much at once"), "{never:?}");
}

/// A request is refused, and nothing is known of its client: the cure stands in the error and in the answer.
#[tokio::test]
async fn a_rejection_names_its_cause() {
    let App { api, .. } = app(rate!("1/h"));
    let rejection = api.hit(&http::Request::new(())).await.unwrap_err();
    assert_eq!((rejection.status().as_u16(), rejection.client()), (500, None));
    assert!(rejection.to_string().contains("insert a PeerAddress into"), "{rejection}");
    let rejection = api.client(&http::Request::new(())).await.unwrap_err();
    assert_eq!((rejection.status().as_u16(), rejection.outcome()), (500, None));
    let broken = crate::Broken(traffik::ErrorKind::Unavailable);
    let broken = Throttle::builder("api", TokenBucket::new(rate!("1/h")), broken).build().unwrap();
    let rejection = broken.hit(&crate::request(1)).await.unwrap_err();
    assert_eq!(rejection.to_string(), "api cannot decide on 192.0.2.1: broken for a test");
    assert_eq!((rejection.status().as_u16(), rejection.outcome()), (503, None));
    assert_eq!(rejection.retry_after(), Some(std::time::Duration::from_secs(1)));
    assert_eq!(rejection.failure().unwrap().kind(), traffik::ErrorKind::Unavailable);
    assert_eq!(http::Response::from(rejection).status(), 503);
}

/// A router within a layer, each route within one of its own, and a handler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_are_limited_one_by_one() {
    let limited =
        |uid, rate| ThrottleLayer::new(Throttle::in_memory(uid, TokenBucket::new(rate)).build().unwrap());
    let router = Router::new()
        .route("/cheap", get(async || "cheap"))
        .route("/dear", get(async || "dear").layer(limited("dear", rate!("1/h"))))
        .route_layer(limited("routes", rate!("5/h")));
    let address = serve(router).await;
    let status = async |path| ask(1, false, address, path).await.status().as_u16();
    assert_eq!([status("/dear").await, status("/dear").await, status("/cheap").await], [200, 429, 200]);
    // A request without a route is answered 404 and not counted.
    assert_eq!([status("/none").await, status("/none").await], [404, 404]);
    assert_eq!([status("/cheap").await, status("/cheap").await, status("/cheap").await], [200, 200, 429]);
}

/// Under `ServiceBuilder`, behind the boxes of tower, and within a router, whose services never fail.
#[tokio::test]
async fn the_layer_fits_whatever_tower_and_axum_make_of_it() {
    let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("2/h")))
        .bypass(Rule::new().path("/health"))
        .build()
        .unwrap();
    let layer = ThrottleLayer::new(throttle);
    let inner = tower::service_fn(async |_: http::Request<Body>| {
        Ok::<_, Infallible>(http::Response::new(Full::new(bytes::Bytes::from("ok"))))
    });
    let service = ServiceBuilder::new().layer(layer.clone()).service(inner);
    let mut boxed: BoxCloneService<http::Request<Body>, http::Response<_>, Infallible> =
        BoxCloneService::new(service.clone());
    let mut shared: BoxCloneSyncService<http::Request<Body>, http::Response<_>, Infallible> =
        BoxCloneSyncService::new(service);
    let stack = ServiceBuilder::new().map_request(|request: http::Request<Body>| request).layer(layer);
    let mut router = Router::new().route("/", get(async || "ok")).layer(stack);
    let request = || crate::request(1).map(Body::from);
    assert_eq!(boxed.ready().await.unwrap().call(request()).await.unwrap().status(), 200);
    assert_eq!(shared.ready().await.unwrap().call(request()).await.unwrap().status(), 200);
    assert_eq!(boxed.clone().oneshot(request()).await.unwrap().status(), 429);
    let router: &mut Router = &mut router;
    assert_eq!(router.as_service().ready().await.unwrap().call(request()).await.unwrap().status(), 429);
}
