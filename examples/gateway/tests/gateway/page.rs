//! The live page in a browser as wide as a phone: its numbers are right, and change without a reload.

use serde_json::json;

use super::{Gateway, client, get};
use traffik_test_support::browser::Browser;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_what_happens_as_it_happens() {
    let gateway = Gateway::start(&["--rate", "3/w", "--key", "header:x-user"]);
    let client = client(false);
    let send = async |user: &str, requests: usize| {
        for _ in 0..requests {
            get(&client, &gateway.url, &[("x-user", user)]).await;
        }
    };
    send("ann", 8).await;
    send("bob", 4).await;
    // The browser takes no text of a client for a part of the page.
    send("<img src=x onerror=alert(1)>", 4).await;

    let browser = Browser::start(390, 844);
    browser.open(&format!("{}/_traffik/", gateway.url));
    let figure = |what| format!("document.querySelector('[data-uid=gateway] dd.{what}')?.textContent");
    browser.until(&figure("admitted"), &json!("9"));
    assert_eq!(browser.ask(&figure("denied")), "7");
    let rows =
        "[...document.querySelectorAll('#top tr')].map((row) => [...row.cells].map((it) => it.textContent))";
    let top = browser.ask(rows);
    assert_eq!(top[0], json!(["key 49915e0d gateway", "5"]), "what a client wrote may be a secret: {top}");
    assert_eq!(top.as_array().unwrap().len(), 3, "{top}");
    assert_eq!(browser.ask("document.images.length"), 0);
    assert_eq!(browser.ask("document.getElementById('store').textContent"), "ready");
    assert_eq!(browser.ask("document.getElementById('link').textContent"), "live");

    send("ann", 2).await;
    send("cid", 1).await;
    browser.until(&figure("denied"), &json!("9"));
    browser.until(&figure("admitted"), &json!("10"));
    let drawn = "document.querySelectorAll('[data-uid=gateway] svg rect.denied').length > 0";
    assert_eq!(browser.ask(drawn), true);

    // It fits the width of a phone, and follows the reader's colour scheme.
    assert_eq!(
        browser.ask("[innerWidth, document.documentElement.scrollWidth <= innerWidth]"),
        json!([390, true])
    );
    let back = "getComputedStyle(document.body).backgroundColor";
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        backs.push(browser.ask(back));
        let picture = std::fs::read(browser.picture(&format!("page-{scheme}.png"))).unwrap();
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n") && picture.len() > 5_000, "{}", picture.len());
    }
    assert_eq!(backs, ["rgb(246, 247, 249)", "rgb(20, 23, 28)"]);
}

/// The page shows a failing store as soon as a request fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_tells_when_the_store_fails() {
    let mut redis = traffik_test_support::servers::Redis::start();
    let gateway = Gateway::start(&["--storage", &redis.url(), "--timeout", "200ms"]);
    let client = client(false);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    let browser = Browser::start(390, 844);
    browser.open(&format!("{}/_traffik/", gateway.url));
    let store = "document.getElementById('store').dataset.state";
    browser.until("document.getElementById('link').textContent", &json!("live"));
    browser.until(store, &json!("ready"));
    redis.stop();
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 503);
    browser.until(store, &json!("failing"));
    let failures = "document.querySelector('[data-uid=gateway] p')?.textContent";
    assert_eq!(browser.ask(failures), "1 failed because of the store");
}

/// A page that is open does not keep the gateway from ending.
#[tokio::test]
async fn an_open_page_does_not_hold_the_gateway_up() {
    let mut gateway = Gateway::start(&[]);
    let open = get(&client(false), &format!("{}/_traffik/events", gateway.url), &[]).await;
    assert_eq!(open.headers()["content-type"], "text/event-stream");
    let mut body = open.into_body();
    let first = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"data: {"), "{first:?}");
    gateway.signal("TERM");
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        frame.unwrap();
    }
    assert_eq!(gateway.process.wait().unwrap().code(), Some(0));
}
