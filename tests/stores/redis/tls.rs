//! Redis over TLS, on tokio and on smol: to a server whose certificate is trusted, and not to one whose is
//! not.

use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use redis::{Client, TlsCertificates};
use traffik::storage::ErrorKind;
use traffik::{AsyncLimiter, FixedWindow, Rate, RedisStorage};
use traffik_test_support::servers::Redis;

/// A server with a certificate of its own, and a client that trusts it.
struct Secured {
    _server: Redis,
    url: String,
    root: Vec<u8>,
}

impl Secured {
    fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let server = Redis::options().secured(&cert.pem(), &signing_key.serialize_pem()).start();
        let url = format!("rediss://localhost:{}", server.secured_port());
        Self { _server: server, url, root: cert.pem().into_bytes() }
    }

    fn storage(&self) -> RedisStorage {
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(self.root.clone()) };
        let client = Client::build_with_tls(self.url.as_str(), certificates).unwrap();
        RedisStorage::client(client).unwrap().timeout(Duration::from_secs(10)).build().unwrap()
    }
}

async fn limits(storage: RedisStorage, key: &str) {
    storage.ready().await.unwrap();
    let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_week(2)), storage);
    for remaining in [1, 0] {
        assert_eq!(limiter.check(key).await.unwrap().remaining(), remaining);
    }
    assert!(!limiter.check(key).await.unwrap().is_allowed());
}

#[test]
fn a_server_whose_certificate_is_trusted_limits() {
    let secured = Secured::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(limits(secured.storage(), "tokio"));
    smol::block_on(limits(secured.storage(), "smol"));
}

#[test]
fn a_server_whose_certificate_is_not_trusted_is_not_asked() {
    let secured = Secured::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let storage =
            RedisStorage::url(&secured.url).unwrap().timeout(Duration::from_secs(10)).build().unwrap();
        assert_eq!(storage.ready().await.unwrap_err().kind(), ErrorKind::Unavailable);
    });
}
