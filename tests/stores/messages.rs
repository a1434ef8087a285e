//! The messages of Redis and Memcached in trouble: each is provoked on a real server, and one golden holds
//! them all.
//!
//! Read `golden/messages.txt` from top to bottom, as a user in trouble would. Placeholders stand for addresses
//! and times. The messages that need no server are in `tests/storages/messages.rs`.

mod memcached;
mod redis;

use std::fmt::Display;

use traffik_test_support::golden::golden;
use traffik_test_support::limited::run;

use crate::lines::Lines;

/// The text of the golden: situations, with the message of each.
#[derive(Default)]
pub(super) struct Messages {
    text: String,
    /// The texts that differ in each run, with their placeholders.
    places: Vec<(String, &'static str)>,
}

impl Messages {
    fn section(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.text.push_str(&format!("{gap}# {title}\n\n"));
    }

    /// Replaces an address in all later messages.
    fn place(&mut self, address: impl Display, name: &'static str) {
        self.places.insert(0, (address.to_string(), name));
    }

    #[track_caller]
    fn refused<T, E: Display>(&mut self, situation: &str, result: Result<T, E>) {
        match result {
            Ok(_) => panic!("no failure: {situation}"),
            Err(error) => self.line(situation, &error),
        }
    }

    fn line(&mut self, situation: &str, message: &dyn Display) {
        let mut message = message.to_string();
        for (address, name) in &self.places {
            message = message.replace(address, name);
        }
        // The same break of a connection has one of these texts, depending on the moment.
        for broken in ["broken pipe", "Connection reset by peer (os error 104)", "unexpected end of file"] {
            message = message.replace(broken, "BROKEN CONNECTION");
        }
        self.text.push_str(&format!("{situation}\n    => {message}\n"));
    }

    fn lines(&mut self, situation: &str, lines: &Lines) {
        for line in lines.get() {
            // Its figures differ in each run.
            let line = match line.split_once(" answers again, after ") {
                Some((server, _)) => format!("{server} answers again, after TIME s and COUNT failures"),
                None => line,
            };
            self.line(situation, &line);
        }
    }
}

#[test]
fn every_message_is_as_it_was_last_read() {
    let mut messages = Messages::default();
    run(async {
        redis::provoke(&mut messages).await;
        memcached::provoke(&mut messages).await;
    });
    golden("tests/stores/golden", "messages", &messages.text);
}
