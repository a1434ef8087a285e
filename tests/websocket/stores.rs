//! Messages that real stores decide upon, for a user on several connections.

use std::time::Duration;

use tokio::join;
use traffik::runtime::Tokio;
use traffik::storage::AsyncStorage;
use traffik::web::{ClientKey, Throttle, WsAction, WsPolicy, WsThrottle};
use traffik::{FixedWindow, MemcachedStorage, RedisStorage, rate};

use super::wire::{echo, pair, receive_all, send};
use traffik_test_support::servers::{Memcached, Redis};

/// How long a store may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Two connections send four messages each, of which five pass in all.
async fn a_user_has_one_limit<M: AsyncStorage<FixedWindow> + 'static>(storage: M) {
    let throttle = Throttle::builder("messages", FixedWindow::new(rate!("5/w")), storage).build().unwrap();
    let ask = async || {
        let (server, mut socket) = pair(1 << 16).await;
        let policy = WsPolicy::new(Tokio).action(WsAction::Raise);
        tokio::spawn(echo(WsThrottle::new(server, throttle.client_for(ClientKey::of("ann")), policy)));
        send(&mut socket, ["a", "a", "a", "a"]).await;
        receive_all(&mut socket, 4).await
    };
    let (one, other) = join!(ask(), ask());
    let (passed, raised): (Vec<_>, Vec<_>) = one.into_iter().chain(other).partition(|answer| answer == "a");
    assert_eq!((passed.len(), raised.len()), (5, 3));
    let is_denial = |answer: &String| answer.starts_with("raised: the message is over the rate limit");
    assert!(raised.iter().all(is_denial), "{raised:?}");
}

#[tokio::test]
async fn on_redis() {
    let redis = Redis::start();
    a_user_has_one_limit(RedisStorage::url(&redis.url()).unwrap().timeout(PATIENCE).build().unwrap()).await;
}

#[tokio::test]
async fn on_memcached() {
    let memcached = Memcached::start();
    let storage = MemcachedStorage::servers(Tokio, [memcached.address().to_string()]);
    a_user_has_one_limit(storage.timeout(PATIENCE).build().unwrap()).await;
}
