//! A worker without HTTP: three tasks call a function, at most ten times a second all together.

use std::sync::Arc;

use tokio::task::JoinSet;
use traffik::runtime::Tokio;
use traffik::{Gcra, Limiter, Memory, WaitError, rate};

/// Has three tasks call `job`, each of them so many times.
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
