//! The gRPC server of the rate limit service.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use futures_util::stream::unfold;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::gateway::Gateway;
use crate::observe::counters::{self, COUNTERS};
use crate::rls::decide::decide;

/// Longest time that a call may take. A shorter `grpc-timeout` of the caller goes before.
const DEADLINE: Duration = Duration::from_secs(10);

/// Most bytes of a call: a hundred descriptors of long values.
const LARGEST: usize = 256 * 1024;

/// Most bytes of the headers of a call.
const LARGEST_HEAD: u32 = 16 * 1024;

/// Most calls at once on a connection; Envoy sends all calls of a worker on one.
const STREAMS: u32 = 4_096;

/// Interval of pings on an idle connection, and the time to answer one.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

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
        let decided = decide(&pipeline, call.get_ref()).await;
        let count = match &decided {
            Ok(answer) if answer.overall_code() == Code::OverLimit => &COUNTERS.rls_denied,
            Ok(_) => &COUNTERS.rls_admitted,
            Err(_) => &COUNTERS.rls_failed,
        };
        counters::count(count);
        decided.map(Response::new)
    }
}

/// Serves until the gateway drains. Calls under way are answered then.
///
/// Waits for connections without a bound. A dropped future cuts off the connections.
pub(crate) async fn serve(listener: TcpListener, gateway: Arc<Gateway>) {
    // Held until the last connection has ended, since the gateway waits for that.
    let held = gateway.end.subscribe();
    let mut end = held.clone();
    let connections = unfold(listener, |listener| async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // An error means that the client is gone already; reading will fail then.
                    let _ = stream.set_nodelay(true);
                    return Some((Ok::<TcpStream, std::io::Error>(stream), listener));
                }
                // Most likely the process is out of file descriptors; connections that end free some.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RateLimitServiceServer<Limits>>().await;
    let service = RateLimitServiceServer::new(Limits(gateway)).max_decoding_message_size(LARGEST);
    let mut server = Server::builder()
        .timeout(DEADLINE)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(LARGEST_HEAD)
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1));
    let router = server.add_service(health_service).add_service(service);
    let drained = async move {
        let _ = end.wait_for(|ends| *ends).await;
        health.set_not_serving::<RateLimitServiceServer<Limits>>().await;
    };
    if let Err(error) = router.serve_with_incoming_shutdown(connections, drained).await {
        tracing::error!("the rate limit service has ended: {error}");
    }
    drop(held);
}
