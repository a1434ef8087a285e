//! Error messages: each is provoked by a mistake that a user can make, and one golden file holds them all.
//!
//! Read `tests/storages/golden/messages.txt` from top to bottom, as a user in trouble would. The messages
//! that need a Redis or a Memcached are in `tests/stores/messages.rs`.

mod layers;
mod locks;
mod memory;
mod rates;
mod stores;
mod strategies;
mod swaps;
mod throttles;
mod wrappers;

use traffik_test_support::golden::golden;
use traffik_test_support::messages::Messages;

/// Adds the message of each expression, beside its source.
macro_rules! refused {
    ($messages:ident: $($call:expr;)+) => {
        $($messages.refused(stringify!($call), $call);)+
    };
}
use refused;

#[test]
fn every_message_is_as_it_was_last_read() {
    let mut messages = Messages::default();
    rates::provoke(&mut messages);
    strategies::provoke(&mut messages);
    wrappers::provoke(&mut messages);
    memory::provoke(&mut messages);
    locks::provoke(&mut messages);
    layers::provoke(&mut messages);
    swaps::provoke(&mut messages);
    stores::provoke(&mut messages);
    throttles::provoke(&mut messages);
    golden("tests/storages/golden", "messages", messages.text());
}
