//! The layer that puts a throttle in front of a service.

/// A layer that limits requests by a [`Throttle`](crate::Throttle) or a [`ThrottleSet`](crate::ThrottleSet).
/// Choose it for axum, tonic and anything else that takes a tower layer (feature `tower`). Choose it also as
/// the middleware of an app, a scope or a resource of actix-web 4 (feature `actix`).
///
/// All services that it makes share the throttle, so a limit holds across routes, connections and workers.
///
/// With axum or any tower service:
///
/// ```
/// # #[cfg(feature = "tower")] {
/// use tower::{ServiceBuilder, service_fn};
/// use traffik::web::{Throttle, ThrottleLayer};
/// use traffik::{TokenBucket, rate};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// let hello = service_fn(async |_: http::Request<String>| {
///     Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello")))
/// });
/// let service = ServiceBuilder::new().layer(ThrottleLayer::new(throttle)).service(hello);
/// # let _ = service;
/// # }
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
///
/// With actix-web, where each worker's app gets a clone of the throttle:
///
/// ```
/// # #[cfg(feature = "actix")] {
/// # mod traffik { pub use traffik::*; pub mod web { pub use traffik::web::*; } }
/// use actix_web::{App, web};
/// use traffik::web::{RateLimitStatus, Throttle, ThrottleLayer};
/// use traffik::{TokenBucket, rate};
///
/// async fn index(status: RateLimitStatus) -> String {
///     let left = status.policies().next().map(|(_, decision)| decision.remaining());
///     format!("{left:?} left\n")
/// }
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).expose().build()?;
/// let app = move || {
///     App::new().wrap(ThrottleLayer::new(throttle.clone())).route("/", web::get().to(index))
/// };
/// // HttpServer::new(app).bind("127.0.0.1:8080")?.run().await
/// # let _ = app();
/// # }
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
///
/// With actix-web:
///
/// * **Peer.** The throttle takes the peer's address from the connection. A Unix socket has none.
/// * **Extensions.** actix-web has its own type of extensions, and a throttle uses an `http::Extensions`
///   within them. An outer middleware passes values to the throttle by
///   `request.extensions_mut().get_or_insert_with(http::Extensions::new).insert(User(name))`.
///   `RateLimitStatus::of` reads from the same place, and the extractor above returns the status of the
///   innermost throttle. An [`OnError::Raise`](crate::OnError::Raise) puts its failure into an
///   `http::Extensions` of the response.
/// * **Errors.** If an inner middleware or handler fails, the throttle settles the request by the error's
///   status and a body of 0 bytes. The error passes on unchanged, without headers of the throttle.
/// * **Clients that go away.** A waiting request gives up its turn as soon as its client is gone if the
///   server is set to `h1_allow_half_closed(false)`. Otherwise actix-web serves clients that have closed
///   their side.
/// * **Handlers.** Limit a handler by a layer on its scope or resource, with
///   [`cost_by`](crate::ThrottleBuilder::cost_by) for its cost. [`hit`](crate::Throttle::hit) takes requests
///   of `http` 1, which handlers of actix-web do not have.
#[derive(Clone, Debug)]
pub struct ThrottleLayer<G> {
    pub(crate) admission: G,
}

impl<G> ThrottleLayer<G> {
    /// Returns a layer that limits requests by `admission`: a throttle or a set of throttles.
    #[must_use]
    pub const fn new(admission: G) -> Self {
        Self { admission }
    }
}
