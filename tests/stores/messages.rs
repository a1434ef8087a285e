//! The messages of Redis and Memcached in trouble: each is provoked on a real server, and one golden holds
//! them all.
//!
//! Read `golden/messages.txt` from top to bottom, as a user in trouble would. Placeholders stand for
//! addresses and times. The messages that need no server are in `tests/storages/messages.rs`.

mod memcached;
mod redis;

use traffik_test_support::golden::golden;
use traffik_test_support::limited::run;
use traffik_test_support::messages::Messages;

use crate::lines::Lines;

/// Adds the lines that a storage wrote.
fn lines(messages: &mut Messages, situation: &str, lines: &Lines) {
    for line in lines.get() {
        // Its figures differ in each run.
        let line = match line.split_once(" answers again, after ") {
            Some((server, _)) => format!("{server} answers again, after TIME s and COUNT failures"),
            None => line,
        };
        messages.line(situation, &line);
    }
}

#[test]
fn every_message_is_as_it_was_last_read() {
    let mut messages = Messages::default();
    // The same break of a connection has one of these texts, depending on the moment.
    for broken in ["broken pipe", "Connection reset by peer (os error 104)", "unexpected end of file"] {
        messages.place(broken, "BROKEN CONNECTION");
    }
    run(async {
        redis::provoke(&mut messages).await;
        memcached::provoke(&mut messages).await;
    });
    golden("tests/stores/golden", "messages", messages.text());
}
