//! The live page in a browser as wide as a phone: its numbers are right, and change without a reload.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};

use super::config::File;
use super::rls::Service;
use super::rls_messages::{Stub, descriptor};
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
    browser.until("document.querySelectorAll('#top tr').length", &json!(3));
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
    // The chart of the hour has a bar for each kind, and the latency a line.
    for kind in ["admitted", "denied", "mean"] {
        let drawn =
            format!("document.querySelector('[data-uid=gateway] svg path.{kind}')?.getBBox().height >= 0");
        assert_eq!(browser.ask(&drawn), true, "{kind}");
    }
    let words = browser.ask("document.querySelector('[data-uid=gateway] figcaption').textContent");
    assert!(words.as_str().unwrap().contains("s on average, 99 % at most "), "{words}");

    // A point has ten seconds, so the bars of requests that go on are soon several.
    let width = "document.querySelector('[data-uid=gateway] svg path.denied').getBBox().width";
    let began = Instant::now();
    while browser.ask(width).as_f64().unwrap() < 1.5 {
        assert!(began.elapsed() < Duration::from_secs(60), "the chart has one point");
        send("ann", 1).await;
    }

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
    browser.until("document.querySelectorAll('#nodes tbody tr').length", &json!(1));
    let node =
        browser.ask("[...document.querySelector('#nodes tbody tr').cells].map((it) => it.textContent)");
    assert_eq!(node[0], redis.url(), "{node}");
    assert!(node[2].as_str().unwrap().contains(&redis.address().to_string()), "{node}");
    assert_eq!(browser.ask("document.querySelectorAll('[data-uid=gateway] svg path.failed').length"), 1);
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
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"event: hour\ndata: {"), "{first:?}");
    gateway.signal("TERM");
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    assert_eq!(gateway.process.wait().unwrap().code(), Some(0));
}

/// A throttle whose clients are texts that they choose.
const BY_TEXT: &str = r#"
[[throttle]]
uid = "by-text"
rate = "2/w"
domain = "edge"
descriptors = [{ key = "who" }]
"#;

/// The counts of a client can be seen and reset in the page. With a token, the page asks for it, and keeps it
/// for its tab alone.
#[test]
fn a_client_is_looked_up_and_reset_in_the_page() {
    const TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
    const HOSTILE: &str = "<img src=x onerror=document.title=1>&amp;<b>";
    let (file, token) = (File::new("page", BY_TEXT), File::new("page-token", TOKEN));
    let options = ["--config", file.path(), "--admin-token-file", token.path(), "--log-level", "error"];
    let service = Service::start(&options);
    let gateway = &service.gateway;
    let mut stub = Stub::of(&service);
    let mut code = || stub.codes(&[descriptor(&[("who", HOSTILE)])]).0;
    assert_eq!([code(), code(), code()], ["OK", "OK", "OVER_LIMIT"]);

    let browser = Browser::start(390, 844);
    browser.open(&format!("{}/_traffik/", gateway.url));
    let text = |id: &str| format!("document.getElementById('{id}').textContent");
    let press = |id: &str| browser.ask(&format!("document.getElementById('{id}').click()"));
    let fill = |id: &str, value: &str| {
        browser.ask(&format!("document.getElementById('{id}').value = {}", json!(value)));
    };
    browser.until("document.querySelector('[data-uid=by-text] dd.denied')?.textContent", &json!("1"));
    // Without the token the page names no client.
    browser.until("document.getElementById('unlock').hidden", &json!(false));
    browser.until(&text("top"), &json!("give the token first"));
    fill("key", HOSTILE);
    press("look");
    browser.until(&text("said"), &json!("give the token first"));
    press("reset");
    browser.until(&text("said"), &json!("give the token first"));
    fill("token", "a-token-of-somebody-else");
    press("use");
    browser.until(&text("said"), &json!("the token is wrong"));
    press("reset");
    browser.until(&text("said"), &json!("give the token first"));
    assert_eq!(code(), "OVER_LIMIT", "nothing was reset");

    fill("token", TOKEN);
    press("use");
    let denied = "[...document.querySelectorAll('#top td')].map((it) => it.textContent)";
    browser.until(denied, &json!([format!("{HOSTILE} by-text"), "2"]));
    press("look");
    let used = "document.querySelector('[data-throttle=by-text] [data-figure=current_count]')?.textContent";
    browser.until(used, &json!("2"));
    assert_eq!(browser.ask(&text("said")), format!("the counts of {HOSTILE}"));
    press("reset");
    browser.until(&text("said"), &json!(format!("reset the counts of {HOSTILE}")));
    browser.until(used, &json!("0"));
    assert_eq!(code(), "OK");

    // What the client wrote is text alone.
    assert_eq!(browser.ask("[document.images.length, document.title]"), json!([0, "traffik"]));
    assert_eq!(browser.ask("document.querySelectorAll('script').length"), 1);
    // The token is in the storage of the tab, and nowhere else that stays.
    let kept =
        browser.ask("[Object.values(sessionStorage), localStorage.length, document.cookie, location.href]");
    assert_eq!(kept, json!([[TOKEN], 0, "", format!("{}/_traffik/", gateway.url)]));
    assert_eq!(browser.ask("document.getElementById('token').value"), "");
    // A script and a style that are no files of the page are refused.
    let injected = "(() => { const it = document.createElement('script'); \
                    try { it.textContent = 'document.title = 1'; } catch (error) { return error.name; } \
                    document.body.append(it); return document.title; })()";
    assert_eq!(browser.ask(injected), "TypeError");
    // Keys that no throttle has are answered by what would be right.
    fill("key", "");
    press("look");
    browser.until(&format!("{}.length > 0", text("said")), &json!(true));
}

/// With ten thousand throttles, the page has the hundred busiest, and a sample stays small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_has_the_busiest_of_ten_thousand_throttles() {
    let throttle = |number: usize| {
        format!(
            "[[throttle]]\nuid = \"t{number:05}\"\nrate = \"5/w\"\nstorage = \"memory:capacity=10\"\n\
                 rules = {{ path = \"/{number}\" }}\n"
        )
    };
    let file = File::new("page-many", &(0..10_000).map(throttle).collect::<String>());
    let gateway = Gateway::start(&["--config", file.path()]);
    let client = client(false);
    let request = Request::get(format!("{}/_traffik/events", gateway.url)).body(Empty::<bytes::Bytes>::new());
    let mut events = client.request(request.unwrap()).await.unwrap().into_body();
    let mut next = async || {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            let frame = events.frame().await.unwrap().unwrap().into_data().unwrap();
            text.push_str(str::from_utf8(&frame).unwrap());
            assert!(text.len() < 64 << 10, "{}", text.len());
        }
        serde_json::from_str::<Value>(text.trim().rsplit_once("data: ").unwrap().1).unwrap()
    };
    let first = next().await;
    assert_eq!((first["throttles"].as_array().unwrap().len(), &first["others"]), (100, &json!(9_900)));
    let began = Instant::now();
    loop {
        // The last ones are looked at a few seconds later than the first ones.
        for number in [9_999, 5_000] {
            get(&client, &format!("{}/{number}", gateway.url), &[]).await;
        }
        let sample = next().await;
        let throttles = sample["throttles"].as_array().unwrap();
        assert_eq!(throttles.len(), 100);
        let uids: Vec<_> = throttles.iter().map(|it| it["uid"].as_str().unwrap()).collect();
        assert!(uids.is_sorted(), "they do not jump about");
        if uids.ends_with(&["t05000", "t09999"]) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{uids:?}");
    }
}
