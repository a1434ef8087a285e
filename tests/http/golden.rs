//! Goldens of every answer: its head and body, what observers hear of it, and what it leaves in the storages.
//!
//! Each scene is a throttle, or several, and the requests that come to it, on virtual time. It is played in
//! every way in which it can go: by middleware or asked within a service, alone or as one of several, in a
//! storage of this process or elsewhere. The differences between the ways follow the first.

mod alone;
mod answers;
mod costs;
mod failures;
mod several;
mod shadows;
mod stage;
mod troubles;
mod waits;
