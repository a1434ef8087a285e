//! The identifier by a value in the request's extensions, such as a logged-in user.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use super::{Identify, Identity, RequestParts};

/// Identifies clients by a value in the request's extensions.
///
/// Choose it behind a layer that authenticates requests and inserts the user. Requests without the value
/// are [anonymous](super::Anonymous).
///
/// ```
/// use traffik::web::{FromExtension, Identify, Identity};
///
/// /// The user, inserted by the layer that authenticates requests.
/// #[derive(Clone)]
/// struct User(String);
///
/// let by_user = FromExtension::new(|user: &User| user.0.clone());
/// let mut request = http::Request::new(());
/// assert_eq!(by_user.identify((&request).into()), Identity::anonymous());
/// request.extensions_mut().insert(User("alice".to_owned()));
/// assert_ne!(by_user.identify((&request).into()), Identity::anonymous());
/// ```
pub struct FromExtension<T, F> {
    name: F,
    value: PhantomData<fn(&T)>,
}

impl<T, K: AsRef<[u8]>, F: Fn(&T) -> K> FromExtension<T, F> {
    /// Counts by the bytes that `name` returns for the value.
    #[must_use]
    pub const fn new(name: F) -> Self {
        Self { name, value: PhantomData }
    }
}

impl<T, K, F> Identify for FromExtension<T, F>
where
    T: Send + Sync + 'static,
    K: AsRef<[u8]>,
    F: Fn(&T) -> K + Send + Sync,
{
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        match request.extensions.get::<T>() {
            Some(value) => Identity::of(b'e', (self.name)(value).as_ref()),
            None => Identity::anonymous(),
        }
    }
}

impl<T, F> fmt::Debug for FromExtension<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FromExtension<{}>", type_name::<T>())
    }
}
