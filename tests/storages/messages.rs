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

use std::fmt::Display;

use traffik_test_support::golden::golden;

/// The text of the golden: sections of calls, with the message of each.
#[derive(Default)]
struct Messages(String);

impl Messages {
    fn section(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.0.push_str(&format!("{gap}# {title}\n\n"));
    }

    /// Adds the message of a call that must fail.
    #[track_caller]
    fn refused<T, E: Display>(&mut self, call: &str, result: Result<T, E>) {
        match result {
            Ok(_) => panic!("{call} did not fail"),
            Err(error) => self.line(call, &error),
        }
    }

    fn line(&mut self, call: &str, message: &dyn Display) {
        let call = call.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push_str(&format!("{call}\n    => {message}\n"));
    }
}

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
    golden("tests/storages/golden", "messages", &messages.0);
}
