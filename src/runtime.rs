//! The async runtimes: sleeping, spawning and connecting.
//!
//! Types and methods that wait take a runtime. There is no default: the program chooses one.
//!
//! | type | choose it |
//! |---|---|
//! | [`Tokio`] | in programs on tokio |
//! | [`Smol`] | in programs on smol |
//! | [`AsyncStd`] | in programs that already use async-std, which its authors discontinued |
//! | [`Manual`] | in tests: its time is virtual |
//! | a type of yours | on another runtime: implement [`Runtime`], and [`Connect`] for storages on servers |
//!
//! In firmware, `EmbassyClock` (feature `embassy-time`) is a clock and a timer.
//!
//! ```
//! # #[cfg(feature = "manual")] {
//! use traffik::runtime::Manual;
//! use traffik::{Limiter, Memory, TokenBucket, rate};
//!
//! let runtime = Manual::new();
//! let storage = Memory::builder().clock(runtime.clone()).build();
//! let limiter = Limiter::new(TokenBucket::new(rate!("10/h")), storage);
//! runtime.run(async {
//!     for _ in 0..11 {
//!         let _ = limiter.until_ready("alice", &runtime).await?; // the last one waits 6 min of virtual time
//!     }
//!     Ok::<_, traffik::WaitError>(())
//! })??;
//! assert_eq!(runtime.now().as_micros(), 360_000_000);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "async-std")]
#[doc(inline)]
pub use traffik_runtimes::AsyncStd;
#[cfg(feature = "manual")]
#[doc(inline)]
pub use traffik_runtimes::Manual;
#[cfg(feature = "smol")]
#[doc(inline)]
pub use traffik_runtimes::Smol;
#[cfg(feature = "manual")]
#[doc(inline)]
pub use traffik_runtimes::Stalled;
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use traffik_runtimes::Tokio;
#[doc(inline)]
pub use traffik_runtimes::{Connect, Elapsed, Interval, Runtime};
