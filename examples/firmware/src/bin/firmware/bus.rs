//! A fair share among tasks: the bus carries a limited number of transfers, and no task can crowd out
//! another.

use core::sync::atomic::AtomicU32;

use traffik::{Class, EmbassyClock, FairShare, Hit, Limiter, OneKey, Shared, rate};

use crate::count;

/// The limit: ten transfers a second, shared by up to two active tasks.
const LIMIT: FairShare<2> = FairShare::new(rate!("10/s"));

/// The limiter of one key, for the one bus, with room for two waiting tasks.
pub type Storage = OneKey<FairShare<2>, EmbassyClock, Shared<2>>;
pub static LIMITER: Limiter<FairShare<2>, Storage> = Limiter::new(LIMIT, OneKey::shared(EmbassyClock::new()));

pub static DOWNLOADED: AtomicU32 = AtomicU32::new(0);
pub static LOGGED: AtomicU32 = AtomicU32::new(0);

/// Transfers for one of the tasks, which always has another transfer to do.
#[embassy_executor::task(pool_size = 2)]
pub async fn transfer(task: &'static str, transferred: &'static AtomicU32) {
    // The class names the caller: for a fair share, its instance.
    let hit = Hit::new(1).with_class(Class::new().with_instance(task));
    loop {
        match LIMITER.until_ready_n(&(), hit, &EmbassyClock::new()).await {
            Ok(_) => count(transferred),
            Err(error) => return defmt::error!("{}: {}", task, error),
        }
    }
}
