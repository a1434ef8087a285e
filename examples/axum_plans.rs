//! An API behind nginx. The plan of an API key is in a database; requests without a key count by the client's
//! address, as nginx reports it. Run it with
//! `cargo run -p traffik-examples --features axum,sqlite --bin axum_plans`, and ask it by
//! `curl -i -H 'x-api-key: pro-1' 127.0.0.1:3000`. Arguments: the address, a database file, and the seconds
//! after which a plan is looked up anew.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use http::{HeaderName, StatusCode};
use rusqlite::{Connection, OptionalExtension};
use traffik::web::{ApiKey, ClientAddress, ForwardedHeader, HeaderFormat, Identify, Networks, Refusal};
use traffik::web::{RequestError, Throttle, ThrottleLayer};
use traffik::{Rate, TokenBucket, rate};

const KEY: HeaderName = HeaderName::from_static("x-api-key");
const WITHOUT_KEY: TokenBucket = TokenBucket::new(rate!("5/min"));
/// The limit of an address on requests with unknown keys, so that nobody finds a key by trying.
const GUESSES: TokenBucket = TokenBucket::new(rate!("30/min"));
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(500);

/// A customer can have a rate of its own. Without a burst, a plan has its whole rate at once.
const DEMO: &str = "
    CREATE TABLE IF NOT EXISTS plans (name TEXT PRIMARY KEY, rate TEXT NOT NULL, burst INTEGER);
    CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, plan TEXT NOT NULL, rate TEXT);
    INSERT OR IGNORE INTO plans VALUES ('free', '10/min', NULL), ('pro', '100/min', 20), ('own', '1/h', NULL);
    INSERT OR IGNORE INTO keys VALUES ('free-1', 'free', NULL), ('pro-1', 'pro', NULL);
    INSERT OR IGNORE INTO keys VALUES ('big-1', 'own', '40/s')";
const LOOK_UP: &str = "SELECT coalesce(keys.rate, plans.rate), plans.burst
    FROM keys JOIN plans ON plans.name = keys.plan WHERE keys.key = ?1";

/// The limits of all keys: a database, and the limits that were found there lately.
#[derive(Clone)]
struct Plans {
    database: Arc<tokio::sync::Mutex<Connection>>,
    known: Arc<Mutex<HashMap<String, (Instant, TokenBucket)>>>,
    max_age: Duration,
}

impl Plans {
    /// Returns the limit of a key, or a refusal if nobody has that key.
    async fn limit_of(&self, key: &str) -> Result<TokenBucket, RequestError> {
        let known = self.known().get(key).copied();
        match known {
            Some((found_at, limit)) if found_at.elapsed() < self.max_age => return Ok(limit),
            _ => {}
        }
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, self.look_up(key.to_owned())).await;
        let found = found.map_err(RequestError::from).and_then(|found| found);
        match (found, known) {
            (Ok(Some(limit)), _) => {
                self.known().insert(key.to_owned(), (Instant::now(), limit));
                Ok(limit)
            }
            (Ok(None), _) => {
                self.known().remove(key);
                Err(Refusal::new(StatusCode::UNAUTHORIZED, "this API key is unknown").into())
            }
            // While the database is down, customers keep the limit that they had.
            (Err(_), Some((_, limit))) => Ok(limit),
            (Err(error), None) => Err(error),
        }
    }

    /// Asks the database. SQLite blocks, so it runs on a thread for that; another database is asked directly.
    async fn look_up(&self, key: String) -> Result<Option<TokenBucket>, RequestError> {
        let database = Arc::clone(&self.database).lock_owned().await;
        let look_up = move || {
            let columns =
                |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<u32>>(1)?));
            database.prepare_cached(LOOK_UP)?.query_row([key], columns).optional()
        };
        let Some((rate, burst)) = tokio::task::spawn_blocking(look_up).await?? else { return Ok(None) };
        let rate: Rate = rate.parse()?;
        // `0/0` is no limit, and hardly meant.
        if rate.is_unlimited() {
            return Err(std::io::Error::other("a plan without a limit").into());
        }
        let limit = TokenBucket::new(rate);
        Ok(Some(burst.map_or(Ok(limit), |burst| limit.burst(burst))?))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, TokenBucket)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let database = Connection::open(arguments.next().unwrap_or_else(|| ":memory:".to_owned()))?;
    database.execute_batch(DEMO)?;
    let max_age = Duration::from_secs(arguments.next().map_or(Ok(30), |seconds| seconds.parse())?);
    let plans = Plans { database: Arc::new(database.into()), known: Arc::default(), max_age };

    // nginx runs on this host, and is the only one whose word on an address counts.
    let by_address = ClientAddress::new(Networks::parse(["127.0.0.1"])?, ForwardedHeader::XRealIp);
    let by_key = ApiKey::new(KEY);
    let guesses = Throttle::in_memory("guesses", GUESSES)
        .identifier(by_address.clone())
        .charge_if(|response| response.status == StatusCode::UNAUTHORIZED)
        .build()?;
    let api = Throttle::in_memory("api", WITHOUT_KEY)
        .identifier_by(move |request| match request.headers.contains_key(KEY) {
            true => by_key.identify(request),
            false => by_address.identify(request),
        })
        // A failure is answered 503, as `on_error` would have it, and the client is not admitted.
        .strategy_by_async(move |request| {
            let (key, plans) = (request.headers.get(KEY).cloned(), plans.clone());
            async move {
                let Some(key) = key else { return Ok(WITHOUT_KEY) };
                plans.limit_of(&String::from_utf8_lossy(key.as_bytes())).await
            }
        })
        .headers(HeaderFormat::Draft10)
        .build()?;
    // The last layer is asked first.
    let app = Router::new().route("/", get(async || "hello\n")).layer(ThrottleLayer::new(api));
    let app = app.layer(ThrottleLayer::new(guesses));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
