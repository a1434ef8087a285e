//! Storages that make their own connections.

use std::sync::Arc;

use futures_util::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError};

#[cfg(feature = "redis-tls")]
use super::net::Tls;
use super::net::{Place, ServerAddress, settled};
use super::servers::ServerAccess;
use super::{RedisBuilder, RedisStorage};

impl RedisStorage {
    /// Starts a builder from the address of a server, such as `redis://user:password@host:6379/0`, or
    /// `rediss://` for TLS (feature `redis-tls`).
    ///
    /// TLS trusts the roots of the operating system unless [others](RedisBuilder::tls) are given, and uses
    /// ring's cryptography unless the program has installed another provider. Like all constructors of
    /// storages that connect on their own, it needs the feature `tokio` or `smol`.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be read, or needs TLS without the feature. Fails for `#insecure`, which
    /// skips the check of certificates, unless the redis crate is built with its own TLS that can do so.
    pub fn url(url: &str) -> Result<RedisBuilder, RedisError> {
        Ok(RedisBuilder::new(ServerAccess::Net(Place::Client(Box::new(Client::open(url.into_info()?)?)))))
    }

    /// Starts a builder from a client of yours (feature `tokio` or `smol`). Its connections send without
    /// delay (`TCP_NODELAY`), whatever the client's settings say.
    ///
    /// A client that was made with its own certificates connects through the redis crate. The limits of a
    /// [factory](Self::factory) apply to it too.
    ///
    /// # Errors
    ///
    /// Fails if the client's address needs TLS or a kind of socket that this build or system does not
    /// support.
    pub fn client(client: Client) -> Result<RedisBuilder, RedisError> {
        let info = settled(client.get_connection_info().clone())?;
        Ok(RedisBuilder::new(ServerAccess::Net(Place::Client(Box::new(Client::open(info)?)))))
    }

    /// Starts a builder from a function that makes connections (feature `tokio` or `smol`). The storage calls
    /// it whenever it needs one. While a call has no result, the storage calls the function again every
    /// 500 ms, and the first call to end decides. All of them end at
    /// [`connect_timeout`](RedisBuilder::connect_timeout).
    ///
    /// The storage often cannot see whether a command was sent on a connection that the function made. So
    /// when one breaks, more calls fail with [`Timeout`](traffik_core::ErrorKind::Timeout). If the function
    /// fails, the calls that need the connection fail too, with its text. An error of the kind `Client` or
    /// `Io` makes them fail with [`Unavailable`](traffik_core::ErrorKind::Unavailable).
    ///
    /// A function can refuse a server that has just started, as below. If that server lost its data, the
    /// turns of a [`LeakyBucketQueue`](traffik_core::LeakyBucketQueue) that it gave before are over when it
    /// serves again. The program needs the features `redis` and `tokio` of traffik.
    ///
    /// ```no_run
    /// use traffik::RedisStorage;
    /// use traffik::reexport::redis::aio::MultiplexedConnection;
    /// use traffik::reexport::redis::{Client, ErrorKind, InfoDict, RedisError, cmd};
    ///
    /// /// A queue of 20 at 9/s lasts for 21 / 9 = 2.3 s, and Redis rounds its uptime by up to 1 s.
    /// const SETTLED: u64 = 4;
    ///
    /// async fn connect(client: Client) -> Result<MultiplexedConnection, RedisError> {
    ///     let mut connection = client.get_multiplexed_async_connection().await?;
    ///     let info: InfoDict = cmd("INFO").arg("server").query_async(&mut connection).await?;
    ///     match info.get::<u64>("uptime_in_seconds") {
    ///         Some(SETTLED..) => Ok(connection),
    ///         _ => Err((ErrorKind::Client, "Redis has just started").into()),
    ///     }
    /// }
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::open("redis://127.0.0.1")?;
    /// let storage = RedisStorage::factory(move || connect(client.clone())).namespace("calls").build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn factory<F>(connect: impl Fn() -> F + Send + Sync + 'static) -> RedisBuilder
    where
        F: Future<Output = Result<MultiplexedConnection, RedisError>> + Send + 'static,
    {
        RedisBuilder::new(ServerAccess::Net(Place::Factory(Arc::new(move || connect().boxed()))))
    }

    /// Starts a builder for a cluster, found through some of its nodes (feature `tokio` or `smol`). The nodes
    /// may change meanwhile. The storage connects to nodes that are not named as to the first one, with its
    /// user, its password and its TLS.
    ///
    /// # Errors
    ///
    /// Fails if one of the addresses cannot be read. [`build`](RedisBuilder::build) refuses an empty list.
    pub fn cluster<T: ServerAddress>(nodes: impl IntoIterator<Item = T>) -> Result<RedisBuilder, RedisError> {
        let nodes = nodes.into_iter().map(ServerAddress::into_info);
        Ok(RedisBuilder::new(ServerAccess::Net(Place::Cluster(nodes.collect::<Result<_, RedisError>>()?))))
    }

    /// Starts a builder for the master that sentinels know by a name (feature `tokio` or `smol`). `master` is
    /// the master's address with the name in place of the host: `redis://user:password@mymaster/0`, or
    /// `rediss://` for TLS.
    ///
    /// The storage asks all sentinels at once, and the first answer counts. While it is connected, it asks
    /// them again every 250 ms, so that it leaves a demoted master soon after the sentinels know. A demoted
    /// master accepts writes for another ten seconds, all of which are lost.
    ///
    /// **Bound.** Sentinels know of a planned failover up to a second after the promotion. The storage leaves
    /// the former master within two seconds of it. Hits that the former master admits meanwhile exceed the
    /// limit, as do those that were not replicated when a master failed. `min-replicas-to-write 1` on the
    /// servers reduces both.
    ///
    /// ```no_run
    /// use traffik::RedisStorage;
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let sentinels = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"];
    /// let storage = RedisStorage::sentinel(sentinels, "redis://mymaster")?.build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if one of the addresses cannot be read. [`build`](RedisBuilder::build) refuses an empty list,
    /// and a master without a name.
    pub fn sentinel<T: ServerAddress>(
        sentinels: impl IntoIterator<Item = T>,
        master: impl ServerAddress,
    ) -> Result<RedisBuilder, RedisError> {
        let sentinels = sentinels.into_iter().map(|sentinel| Client::open(sentinel.into_info()?));
        let sentinels = sentinels.collect::<Result<_, RedisError>>()?;
        Ok(RedisBuilder::new(ServerAccess::Net(Place::Sentinels(sentinels, Box::new(master.into_info()?)))))
    }
}

#[cfg(feature = "redis-tls")]
impl RedisBuilder {
    /// Sets the configuration of rustls for every server whose address says TLS: for roots of your own
    /// authority, or a client certificate. Defaults to the roots of the operating system. The type is that of
    /// `traffik::reexport::rustls`.
    ///
    /// [`build`](Self::build) fails if no address says TLS.
    ///
    /// ```no_run
    /// use traffik::RedisStorage;
    /// use traffik::reexport::rustls::pki_types::CertificateDer;
    /// use traffik::reexport::rustls::pki_types::pem::PemObject;
    /// use traffik::reexport::rustls::{ClientConfig, RootCertStore, crypto::ring};
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut roots = RootCertStore::empty();
    /// for root in CertificateDer::pem_file_iter("/etc/limits/ca.pem")? {
    ///     roots.add(root?)?;
    /// }
    /// let tls = ClientConfig::builder_with_provider(ring::default_provider().into());
    /// let tls = tls.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    /// let tls = tls.with_no_client_auth();
    /// let storage = RedisStorage::url("rediss://redis.internal")?.tls(tls).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = Some(Tls::with(config));
        self
    }
}
