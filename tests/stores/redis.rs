//! States and locks on Redis: a server, a cluster, sentinels, over TLS, and when they fail.

mod agrees;
mod changed;
mod check;
mod cluster;
mod connections;
mod faults;
mod golden;
mod locks;
mod newer;
mod outgoing;
mod refusals;
mod rights;
mod sentinels;
mod tls;
mod transports;
mod turns;
