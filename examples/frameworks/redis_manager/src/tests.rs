use std::io::Write;

use redis::Client;
use tokio::net::TcpListener;

#[tokio::test]
async fn two_instances_have_one_budget() {
    let Ok(server) = std::env::var("TRAFFIK_REDIS") else {
        // `eprintln!` would be captured by the test harness, so write to the stream itself.
        std::io::stderr().write_all(b"SKIPPED: set TRAFFIK_REDIS=redis://HOST:PORT\n").unwrap();
        return;
    };
    let mut instances = Vec::new();
    for _ in 0..2 {
        let redis = Client::open(server.as_str()).unwrap().get_connection_manager().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        instances.push(listener.local_addr().unwrap());
        tokio::spawn(async { super::serve(listener, redis).await.unwrap_or_else(|error| panic!("{error}")) });
    }
    let mut statuses = Vec::new();
    for address in instances.iter().cycle().take(8) {
        statuses.push(reqwest::get(format!("http://{address}/")).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
}
