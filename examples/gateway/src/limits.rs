//! Limits as text and as strategies: rates, strategies, storages and keys.

pub(crate) mod clients;
pub(crate) mod denial_reply;
pub(crate) mod descriptors;
pub(crate) mod keys;
pub(crate) mod limit;
pub(crate) mod parameters;
pub(crate) mod plain;
pub(crate) mod plan;
pub(crate) mod request;
pub(crate) mod responses;
pub(crate) mod rules;
pub(crate) mod spec;
pub(crate) mod stable_hash;
pub(crate) mod storage;
pub(crate) mod strategy;
pub(crate) mod units;
