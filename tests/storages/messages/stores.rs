//! Storages on Redis and Memcached whose settings are refused before anything is connected.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use traffik::runtime::Tokio;
use traffik::{MemcachedBuilder, MemcachedStorage, RedisBuilder, RedisStorage};

use super::{Messages, refused};

fn redis() -> RedisBuilder {
    RedisStorage::url("redis://127.0.0.1").unwrap()
}

/// A storage that sends its commands over a connection of the user's.
fn own() -> RedisBuilder {
    RedisStorage::commands(async |_| Ok(Value::Nil))
}

fn tls() -> ClientConfig {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

fn memcached() -> MemcachedBuilder<Tokio> {
    MemcachedStorage::servers(Tokio, ["127.0.0.1"])
}

fn servers<const N: usize>(addresses: [&str; N]) -> MemcachedBuilder<Tokio> {
    MemcachedStorage::servers(Tokio, addresses)
}

pub(super) fn provoke(messages: &mut Messages) {
    of_redis(messages);
    of_memcached(messages);
}

fn of_redis(messages: &mut Messages) {
    messages.section("Settings of a storage on Redis");
    let none: [&str; 0] = [];
    refused! { messages:
        redis().namespace("my app").build();
        redis().timeout(Duration::ZERO).build();
        redis().connect_timeout(Duration::ZERO).build();
        redis().timer(Tokio).build();
        RedisStorage::url("127.0.0.1:6379");
        RedisStorage::url("http://127.0.0.1");
        RedisStorage::url("redis://127.0.0.1/first");
        RedisStorage::url("rediss://127.0.0.1/#secure");
        RedisStorage::url("unix:///run/redis.sock").unwrap().tls(tls()).build();
        own().tls(tls()).build();
        RedisStorage::cluster(none).unwrap().build();
        RedisStorage::cluster(["unix:///run/redis.sock"]).unwrap().build();
        RedisStorage::sentinel(none, "redis://mymaster").unwrap().build();
        RedisStorage::sentinel(["redis://10.0.0.1:26379"], "unix:///run/redis.sock").unwrap().build();
    }
}

fn of_memcached(messages: &mut Messages) {
    messages.section("Settings of a storage on Memcached");
    refused! { messages:
        memcached().namespace("my app").build();
        memcached().timeout(Duration::ZERO).build();
        memcached().connect_timeout(Duration::ZERO).build();
        memcached().max_connections(0).build();
        memcached().max_connections(4).min_idle(5).build();
        servers([]).build();
        servers(["127.0.0.1:http"]).build();
        servers(["127.0.0.1:0"]).build();
        servers([":11211"]).build();
        servers(["my host"]).build();
        servers(["my name=127.0.0.1"]).build();
        servers(["localhost", "127.0.0.1:11211"]).build();
        servers(["one=127.0.0.1", "one=127.0.0.2"]).build();
        MemcachedStorage::url(Tokio, "127.0.0.1:11211");
        MemcachedStorage::url(Tokio, "memcached://user@127.0.0.1");
    }
}
