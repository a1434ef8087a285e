//! Redis over TLS, on tokio and on smol: to servers whose certificate is trusted, and not to one whose is
//! not; with the promises that a connection keeps without TLS.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use redis::cluster::ClusterClientBuilder;
use redis::{Client, TlsCertificates};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use traffik::storage::ErrorKind;
use traffik::{Adaptive, AsyncLimiter, FixedWindow, Rate, RedisBuilder, RedisStorage};
use traffik_test_support::limited::{Count, DEADLINE, recovered, run};
use traffik_test_support::servers::{Cluster, Identity, Proxy, Redis};

/// Long enough for a busy machine.
const PATIENT: Duration = Duration::from_secs(10);

fn server(identity: &Identity) -> Redis {
    Redis::options().secured(identity).start()
}

/// Trusts this identity and no other.
fn trusted(identity: &Identity) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    tls.with_root_certificates(roots).with_no_client_auth()
}

/// The same for the redis crate.
fn by_redis(identity: &Identity) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: Some(identity.certificate.clone().into_bytes()) }
}

fn at(identity: &Identity, url: &str, timeout: Duration) -> RedisStorage {
    settled(RedisStorage::url(url).unwrap().tls(trusted(identity)), timeout)
}

fn settled(builder: RedisBuilder, timeout: Duration) -> RedisStorage {
    builder.namespace("f").timeout(timeout).on_warning(|_| {}).build().unwrap()
}

fn weekly(limit: u32) -> FixedWindow {
    FixedWindow::new(Rate::per_week(limit))
}

/// Runs on one thread, which does nothing else while the test talks to servers.
fn alone<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

async fn limits(storage: RedisStorage, key: &str) {
    storage.ready().await.unwrap();
    let limiter = AsyncLimiter::new(weekly(2), storage);
    for remaining in [1, 0] {
        assert_eq!(limiter.check(key).await.unwrap().remaining(), remaining);
    }
    assert!(!limiter.check(key).await.unwrap().is_allowed());
}

#[test]
fn a_server_whose_certificate_is_trusted_limits() {
    let identity = Identity::of(&["localhost"]);
    let server = server(&identity);
    let url = server.secured_url();
    alone(limits(at(&identity, &url, PATIENT), "tokio"));
    smol::block_on(limits(at(&identity, &url, PATIENT), "smol"));
    // By a client that was made with certificates, which the redis crate connects.
    let client = || {
        let client = Client::build_with_tls(url.as_str(), by_redis(&identity)).unwrap();
        settled(RedisStorage::client(client).unwrap(), PATIENT)
    };
    alone(limits(client(), "client on tokio"));
    smol::block_on(limits(client(), "client on smol"));
}

#[test]
fn a_server_whose_certificate_is_not_trusted_is_not_asked() {
    let (identity, other) = (Identity::of(&["localhost"]), Identity::of(&["localhost"]));
    let server = server(&identity);
    let by_number = format!("rediss://127.0.0.1:{}", server.secured_port());
    alone(async {
        for (storage, words) in [
            (settled(RedisStorage::url(&server.secured_url()).unwrap(), PATIENT), "UnknownIssuer"),
            (at(&other, &server.secured_url(), PATIENT), "BadSignature"),
            (at(&identity, &by_number, PATIENT), "not valid for name"),
        ] {
            let failure = storage.ready().await.unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Unavailable);
            assert!(failure.to_string().contains(words), "{words}: {failure}");
        }
    });
    let (evalsha, eval) = (server.info("cmdstat_evalsha"), server.info("cmdstat_eval"));
    assert_eq!((evalsha, eval), (None, None), "nothing was asked");
    // Not to check anything is what the redis crate alone can be told.
    let unchecked = RedisStorage::url(&format!("{}#insecure", server.secured_url())).unwrap();
    alone(async { assert!(settled(unchecked, PATIENT).ready().await.is_err()) });
}

/// Nothing was sent on a connection that was closed while it lay idle, so every hit counts, and once: what
/// the server says when it closes is read before anything is written.
#[test]
fn a_connection_that_was_closed_while_idle_costs_no_hit() {
    async fn checked(redis: &Redis, storage: RedisStorage, key: &str) {
        let (limiter, count) = (AsyncLimiter::new(weekly(30), storage.clone()), Count::default());
        let adaptive = AsyncLimiter::new(Adaptive::new(Rate::per_week(30)), storage);
        for turn in 0..20 {
            redis.disconnect();
            assert_eq!(count.check(&limiter, key).await, None, "turn {turn} of {key}");
            redis.disconnect();
            assert!(adaptive.check(&(key, 1u32)).await.unwrap().is_allowed(), "turn {turn} of {key}");
        }
        assert_eq!(limiter.peek(key, 0).await.unwrap().remaining(), 10);
        assert_eq!(adaptive.peek(&(key, 1u32), 0).await.unwrap().remaining(), 10);
    }
    let identity = Identity::of(&["localhost"]);
    let server = server(&identity);
    let storage = || at(&identity, &server.secured_url(), DEADLINE);
    alone(checked(&server, storage(), "one"));
    run(checked(&server, storage(), "several"));
    smol::block_on(checked(&server, storage(), "smol"));
}

/// Its answer is lost: the hit counts and is not sent again. A connection on which nothing is heard is left.
#[test]
fn a_call_in_flight_is_unknown_and_silence_is_noticed() {
    let identity = Identity::of(&["localhost"]);
    let server = server(&identity);
    let proxy = Proxy::to(([127, 0, 0, 1], server.secured_port()).into());
    let url = format!("rediss://localhost:{}", proxy.address().port());
    run(async {
        let (limiter, count) =
            (AsyncLimiter::new(weekly(1_000), at(&identity, &url, DEADLINE)), Count::default());
        recovered(&limiter, &count, "k").await;
        let left = limiter.peek("k", 0).await.unwrap().remaining();
        proxy.drop_replies(true);
        let (told, ()) = join(limiter.check("k"), async {
            while proxy.bytes().lost == 0 {
                tokio::task::yield_now().await;
            }
            proxy.cut();
            proxy.drop_replies(false);
        })
        .await;
        assert_eq!(told.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(limiter.peek("k", 0).await.unwrap().remaining(), left - 1);
        let before = proxy.connections();
        proxy.silence();
        assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Timeout));
        recovered(&limiter, &count, "k").await;
        assert_eq!(proxy.connections(), before + 1);
    });
}

#[test]
fn a_cluster_over_tls_counts_on_all_nodes() {
    let identity = Identity::of(&["localhost", "127.0.0.1"]);
    let cluster = Cluster::secured(&identity);
    let counts = async |storage: RedisStorage, name: &str| {
        storage.ready().await.unwrap();
        let limiter = AsyncLimiter::new(weekly(2), storage);
        for key in 0..30 {
            let key = format!("{name}{key}");
            assert_eq!(limiter.check(key.as_str()).await.unwrap().remaining(), 1);
        }
    };
    let own = || {
        // The other node is found by the one that is named.
        let one = cluster.secured_urls().into_iter().take(1);
        settled(RedisStorage::cluster(one).unwrap().tls(trusted(&identity)), PATIENT)
    };
    alone(async {
        counts(own(), "own").await;
        assert_eq!(own().nodes().len(), 0, "nobody was asked yet");
    });
    smol::block_on(counts(own(), "smol"));
    alone(async {
        let client = ClusterClientBuilder::new(cluster.secured_urls()).certs(by_redis(&identity));
        let connection = client.build().unwrap().get_async_connection().await.unwrap();
        counts(settled(RedisStorage::connection(connection), PATIENT), "handed in").await;
    });
    for node in &cluster.nodes {
        assert!(node.command(&["DBSIZE"]).integer() > 20);
        let plain = node.command(&["CLIENT", "LIST"]).text();
        assert_eq!(plain.lines().count(), 1, "but for this one, all clients came over TLS: {plain}");
    }
}
