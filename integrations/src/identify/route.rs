//! The identifier by route. A path itself never identifies, since clients can choose any number of paths.

use std::fmt;

use matchit::Router;

use super::{Identify, Identity, RequestParts};
use crate::error::ThrottleError;
use crate::http::path;

/// Identifies requests by the template of the route that their path matches.
///
/// Choose it as a part of a [`CompositeKey`](super::CompositeKey), so that each route has its own limit for
/// each client. Paths that match no template share one limit.
///
/// ```
/// use traffik::web::{CompositeKey, Identify, Peer, Route};
///
/// let routes = Route::new(["/users/{id}", "/files/{*path}"])?;
/// let of = |path: &str| routes.identify((&http::Request::get(path).body(()).unwrap()).into());
/// assert_eq!(of("/users/1"), of("/users/2"));
/// assert_ne!(of("/users/1"), of("/files/a"));
///
/// let by_address_and_route = CompositeKey::new().and(Peer::default()).and(routes);
/// # let _ = by_address_and_route;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
pub struct Route {
    router: Router<String>,
}

impl Route {
    /// Compiles these templates, such as `/users/{id}`.
    ///
    /// # Errors
    ///
    /// Fails with [`ThrottleError::Route`] for a template that cannot be compiled, or that conflicts with
    /// another one.
    pub fn new<'a>(templates: impl IntoIterator<Item = &'a str>) -> Result<Self, ThrottleError> {
        let mut router = Router::new();
        for template in templates {
            let added = router.insert(&*path::fold(template).text, template.to_owned());
            added.map_err(|error| ThrottleError::template(template, &error))?;
        }
        Ok(Self { router })
    }

    /// Returns the value of a placeholder, in the normal form of paths; `None` if the path matches no
    /// template, or one without the placeholder.
    ///
    /// ```
    /// use traffik::web::Route;
    ///
    /// let routes = Route::new(["/users/{id}"])?;
    /// let request = http::Request::get("/users/%37/").body(()).unwrap();
    /// assert_eq!(routes.parameter((&request).into(), "id").as_deref(), Some("7"));
    /// # Ok::<(), traffik::web::ThrottleError>(())
    /// ```
    #[must_use]
    pub fn parameter(&self, request: RequestParts<'_>, name: &str) -> Option<String> {
        let path = path::fold(request.original_uri().path()).text;
        self.router.at(&path).ok()?.params.get(name).map(str::to_owned)
    }
}

impl Identify for Route {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        let path = path::fold(request.original_uri().path()).text;
        let template = self.router.at(&path).map_or("", |found| found.value.as_str());
        Identity::of(b'r', template.as_bytes())
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the path in the key, clients could evade the limit and create any number of keys.
    #[test]
    fn the_template_counts_and_not_the_path() {
        let route = Route::new(["/items/{id}", "/items/{id}/parts", "/files/{*path}"]).unwrap();
        let of = |path: &str| route.identify((&http::Request::get(path).body(()).unwrap()).into());
        assert_eq!(of("/items/1"), of("/items/2?query=3"));
        assert_eq!(of("/items/1"), of("//items/./%31"));
        assert_ne!(of("/items/1"), of("/items/1/parts"));
        assert_eq!(of("/files/a"), of("/files/b/c"));
        assert_eq!(of("/other/1"), of("/other/2"));
        assert_ne!(of("/other/1"), of("/items/1"));
        let (spelled, other) = (Route::new(["/caf%c3%a9/{id}"]).unwrap(), Route::new(["/b"]).unwrap());
        let of =
            |route: &Route, path: &str| route.identify((&http::Request::get(path).body(()).unwrap()).into());
        assert_ne!(of(&spelled, "/caf%C3%A9/1"), of(&other, "/none"));
    }

    #[test]
    fn a_template_that_cannot_be_is_refused() {
        let refused =
            |templates: &[&'static str]| Route::new(templates.iter().copied()).unwrap_err().to_string();
        assert!(refused(&["/a/{b"]).contains("\"/a/{b\" cannot be used"));
        assert!(refused(&["/a/{b}", "/a/{c}"]).contains("\"/a/{c}\" cannot be used"));
    }
}
