//! The gRPC service of the door.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tonic::codegen::Service;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use traffik::runtime::{Runtime, Tokio};
use traffik::web::ResponseBody;

use crate::gateway::Gateway;
use crate::observe::counters::{self, COUNTERS};
use crate::response::{Body, BodyError};
use crate::rls::decide::decide;

/// Longest time that a call may take. A shorter `grpc-timeout` of the caller goes before.
const DEADLINE: Duration = Duration::from_secs(10);

/// Most bytes of a call: a hundred descriptors of long values.
const LARGEST: usize = 256 * 1024;

/// The service, with the throttles of the gateway.
struct Limits(Arc<Gateway>);

#[tonic::async_trait]
impl RateLimitService for Limits {
    async fn should_rate_limit(
        &self,
        call: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        // A reload replaces the throttles while calls under way keep theirs.
        let pipeline = self.0.pipeline.load_full();
        let decided = Tokio.timeout(DEADLINE, decide(&pipeline, call.get_ref())).await;
        let decided = decided.unwrap_or_else(|_| Err(Status::deadline_exceeded("the stores took too long")));
        let count = match &decided {
            Ok(answer) if answer.overall_code() == Code::OverLimit => &COUNTERS.rls_denied,
            Ok(_) => &COUNTERS.rls_admitted,
            Err(_) => &COUNTERS.rls_failed,
        };
        counters::count(count);
        decided.map(Response::new)
    }
}

/// Returns the services of the door. Their health is NOT_SERVING once the gateway drains.
pub(crate) async fn routes(gateway: &Arc<Gateway>) -> Routes {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RateLimitServiceServer<Limits>>().await;
    let mut end = gateway.end.subscribe();
    let limits = Limits(Arc::clone(gateway));
    Tokio.spawn(async move {
        let _ = end.wait_for(|ends| *ends).await;
        health.set_not_serving::<RateLimitServiceServer<Limits>>().await;
    });
    let service = RateLimitServiceServer::new(limits).max_decoding_message_size(LARGEST);
    Routes::new(health_service).add_service(service).prepare()
}

/// Answers a call.
///
/// Waits for the store at most as long as its deadline. A dropped future may have charged the call.
pub(crate) async fn answer(
    routes: &Routes,
    call: http::Request<Incoming>,
) -> http::Response<ResponseBody<Body>> {
    let answered = routes.clone().call(call).await.unwrap_or_else(|never| match never {});
    answered.map(|body| ResponseBody::from(body.map_err(BodyError::from).boxed_unsync()))
}
