use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use tokio::net::TcpListener;

#[tokio::test]
async fn each_host_is_called_twice() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().route("/", get(async move || _ = count.fetch_add(1, Ordering::Relaxed)));
    tokio::spawn(axum::serve(listener, app).into_future());

    let began = Instant::now();
    let hosts = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}/"));
    assert_eq!(super::calls(&[&hosts[0], &hosts[1]]).await, 4);
    assert_eq!(served.load(Ordering::Relaxed), 4);
    assert!(began.elapsed() >= Duration::from_millis(990), "the second of each waits for a second");
}
