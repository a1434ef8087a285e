#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]

pub use traffik_core::*;

#[cfg(feature = "std")]
pub use traffik_backends::*;
#[cfg(feature = "http")]
#[doc(inline)]
pub use traffik_integrations as web;
#[cfg(any(feature = "async-std", feature = "manual", feature = "smol", feature = "tokio"))]
#[doc(inline)]
pub use traffik_runtimes as runtime;

/// Guides.
#[cfg(any(doc, doctest))]
pub mod guide {
    #[cfg(all(feature = "critical-section", feature = "embassy-time"))]
    #[doc = include_str!("../docs/firmware.md")]
    pub mod firmware {}

    #[cfg(all(feature = "redis-tls", feature = "tokio"))]
    #[doc = include_str!("../docs/operating.md")]
    pub mod operating {}
}
