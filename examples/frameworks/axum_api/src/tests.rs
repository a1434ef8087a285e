use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn each_limit_admits_what_it_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = super::router().unwrap().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());

    let status = async |path: &str| reqwest::get(format!("http://{address}{path}")).await.unwrap().status();
    assert_eq!([status("/report").await, status("/report").await, status("/report").await], [200, 200, 429]);
    assert_eq!([status("/export/60").await, status("/export/60").await], [200, 429]);
    assert_eq!(status("/export/40").await, 200, "the denial charged nothing");

    // The handshake is the seventh request. Three messages come back; the fourth gets a notice instead.
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.unwrap();
    let mut answers = Vec::new();
    for text in ["one", "two", "three", "four"] {
        socket.send(Message::text(text)).await.unwrap();
        answers.push(socket.next().await.unwrap().unwrap().into_text().unwrap());
    }
    assert_eq!(answers[..3], ["one", "two", "three"]);
    assert!(answers[3].contains("rate_limit"), "{answers:?}");
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!("not closed") };
    assert_eq!(u16::from(close.code), 1008);

    assert_eq!([status("/").await, status("/").await, status("/").await], [200; 3]);
    assert_eq!([status("/").await, status("/report").await], [429, 429], "ten are used");
    let answer = reqwest::get(format!("http://{address}/")).await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
}
