//! Puts a throttle in front of any service.

/// A layer that limits requests by a gate, such as a [`Throttle`](crate::Throttle) or several
/// [`ThrottleSet`](crate::ThrottleSet). Choose it for axum, tonic and whatever else takes a tower layer (feature
/// `tower`), and as the middleware of an app, a scope or a resource of actix-web 4 (feature `actix`).
///
/// All services it makes share the gate, so a limit holds across routes, connections and workers.
///
/// With actix-web a clone goes into each worker's app:
///
/// ```
/// # #[cfg(feature = "actix")] {
/// # mod traffik { pub use traffik::*; pub mod web { pub use traffik::web::*; } }
/// use actix_web::{App, web};
/// use traffik::web::{RateLimitStatus, Throttle, ThrottleLayer};
/// use traffik::{TokenBucket, rate};
///
/// async fn index(standing: RateLimitStatus) -> String {
///     let left = standing.policies().next().map(|(_, decision)| decision.remaining());
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
/// * The peer is known to a throttle from the connection; on a Unix socket there is none.
/// * The extensions of actix-web are a type of its own. A throttle reads and writes an `http::Extensions`
///   within them: a middleware further out notes there what is for the throttle to see, by
///   `request.extensions_mut().get_or_insert_with(http::Extensions::new).insert(User(name))`, and
///   `RateLimitStatus::of` reads it. For the innermost throttle's there is the extractor above. The failure that
///   [`OnError::Raise`](crate::OnError::Raise) leaves in a response is in an `http::Extensions` of it, too.
/// * A middleware further in that fails with an error has its request settled by the error's status and a
///   body of 0 bytes; the error itself passes on as it is, without a header of the throttle.
/// * A client that goes away while its request waits gives its turn up at once if the server is set to
///   `h1_allow_half_closed(false)`; else actix-web serves a client that closed its side first.
/// * Handlers are limited by a layer of their own on a scope or a resource, with
///   [`cost_by`](crate::ThrottleBuilder::cost_by) for costs; [`hit`](crate::Throttle::hit) takes heads of
///   `http` 1, which handlers of actix-web do not have.
#[derive(Clone, Debug)]
pub struct ThrottleLayer<G> {
    pub(crate) gate: G,
}

impl<G> ThrottleLayer<G> {
    /// Limits by this gate.
    #[must_use]
    pub const fn new(gate: G) -> Self {
        Self { gate }
    }
}
