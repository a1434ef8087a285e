//! Storages on the redis crate's connections that the user made: a shared one, or a pool.

use std::fmt::Display;
use std::ops::DerefMut;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind as Kind, RedisError, Value};

use super::failure::not_sent;
use super::transport::{CallEnd, CommandSender, in_time};
use super::{RedisBuilder, RedisStorage};
use crate::util::race::{Either, race};

impl RedisStorage {
    /// Starts a builder on a connection of yours that all calls share (feature `tokio` or `smol`): a
    /// `ConnectionManager`, a `MultiplexedConnection`, a `ClusterConnection`, or any other that can be
    /// cloned.
    ///
    /// The weaker guarantees of [`commands`](Self::commands) apply here too, and these:
    ///
    /// * A lost `MultiplexedConnection` stays lost: all later calls fail. A `ConnectionManager` reconnects
    ///   after a call has failed, and sends nothing twice.
    /// * A `ClusterConnection` repeats a command when its connection breaks, so a hit may be charged twice.
    ///   With `ClusterClientBuilder::retries(0)` it repeats none, but calls then also fail after a slot has
    ///   moved. [`cluster`](Self::cluster) has neither problem.
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
        RedisBuilder::carried(Arc::new(SharedConnection(connection)))
    }

    /// Starts a builder on a pool of yours (feature `tokio` or `smol`), from a function that takes a
    /// connection out of it. Each command takes one connection, and returns it after the answer or the
    /// deadline. The connection is an object that the pool hands out, such as an `Object` of deadpool's or a
    /// `PooledConnection` of bb8's (`get_owned`), and dereferences to one of the redis crate's.
    ///
    /// The weaker guarantees of [`commands`](Self::commands) apply here too, with one exception. A call that
    /// got no connection certainly charged nothing, and fails with
    /// [`Unavailable`](traffik_core::ErrorKind::Unavailable).
    ///
    /// ```no_run
    /// use traffik::RedisStorage;
    /// use traffik::reexport::redis::Client;
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::open("redis://127.0.0.1")?;
    /// let storage = RedisStorage::pool(move || {
    ///     // With a pool of deadpool's: `let pool = pool.clone(); async move { pool.get().await }`.
    ///     let client = client.clone();
    ///     async move { client.get_multiplexed_async_connection().await.map(Box::new) }
    /// });
    /// let storage = storage.namespace("api").build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pool<C, E, F>(get: impl Fn() -> F + Send + Sync + 'static) -> RedisBuilder
    where
        C: DerefMut<Target: ConnectionLike + Send> + Send + 'static,
        E: Display + Send + 'static,
        F: Future<Output = Result<C, E>> + Send + 'static,
    {
        RedisBuilder::carried(Arc::new(PooledConnections(get)))
    }
}

/// A connection that all calls share.
struct SharedConnection<C>(C);

impl<C: ConnectionLike + Clone + Send + Sync> CommandSender for SharedConnection<C> {
    fn send<'a>(&'a self, command: &'a Cmd, end: CallEnd) -> BoxFuture<'a, Result<Value, RedisError>> {
        let mut connection = self.0.clone();
        Box::pin(async move { send_on(&mut connection, command, end).await })
    }
}

/// A function that returns a connection for each command.
struct PooledConnections<P>(P);

impl<P, F, C, E> CommandSender for PooledConnections<P>
where
    P: Fn() -> F + Send + Sync,
    F: Future<Output = Result<C, E>> + Send + 'static,
    C: DerefMut<Target: ConnectionLike + Send> + Send,
    E: Display + Send,
{
    fn send<'a>(&'a self, command: &'a Cmd, mut end: CallEnd) -> BoxFuture<'a, Result<Value, RedisError>> {
        let got = (self.0)();
        Box::pin(async move {
            match race(got, &mut end).await {
                Either::Left(Ok(mut connection)) => send_on(&mut *connection, command, end).await,
                Either::Left(Err(error)) => {
                    Err(not_sent(format!("the pool returned no connection: {error}")))
                }
                Either::Right(()) => Err(not_sent("the pool returned no connection in time".to_owned())),
            }
        })
    }
}

/// Sends a command on a connection. The command may have been sent, whatever error the connection reports.
async fn send_on(
    connection: &mut (impl ConnectionLike + ?Sized),
    command: &Cmd,
    end: CallEnd,
) -> Result<Value, RedisError> {
    in_time(connection.req_packed_command(command), end).await.map_err(|error| match error.kind() {
        Kind::Client | Kind::ClusterConnectionNotFound => (Kind::Io, "no answer", error.to_string()).into(),
        _ => error,
    })
}
