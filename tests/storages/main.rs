//! Storages of this process and of one's own: their duties, the duties against broken storages, and locks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod changes;
mod duties;
mod duties_bite;
mod file_storage;
mod firmware;
mod locked;
mod locks;
mod messages;
mod overtaken;
mod room;
mod saved;
mod set_back;
mod shared;
mod sqlite_storage;
mod together;
