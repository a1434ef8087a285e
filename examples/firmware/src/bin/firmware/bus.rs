//! A fair share among tasks: a bus carries so many transfers, and no task can crowd out another.

use core::sync::atomic::AtomicU32;

use traffik::{Class, EmbassyClock, FairShare, Hit, Limiter, OneKey, Shared, rate};

use crate::count;

/// Ten transfers a second, among up to two tasks that want them.
const LIMIT: FairShare<2> = FairShare::new(rate!("10/s"));

/// There is one bus, so one key, and two tasks that wait for it.
pub type Storage = OneKey<FairShare<2>, EmbassyClock, Shared<2>>;
pub static LIMITER: Limiter<FairShare<2>, Storage> = Limiter::new(LIMIT, OneKey::shared(EmbassyClock::new()));

pub static DOWNLOADED: AtomicU32 = AtomicU32::new(0);
pub static LOGGED: AtomicU32 = AtomicU32::new(0);

/// Transfers for one of the tasks, which always wants one more.
#[embassy_executor::task(pool_size = 2)]
pub async fn transfer(task: &'static str, transferred: &'static AtomicU32) {
    // The class says who asks; of a fair share that is an instance.
    let hit = Hit::new(1).with_class(Class::new().with_instance(task));
    loop {
        match LIMITER.until_ready_n(&(), hit, &EmbassyClock::new()).await {
            Ok(_) => count(transferred),
            Err(error) => return defmt::error!("{}: {}", task, error),
        }
    }
}
