//! A client under two limits that take turns, each chosen by the request.

use std::time::Duration;

use http::Request;
use traffik::storage::AsyncStorage;
use traffik::web::{PeerAddress, RequestParts, Throttle};
use traffik::{ManualClock, Rate, Strategy};

/// A request of the one client, under the quick limit or the slow one.
pub fn asking(slow: bool) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = if slow { "/slow" } else { "/quick" }.parse().unwrap();
    request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 1000).into()));
    request
}

/// A throttle of which requests choose one of two limits.
pub fn choosing<S, M>(uid: &str, slow: S, quick: S, storage: M) -> Throttle<S, M>
where
    S: Strategy,
    M: AsyncStorage<S> + 'static,
{
    let first = quick.clone();
    let choice = move |request: RequestParts<'_>| match request.uri.path() {
        "/slow" => slow.clone(),
        _ => quick.clone(),
    };
    Throttle::builder(uid, first, storage).strategy_by(choice).build().unwrap()
}

/// How many pass in a minute, of three slow requests and a quick one each second.
pub async fn in_a_minute<S, M>(throttle: &Throttle<S, M>, clock: &ManualClock) -> (u32, u32)
where
    S: Strategy,
    M: AsyncStorage<S> + 'static,
{
    let (mut slow, mut quick) = (0, 0);
    for _ in 0..60 {
        for _ in 0..3 {
            slow += u32::from(throttle.hit(&asking(true)).await.is_ok());
        }
        quick += u32::from(throttle.hit(&asking(false)).await.is_ok());
        clock.advance(Duration::from_secs(1));
    }
    (slow, quick)
}

/// Asserts of one strategy that 5 an hour pass beside 60 of 100 a second, and that 5 and 100 an hour share
/// what was used.
pub async fn holds<S, M>(name: &str, new: impl Fn(Rate) -> S, storage: M, clock: &ManualClock)
where
    S: Strategy,
    M: AsyncStorage<S> + Clone + 'static,
{
    let slow = new(Rate::per_hour(5));
    let far = choosing("far", slow.clone(), new(Rate::per_second(100)), storage.clone());
    assert_eq!(in_a_minute(&far, clock).await, (5, 60), "{name}");
    let near = choosing("near", slow, new(Rate::per_hour(100)), storage);
    for _ in 0..8 {
        assert!(near.hit(&asking(false)).await.is_ok(), "{name}");
    }
    assert!(near.hit(&asking(true)).await.is_err(), "{name}: 8 of 5 are used");
}
