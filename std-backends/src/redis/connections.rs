//! Storages on connections of the user's that the redis crate describes: one that is shared, or a pool.

use std::fmt::Display;
use std::ops::DerefMut;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind as Kind, RedisError, Value};

use super::failure::not_sent;
use super::transport::{Courier, End, in_time};
use super::{RedisBuilder, RedisStorage};
use crate::util::race::{Either, race};

impl RedisStorage {
    /// A connection of yours (feature `tokio` or `smol`), which all calls share: a `ConnectionManager`, a
    /// `MultiplexedConnection`, a `ClusterConnection`, or any other that can be cloned.
    ///
    /// The limits of [`commands`](Self::commands) hold here too, and besides:
    ///
    /// * A `MultiplexedConnection` that is lost stays lost: all calls fail from then on. A
    ///   `ConnectionManager` connects anew after a call has failed, and sends nothing twice.
    /// * A `ClusterConnection` sends a command again by itself when its connection broke, so a hit may be
    ///   charged twice then. `ClusterClientBuilder::retries(0)` has it fail instead, also where a slot has
    ///   moved; [`cluster`](Self::cluster) does neither.
    ///
    /// ```no_run
    /// use traffik::RedisStorage;
    /// use traffik::reexport::redis::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// // Or a manager: `Client::open(..)?.get_connection_manager().await?`.
    /// let connection = Client::open("redis://127.0.0.1")?.get_multiplexed_async_connection().await?;
    /// let storage = RedisStorage::connection(connection).namespace("api").build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connection(connection: impl ConnectionLike + Clone + Send + Sync + 'static) -> RedisBuilder {
        RedisBuilder::carried(Arc::new(Shared(connection)))
    }

    /// A pool of yours (feature `tokio` or `smol`), by a function that gets a connection of it: each command
    /// takes one, and gives it back when it is answered or given up. The connection is what the pool hands
    /// out, such as an `Object` of deadpool's or a `PooledConnection` of bb8's (`get_owned`), and leads to
    /// one of the redis crate's.
    ///
    /// The limits of [`commands`](Self::commands) hold here too, but that a call which got no connection
    /// is known not to have been charged: it fails with
    /// [`Unavailable`](traffik_core::ErrorKind::Unavailable).
    ///
    /// ```ignore
    /// let pool = deadpool_redis::Config::from_url("redis://127.0.0.1").create_pool(None)?;
    /// let storage = RedisStorage::pool(move || {
    ///     let pool = pool.clone();
    ///     async move { pool.get().await }
    /// });
    /// let storage = storage.namespace("api").build()?;
    /// ```
    pub fn pool<C, E, F>(get: impl Fn() -> F + Send + Sync + 'static) -> RedisBuilder
    where
        C: DerefMut<Target: ConnectionLike + Send> + Send + 'static,
        E: Display + Send + 'static,
        F: Future<Output = Result<C, E>> + Send + 'static,
    {
        RedisBuilder::carried(Arc::new(Pool(get)))
    }
}

/// A connection that all calls share.
struct Shared<C>(C);

impl<C: ConnectionLike + Clone + Send + Sync> Courier for Shared<C> {
    fn send<'a>(&'a self, command: &'a Cmd, end: End) -> BoxFuture<'a, Result<Value, RedisError>> {
        let mut connection = self.0.clone();
        Box::pin(async move { sent(&mut connection, command, end).await })
    }
}

/// A function that gets a connection for each command.
struct Pool<P>(P);

impl<P, F, C, E> Courier for Pool<P>
where
    P: Fn() -> F + Send + Sync,
    F: Future<Output = Result<C, E>> + Send + 'static,
    C: DerefMut<Target: ConnectionLike + Send> + Send,
    E: Display + Send,
{
    fn send<'a>(&'a self, command: &'a Cmd, mut end: End) -> BoxFuture<'a, Result<Value, RedisError>> {
        let got = (self.0)();
        Box::pin(async move {
            match race(got, &mut end).await {
                Either::Left(Ok(mut connection)) => sent(&mut *connection, command, end).await,
                Either::Left(Err(error)) => Err(not_sent(format!("the pool gave no connection: {error}"))),
                Either::Right(()) => Err(not_sent("the pool gave no connection in time".to_owned())),
            }
        })
    }
}

/// Sends a command. Whatever a connection says about what became of it, it may have been sent.
async fn sent(
    connection: &mut (impl ConnectionLike + ?Sized),
    command: &Cmd,
    end: End,
) -> Result<Value, RedisError> {
    in_time(connection.req_packed_command(command), end).await.map_err(|error| match error.kind() {
        Kind::Client | Kind::ClusterConnectionNotFound => (Kind::Io, "no answer", error.to_string()).into(),
        _ => error,
    })
}
