//! Storages on servers that they connect to by themselves, wherever these are.

use std::sync::Arc;

use futures_util::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError};

#[cfg(feature = "redis-tls")]
use super::net::Tls;
use super::net::{Place, ServerAddress, settled};
use super::servers::Access;
use super::{RedisBuilder, RedisStorage};

impl RedisStorage {
    /// A server by its address, such as `redis://user:password@host:6379/0`, or `rediss://` for TLS (feature
    /// `redis-tls`): with the roots that the operating system trusts unless [others](RedisBuilder::tls) are
    /// given, and ring's cryptography unless the program has installed other. As all constructors that
    /// connect by themselves, it needs the feature `tokio` or `smol`.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be read, and for `#insecure`, which has no certificate checked, unless the
    /// redis crate has TLS of its own to do that by.
    pub fn url(url: &str) -> Result<RedisBuilder, RedisError> {
        Ok(RedisBuilder::new(Access::Net(Place::Client(Box::new(Client::open(url.into_info()?)?)))))
    }

    /// A server by a client of yours (feature `tokio` or `smol`). Connections send without delay, whatever it
    /// says.
    ///
    /// A client that was made with certificates of its own connects by the redis crate. What is said of a
    /// [factory](Self::factory) then holds here too.
    pub fn client(client: Client) -> Result<RedisBuilder, RedisError> {
        let info = settled(client.get_connection_info().clone())?;
        Ok(RedisBuilder::new(Access::Net(Place::Client(Box::new(Client::open(info)?)))))
    }

    /// Connections that you make (feature `tokio` or `smol`), whenever one is needed. If that takes more than
    /// half a second the function is called once more, and the first connection to come is taken; all of them
    /// are given up when [connecting](RedisBuilder::connect_timeout) has taken too long.
    ///
    /// Of a connection that was made elsewhere it cannot be seen whether a command was sent: where one
    /// breaks, more calls than else are reported as [`Timeout`](traffik_core::ErrorKind::Timeout).
    pub fn factory<F>(connect: impl Fn() -> F + Send + Sync + 'static) -> RedisBuilder
    where
        F: Future<Output = Result<MultiplexedConnection, RedisError>> + Send + 'static,
    {
        RedisBuilder::new(Access::Net(Place::Factory(Arc::new(move || connect().boxed()))))
    }

    /// A cluster, found by some of its nodes (feature `tokio` or `smol`), which may change meanwhile. Those
    /// that are not named are connected to as the first one is, with its user and password and over TLS if it
    /// is.
    ///
    /// # Errors
    ///
    /// Fails if one of the addresses cannot be read. An empty list is refused by
    /// [`build`](RedisBuilder::build).
    pub fn cluster<T: ServerAddress>(nodes: impl IntoIterator<Item = T>) -> Result<RedisBuilder, RedisError> {
        let nodes = nodes.into_iter().map(ServerAddress::into_info);
        Ok(RedisBuilder::new(Access::Net(Place::Cluster(nodes.collect::<Result<_, RedisError>>()?))))
    }

    /// The master of a name that sentinels know (feature `tokio` or `smol`). `master` is how it is connected
    /// to, with its name in the place of a host: `redis://user:password@mymaster/0`, or `rediss://` for TLS.
    ///
    /// All sentinels are asked at once, and the first answer counts. They are asked again every 250 ms as
    /// long as there is a connection, so that a master that was demoted is left soon after its sentinels
    /// know: it takes writes for another ten seconds, and all of them are lost.
    ///
    /// **Bound.** Sentinels know of a planned failover up to a second after the new master began. What the
    /// former one admits until it is left, within two seconds, is admitted beyond the limit; so is what had
    /// not been replicated when a master went down. `min-replicas-to-write 1` on the servers narrows that
    /// down.
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
    /// Fails if one of the addresses cannot be read. An empty list, or a master without a name, is refused by
    /// [`build`](RedisBuilder::build).
    pub fn sentinel<T: ServerAddress>(
        sentinels: impl IntoIterator<Item = T>,
        master: impl ServerAddress,
    ) -> Result<RedisBuilder, RedisError> {
        let sentinels = sentinels.into_iter().map(|sentinel| Client::open(sentinel.into_info()?));
        let sentinels = sentinels.collect::<Result<_, RedisError>>()?;
        Ok(RedisBuilder::new(Access::Net(Place::Sentinels(sentinels, Box::new(master.into_info()?)))))
    }
}

#[cfg(feature = "redis-tls")]
impl RedisBuilder {
    /// Connects over TLS as rustls is set up here, to all servers whose address says TLS: with roots of an
    /// authority of your own, or a certificate of the client's. Defaults to the roots of the operating
    /// system.
    /// `traffik::reexport::rustls` is the version that it takes.
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
