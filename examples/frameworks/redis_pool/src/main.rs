//! A limit on jobs through a pool of Redis connections: five an hour for each customer, on all machines
//! together.

use deadpool_redis::{Config, Pool, Runtime};
use traffik::{AsyncLimiter, RedisStorage, TokenBucket, rate};

type BoxError = Box<dyn std::error::Error>;

struct Jobs {
    limiter: AsyncLimiter<TokenBucket, RedisStorage>,
}

impl Jobs {
    fn new(pool: Pool) -> Result<Self, BoxError> {
        let storage = RedisStorage::pool(move || {
            let pool = pool.clone();
            async move { pool.get().await }
        });
        let storage = storage.namespace("jobs").build()?;
        Ok(Self { limiter: AsyncLimiter::new(TokenBucket::new(rate!("5/h")), storage) })
    }

    /// Runs a job unless the customer has used up the limit. Returns whether it ran.
    async fn run(&self, customer: &str, job: impl FnOnce()) -> Result<bool, BoxError> {
        let allowed = self.limiter.check(customer).await?.is_allowed();
        if allowed {
            job();
        }
        Ok(allowed)
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let pool = Config::from_url("redis://127.0.0.1").create_pool(Some(Runtime::Tokio1))?;
    let jobs = Jobs::new(pool)?;
    for number in 0..7 {
        let ran = jobs.run("ann", || println!("job {number}")).await?;
        println!("{}", if ran { "done" } else { "not now" });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
