//! The smallest program: a limit on how often each name is greeted, without a server.

use traffik::{Limiter, Memory, TokenBucket, rate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(TokenBucket::new(rate!("3/min")), Memory::new(10_000));
    for name in std::env::args().skip(1).chain(["world"; 5].map(str::to_owned)) {
        match limiter.check(&name)?.retry_after() {
            None => println!("hello, {name}"),
            Some(wait) => println!("{name} was greeted too often; try again in {wait:.1?}"),
        }
    }
    Ok(())
}
