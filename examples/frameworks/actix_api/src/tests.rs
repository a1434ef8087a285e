use std::net::TcpListener;

#[actix_web::test]
async fn a_search_costs_three_of_ten() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    actix_web::rt::spawn(super::server(listener).unwrap());

    let ask = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("/search").await, (200, "api: 7 left\n".to_owned()));
    assert_eq!(ask("/search").await, (200, "api: 4 left\n".to_owned()));
    assert_eq!([ask("/").await.0, ask("/").await.0], [200; 2]);
    assert_eq!(ask("/search").await.0, 429);
    assert_eq!([ask("/").await.0, ask("/").await.0, ask("/").await.0], [200, 200, 429]);
}
