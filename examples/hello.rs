//! Ten lines: limit how often a name may be greeted, without a server.

use traffik::{Limiter, Memory, TokenBucket, rate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(TokenBucket::new(rate!("3/min")), Memory::new(10_000));
    for name in std::env::args().skip(1).chain(["world"; 5].map(str::to_owned)) {
        match limiter.check(&name)?.retry_after() {
            None => println!("hello, {name}"),
            Some(wait) => println!("{name} has been greeted enough; again in {wait:.1?}"),
        }
    }
    Ok(())
}
