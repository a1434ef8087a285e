//! A worker without HTTP: three tasks call a function, together at most ten times a second.

use std::sync::Arc;

use tokio::task::JoinSet;
use traffik::runtime::Tokio;
use traffik::{Gcra, Limiter, Memory, WaitError, rate};

/// Runs three tasks that each call `job` this many times.
async fn work(
    times: u32,
    job: impl Fn(u32) + Clone + Send + 'static,
) -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Arc::new(Limiter::new(Gcra::new(rate!("10/s")), Memory::new(1)));
    let mut tasks = JoinSet::new();
    for task in 0..3 {
        let (limiter, job) = (limiter.clone(), job.clone());
        tasks.spawn(async move {
            for _ in 0..times {
                let _ = limiter.until_ready("job", &Tokio).await?;
                job(task);
            }
            Ok::<(), WaitError>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    work(10, |task| println!("task {task}")).await
}

#[cfg(test)]
mod tests;
