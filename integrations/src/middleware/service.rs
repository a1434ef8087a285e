//! A service behind a throttle: a service of tower, hyper or actix-web, like the one it wraps.

/// A service behind a [`Throttle`](crate::Throttle) or a [`ThrottleSet`](crate::ThrottleSet): it passes
/// admitted requests on and answers the others itself. Choose it for hyper, or to wrap a single tower
/// service; for a stack of tower layers there is [`ThrottleLayer`](crate::ThrottleLayer).
///
/// ```
/// # #[cfg(feature = "hyper")] {
/// use hyper::{Request, Response, body::Incoming, service::service_fn};
/// use traffik::web::{Throttle, Throttled};
/// use traffik::{TokenBucket, rate};
///
/// async fn hello(_: Request<Incoming>) -> Result<Response<String>, std::convert::Infallible> {
///     Ok(Response::new(String::from("hello")))
/// }
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// let service = Throttled::new(service_fn(hello), throttle);
/// // hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await
/// # let _ = service.inner();
/// # }
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Throttled<T, G> {
    pub(crate) inner: T,
    pub(crate) admission: G,
}

impl<T, G> Throttled<T, G> {
    /// Returns `inner` behind `admission`, a throttle or a set of throttles.
    pub const fn new(inner: T, admission: G) -> Self {
        Self { inner, admission }
    }

    /// Returns the service behind.
    pub const fn inner(&self) -> &T {
        &self.inner
    }
}
