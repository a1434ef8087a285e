use tokio::net::TcpListener;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn calls_and_pages_have_one_budget() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { super::serve(listener).await.unwrap() });

    let channel = Endpoint::new(url.clone()).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let mut call = async || match client.check(HealthCheckRequest::default()).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    };
    let page = async || reqwest::get(&url).await.unwrap().status();
    assert_eq!([call().await, call().await, call().await], [Code::Ok; 3]);
    assert_eq!([page().await, page().await, page().await], [200, 200, 429]);
    assert_eq!(call().await, Code::ResourceExhausted);
}
