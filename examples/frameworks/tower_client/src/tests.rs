use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use tokio::net::TcpListener;

#[tokio::test]
async fn two_calls_have_their_turn_and_two_fail() {
    let served = Arc::new(AtomicU32::new(0));
    let count = served.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/", get(async move || _ = count.fetch_add(1, Ordering::Relaxed)));
    tokio::spawn(axum::serve(listener, app).into_future());

    let began = Instant::now();
    let answers = super::calls(&url).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(990), "the second waits for a second");
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_ok());
    assert_eq!((made.len(), refused.len(), served.load(Ordering::Relaxed)), (2, 2, 2), "{answers:?}");
}
