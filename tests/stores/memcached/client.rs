//! Why some commands are not asked by `memcache-async`, on real servers: what each of them does there.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use memcache_async::ascii::Protocol;
use traffik::runtime::{Connect, Tokio};
use traffik_test_support::servers::{Memcached, Proxy};

use super::run;

async fn client(address: impl ToString) -> Protocol<<Tokio as Connect>::Stream> {
    Protocol::new(Tokio.connect(&address.to_string()).await.unwrap())
}

/// Its answer is still on the way: the next caller takes it. So a connection is used again only when it is
/// known to be read to the end.
#[test]
fn a_get_after_one_that_was_given_up_returns_the_value_of_the_other() {
    run(async {
        let server = Memcached::start();
        server.set("a", b"of a");
        server.set("b", b"of b");
        let proxy = Proxy::to(server.address());
        let mut client = client(proxy.address()).await;
        assert_eq!(client.get("a").await.unwrap(), b"of a");
        proxy.delay(Duration::from_millis(200));
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(client.get("a")).poll(&mut context).is_pending());
        assert_eq!(client.get("b").await.unwrap(), b"of a");
    });
}

/// A count that begins would take three round trips by it, and one that ends between them has no end.
#[test]
fn decrement_makes_no_item_and_gives_none_an_end() {
    run(async {
        let server = Memcached::start();
        let mut client = client(server.address()).await;
        assert_eq!(client.decrement("count", 1).await.unwrap_err().kind(), ErrorKind::NotFound);
        client.add("count", b"9", 0).await.unwrap();
        assert_eq!(client.decrement("count", 1).await.unwrap(), 8);
        assert!(server.command("mg count t").starts_with("HD t-1"), "it is kept for ever");
    });
}

/// A state that somebody has charged meanwhile would be lost by it.
#[test]
fn delete_removes_what_has_been_changed() {
    run(async {
        let server = Memcached::start();
        server.set("state", b"old");
        let mut client = client(server.address()).await;
        let (_, mark) = client.gets_cas("state").await.unwrap();
        server.set("state", b"new");
        assert!(!client.cas("state", b"mine", mark, 60).await.unwrap());
        client.delete("state").await.unwrap();
        // Nothing says when that has been done, but an answer to something else on the same connection.
        client.version().await.unwrap();
        assert_eq!(server.get("state"), None);
    });
}

/// A probe of whether a server can write would learn nothing, and the next caller would have its failure.
#[test]
fn set_returns_before_the_server_refuses() {
    run(async {
        let server = Memcached::start();
        let mut client = client(server.address()).await;
        client.set("k".repeat(251), b"state", 60).await.unwrap();
        let next = client.get("other").await.unwrap_err();
        assert!(next.to_string().contains("ERROR"), "{next}");
    });
}

/// Items that may be gone are removed by a command that needs no room instead.
#[test]
fn a_cas_that_removes_needs_room() {
    run(async {
        let server = Memcached::options().arguments(&["-M", "-m", "2"]).start();
        let mut client = client(server.address()).await;
        client.add("state", b"of a key", 3_600).await.unwrap();
        let (_, mark) = client.gets_cas("state").await.unwrap();
        let full = async |client: &mut Protocol<_>| {
            for number in 0.. {
                if let Err(error) = client.add(format!("filler-{number}"), b"of a key", 3_600).await {
                    return error;
                }
            }
            unreachable!("a server of two megabytes is full at some time")
        };
        let full = full(&mut client).await;
        assert!(full.to_string().starts_with("SERVER_ERROR out of memory"), "{full}");
        // A time in 1970, so it is over.
        let refused = client.cas("state", b"", mark, 2_592_001).await.unwrap_err();
        assert!(refused.to_string().starts_with("SERVER_ERROR out of memory"), "{refused}");
        assert_eq!(server.command("md state"), "HD\r\n");
    });
}
