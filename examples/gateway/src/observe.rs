//! What operators watch: the clients denied most, and the samples of the live page.

pub(crate) mod denied_clients;
pub(crate) mod events;
