//! The messages of mistakes and troubles, as a golden text.

use std::fmt::Display;

/// A text of sections: each call or situation, and the message that it leads to.
#[derive(Default)]
pub struct Messages {
    text: String,
    /// The texts that differ from run to run, and their placeholders.
    places: Vec<(String, &'static str)>,
}

impl Messages {
    pub fn section(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.text.push_str(&format!("{gap}# {title}\n\n"));
    }

    /// Replaces a text, such as an address, in all later messages.
    pub fn place(&mut self, text: impl Display, name: &'static str) {
        self.places.insert(0, (text.to_string(), name));
    }

    /// Adds the message of a call that must fail.
    #[track_caller]
    pub fn refused<T, E: Display>(&mut self, situation: &str, result: Result<T, E>) {
        match result {
            Ok(_) => panic!("no failure: {situation}"),
            Err(error) => self.line(situation, &error),
        }
    }

    pub fn line(&mut self, situation: &str, message: &dyn Display) {
        let situation = situation.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut message = message.to_string();
        for (text, name) in &self.places {
            message = message.replace(text, name);
        }
        self.text.push_str(&format!("{situation}\n    => {message}\n"));
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}
