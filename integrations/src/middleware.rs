//! The middleware: checks each request with a throttle, then calls the service behind or answers itself.

pub(crate) mod admission;
pub(crate) mod background;
pub(crate) mod body;
#[cfg(any(feature = "hyper", feature = "tower"))]
mod future;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(any(feature = "actix", feature = "tower"))]
mod layer;
#[cfg(any(feature = "actix", feature = "hyper", feature = "tower"))]
mod service;
#[cfg(feature = "tower")]
mod tower;

pub use self::admission::{Action, Admission, Completion};
pub use self::body::ResponseBody;
#[cfg(any(feature = "hyper", feature = "tower"))]
pub use self::future::{Forward, ResponseFuture};
#[cfg(feature = "hyper")]
pub use self::hyper::SharedService;
#[cfg(any(feature = "actix", feature = "tower"))]
pub use self::layer::ThrottleLayer;
#[cfg(any(feature = "actix", feature = "hyper", feature = "tower"))]
pub use self::service::Throttled;
#[cfg(feature = "tower")]
pub use self::tower::Ready;
