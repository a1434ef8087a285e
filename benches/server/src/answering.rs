//! The counterparts: servers that answer every request alike.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

/// Serves `http` or `grpc` on a port, for ever.
pub(crate) fn serve(kind: &str, port: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = format!("127.0.0.1:{port}");
    runtime.block_on(async {
        if kind == "grpc" {
            let address = address.parse().map_err(io::Error::other)?;
            let server = tonic::transport::Server::builder().add_service(RateLimitServiceServer::new(Okay));
            return server.serve(address).await.map_err(io::Error::other);
        }
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let _ = stream.set_nodelay(true);
            let service = service_fn(|_| async {
                Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"ok\n"))))
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    })
}

/// A rate limit service that says OK.
struct Okay;

#[tonic::async_trait]
impl RateLimitService for Okay {
    async fn should_rate_limit(
        &self,
        _: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let overall_code = Code::Ok.into();
        Ok(Response::new(RateLimitResponse { overall_code, ..RateLimitResponse::default() }))
    }
}

/// Returns a call with one descriptor, as gRPC frames it.
pub(crate) fn call() -> Vec<u8> {
    let entry = Entry { key: "user".to_owned(), value: "ann".to_owned() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request = RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors: vec![descriptor],
        ..RateLimitRequest::default()
    };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], &message].concat()
}
