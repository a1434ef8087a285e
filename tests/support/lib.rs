//! Shared by the test programs: models and broken strategies, faulty stores, real servers, a browser, and
//! programs as users start them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
#![allow(missing_docs, missing_debug_implementations, reason = "for tests alone; what needs a word has one")]

pub mod agree;
pub mod alternating;
pub mod browser;
pub mod elsewhere;
pub mod faulty;
pub mod folder;
pub mod golden;
pub mod granting;
pub mod ledger;
pub mod limited;
pub mod messages;
pub mod program;
pub mod servers;
pub mod sharded;
pub mod store;
pub mod ways;
