//! Without TLS there is nothing to prepare.

pub(super) const fn prepare() {}
