//! The middleware for reqwest's clients.

use http::{Extensions, Uri};
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};
use traffik_core::Strategy;
use traffik_core::storage::AsyncStorage;

use super::Outgoing;
use crate::RequestParts;

/// The middleware waits for the turn of a call, then makes it. A redirect that the client follows waits for
/// no turn. Add this after a middleware that retries, so that each attempt waits for a turn.
#[async_trait::async_trait]
impl<S: Strategy, M: AsyncStorage<S> + 'static> Middleware for Outgoing<S, M> {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let turn = {
            let uri: Uri = request.url().as_str().parse().map_err(Error::middleware)?;
            let (method, headers) = (request.method(), request.headers());
            self.until_ready(RequestParts { method, uri: &uri, headers, extensions })
        };
        turn.await.map_err(Error::middleware)?;
        next.run(request, extensions).await
    }
}
