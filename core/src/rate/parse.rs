//! The parser of rates, which also runs while compiling; every refusal points at a character.

use core::str::FromStr;

use super::Rate;
use super::error::{RateError, RateErrorKind};

impl Rate {
    /// Reads a text in the form described at [`Rate`], also while compiling; see [`rate!`](crate::rate!).
    ///
    /// ```
    /// use traffik::Rate;
    ///
    /// assert_eq!(Rate::parse("100 per minute"), Ok(Rate::per_minute(100)));
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the text has another form. The [`RateError`] names the character, and what would be right.
    pub const fn parse(text: &str) -> Result<Self, RateError> {
        rate(text)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for Rate {
    type Error = RateError;

    fn try_from(text: &str) -> Result<Self, RateError> {
        Self::parse(text)
    }
}

/// Reads a whole text as a rate.
const fn rate(text: &str) -> Result<Rate, RateError> {
    let mut at = skip_blanks(text, 0);
    if at == text.len() {
        return Err(error(text, text.len(), RateErrorKind::Empty));
    }
    let limit_at = at;
    let limit;
    (limit, at) = match number(text, at) {
        Ok(number) => number,
        Err(error) => return Err(error),
    };
    if at == limit_at {
        let kind = if is_no_limit(text, at) { RateErrorKind::NoLimitAtAll } else { RateErrorKind::NoLimit };
        return Err(unexpected(text, at, kind));
    }
    // A bare 0 is ambiguous: it could mean "nothing" as well as "no limit".
    if limit == 0 && skip_blanks(text, at) == text.len() {
        return Err(error(text, limit_at, RateErrorKind::BareZero));
    }
    if limit > u32::MAX as u128 {
        return Err(error(text, limit_at, RateErrorKind::LimitTooLarge));
    }
    at = skip_blanks(text, at);
    let word = word_end(text, at);
    at = match byte(text, at) {
        Some(b'/') => at + 1,
        _ if word - at >= 3 && same_word(text, at, at + 3, "per") => at + 3,
        _ => return Err(unexpected(text, at, RateErrorKind::NoSeparator)),
    };
    period(text, at, limit as u32)
}

/// Reads the rest of a text as a period: numbers with units, which add up.
const fn period(text: &str, start: usize, limit: u32) -> Result<Rate, RateError> {
    let start = skip_blanks(text, start);
    let mut at = start;
    let mut sum = 0u128;
    loop {
        // Invariant: the text before `at` is whole parts of the period, and `sum` is their length in
        // microseconds.
        let number_at = at;
        let mut count;
        (count, at) = match number(text, at) {
            Ok(number) => number,
            Err(error) => return Err(error),
        };
        let alone = at == number_at;
        if alone {
            if at > start {
                return Err(unexpected(text, at, RateErrorKind::AfterPeriod));
            }
            count = 1;
        }
        at = skip_blanks(text, at);
        // `0/0` is unlimited; a unit after the second 0 makes it a period of zero, which is refused.
        if at == text.len() && count == 0 && limit == 0 && number_at == start {
            return Ok(Rate::UNLIMITED);
        }
        let end = word_end(text, at);
        if end == at {
            let kind = match (alone, at == text.len(), count) {
                (true, _, _) => RateErrorKind::NoPeriod,
                (false, true, 0) => RateErrorKind::ZeroPeriod,
                (false, _, _) => RateErrorKind::NoUnit,
            };
            return Err(unexpected(text, at, kind));
        }
        let Some(unit) = unit(text, at, end) else {
            // `m` is minutes and `mo` the beginning of months, so the longer name is looked at.
            let varies = starts_with(text, at, end, "mo") || starts_with(text, at, end, "y");
            let kind = if varies { RateErrorKind::VaryingUnit } else { RateErrorKind::UnknownUnit };
            return Err(error(text, at, kind));
        };
        // sum += count · unit; it saturates in 128 bits, far above the longest period.
        sum = sum.saturating_add(count.saturating_mul(unit as u128));
        at = skip_blanks(text, end);
        if at == text.len() {
            return match Rate::of_micros(limit, sum) {
                Ok(rate) => Ok(rate),
                Err(RateError { kind, .. }) => Err(error(text, start, kind)),
            };
        }
    }
}

/// The names of the units, and their length in microseconds.
const UNITS: [(&[&str], u64); 7] = [
    (&["us", "usec", "usecs", "microsecond", "microseconds"], 1),
    (&["ms", "msec", "msecs", "millisecond", "milliseconds"], 1_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000_000),
    (&["d", "day", "days"], 86_400_000_000),
    (&["w", "wk", "wks", "week", "weeks"], 7 * 86_400_000_000),
];

// In the functions below every index is checked against a length: constant evaluation has no iterators.

#[expect(clippy::indexing_slicing, reason = "both loops count up to the lengths")]
const fn unit(text: &str, start: usize, end: usize) -> Option<u64> {
    let mut row = 0;
    while row < UNITS.len() {
        let (names, length) = UNITS[row];
        let mut name = 0;
        while name < names.len() {
            if same_word(text, start, end, names[name]) {
                return Some(length);
            }
            name += 1;
        }
        row += 1;
    }
    None
}

/// Reports whether the word at `at` is one that people write for no limit.
#[expect(clippy::indexing_slicing, reason = "the loop counts up to the length")]
const fn is_no_limit(text: &str, at: usize) -> bool {
    const WORDS: [&str; 6] = ["unlimited", "none", "off", "inf", "infinite", "infinity"];
    let (end, mut word) = (word_end(text, at), 0);
    while word < WORDS.len() {
        if same_word(text, at, end, WORDS[word]) {
            return true;
        }
        word += 1;
    }
    false
}

/// Reads a run of ASCII digits: the number, and where it ends. It saturates far above the largest limit.
const fn number(text: &str, start: usize) -> Result<(u128, usize), RateError> {
    let (mut value, mut at) = (0u128, start);
    // value = value · 10 + digit.
    while let Some(digit @ b'0'..=b'9') = byte(text, at) {
        value = value.saturating_mul(10).saturating_add((digit - b'0') as u128);
        at += 1;
    }
    match byte(text, at) {
        Some(b'.') if at > start => Err(error(text, at, RateErrorKind::Fraction)),
        Some(b'_' | b',' | b'\'') if at > start => Err(error(text, at, RateErrorKind::GroupedDigits)),
        _ => Ok((value, at)),
    }
}

#[expect(clippy::indexing_slicing, reason = "checked on the same line")]
const fn byte(text: &str, at: usize) -> Option<u8> {
    if at < text.len() { Some(text.as_bytes()[at]) } else { None }
}

const fn skip_blanks(text: &str, mut at: usize) -> usize {
    while let Some(b' ' | b'\t') = byte(text, at) {
        at += 1;
    }
    at
}

const fn word_end(text: &str, mut at: usize) -> usize {
    while let Some(b'a'..=b'z' | b'A'..=b'Z') = byte(text, at) {
        at += 1;
    }
    at
}

const fn same_word(text: &str, start: usize, end: usize, word: &str) -> bool {
    end - start == word.len() && starts_with(text, start, end, word)
}

const fn starts_with(text: &str, start: usize, end: usize, word: &str) -> bool {
    let mut at = 0;
    while let Some(letter) = byte(word, at) {
        match byte(text, start + at) {
            Some(found) if start + at < end && found.eq_ignore_ascii_case(&letter) => at += 1,
            _ => return false,
        }
    }
    true
}

/// Returns the refusal of the text at `at`, with a kind more precise than `kind` where the character allows
/// it.
const fn unexpected(text: &str, at: usize, kind: RateErrorKind) -> RateError {
    let refused = error(text, at, kind);
    let kind = match (kind, refused.found) {
        (_, Some(found)) if !found.is_ascii() => RateErrorKind::NotAscii,
        (RateErrorKind::AfterPeriod, _) => kind,
        (_, Some('+' | '-')) => RateErrorKind::Signed,
        (_, Some('.')) => RateErrorKind::Fraction,
        // Digits after a number and a blank: the blank groups them.
        (RateErrorKind::NoSeparator | RateErrorKind::NoUnit, Some('0'..='9')) => RateErrorKind::GroupedDigits,
        _ => kind,
    };
    RateError { kind, ..refused }
}

const fn error(text: &str, at: usize, kind: RateErrorKind) -> RateError {
    RateError { kind, at, found: char_at(text, at) }
}

/// Decodes the character that starts at a byte, by hand since `str::chars` is not for constants.
const fn char_at(text: &str, at: usize) -> Option<char> {
    let Some(first) = byte(text, at) else { return None };
    let (length, mut code) = match first {
        0..=0x7f => (1, first as u32),
        0x80..=0xdf => (2, (first & 0x1f) as u32),
        0xe0..=0xef => (3, (first & 0x0f) as u32),
        _ => (4, (first & 0x07) as u32),
    };
    let mut next = 1;
    while next < length {
        let Some(byte) = byte(text, at + next) else { return None };
        // code = code · 2⁶ + the six bits of a continuation byte.
        code = (code << 6) | (byte & 0x3f) as u32;
        next += 1;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use RateErrorKind::*;

    #[test]
    fn every_form_of_the_grammar() {
        let seconds = |limit, seconds: u128| Rate::of_micros(limit, seconds * 1_000_000).unwrap();
        for (text, rate) in [
            ("100/m", seconds(100, 60)),
            ("5/10s", seconds(5, 10)),
            ("10/30 seconds", seconds(10, 30)),
            ("2 per second", seconds(2, 1)),
            ("2 persecond", seconds(2, 1)),
            ("20 per 2 mins", seconds(20, 120)),
            ("1000/500ms", Rate::of_micros(1000, 500_000).unwrap()),
            ("7/3us", Rate::of_micros(7, 3).unwrap()),
            (" 1 / 2 Hrs ", seconds(1, 7200)),
            ("1/1m30s", seconds(1, 90)),
            ("1 per 1 hour 30 minutes", seconds(1, 5400)),
            ("4294967295/W", seconds(u32::MAX, 7 * 86_400)),
            ("0/0", Rate::UNLIMITED),
            ("0 per 0", Rate::UNLIMITED),
            ("0/s", Rate::per_second(0)),
        ] {
            assert_eq!(Rate::parse(text), Ok(rate), "{text}");
        }
    }

    #[test]
    fn every_name_of_a_unit() {
        for (names, length) in UNITS {
            for name in names {
                let expected = Rate::of_micros(1, length.into());
                assert_eq!(Rate::parse(&format!("1/{name}")), expected);
                assert_eq!(Rate::parse(&format!("1 per 1 {}", name.to_uppercase())), expected);
            }
        }
    }

    #[test]
    fn every_refusal_names_the_character() {
        for (text, kind, at, found) in [
            ("", Empty, 0, None),
            ("  ", Empty, 2, None),
            ("5/1.5s", Fraction, 3, Some('.')),
            ("1.5/s", Fraction, 1, Some('.')),
            ("5/.5s", Fraction, 2, Some('.')),
            ("5/month", VaryingUnit, 2, Some('m')),
            ("5/2 years", VaryingUnit, 4, Some('y')),
            ("٣/s", NotAscii, 0, Some('٣')),
            ("5/٣s", NotAscii, 2, Some('٣')),
            ("𝟙/s", NotAscii, 0, Some('𝟙')),
            ("1_000/s", GroupedDigits, 1, Some('_')),
            ("1,000/s", GroupedDigits, 1, Some(',')),
            ("-5/s", Signed, 0, Some('-')),
            ("5/-1s", Signed, 2, Some('-')),
            ("5//s", NoPeriod, 2, Some('/')),
            ("5", NoSeparator, 1, None),
            ("5 s", NoSeparator, 2, Some('s')),
            ("5/", NoPeriod, 2, None),
            ("5/10", NoUnit, 4, None),
            ("5/0", ZeroPeriod, 3, None),
            ("5/0s", ZeroPeriod, 2, Some('0')),
            ("0/0s", ZeroPeriod, 2, Some('0')),
            ("5/fortnight", UnknownUnit, 2, Some('f')),
            ("5/s s", AfterPeriod, 4, Some('s')),
            ("5/s/10", AfterPeriod, 3, Some('/')),
            ("5/s.", AfterPeriod, 3, Some('.')),
            ("5/10s\n", AfterPeriod, 5, Some('\n')),
            ("5/min per user", AfterPeriod, 6, Some('p')),
            ("5/s 5", NoUnit, 5, None),
            ("1 000/s", GroupedDigits, 2, Some('0')),
            ("1/1 000s", GroupedDigits, 4, Some('0')),
            ("1e3/s", NoSeparator, 1, Some('e')),
            ("5/10µs", NotAscii, 4, Some('µ')),
            ("/s", NoLimit, 0, Some('/')),
            ("many/s", NoLimit, 0, Some('m')),
            ("unlimited", NoLimitAtAll, 0, Some('u')),
            (" None", NoLimitAtAll, 1, Some('N')),
            ("off/s", NoLimitAtAll, 0, Some('o')),
            ("offer/s", NoLimit, 0, Some('o')),
            ("0", BareZero, 0, Some('0')),
            ("00 ", BareZero, 0, Some('0')),
            ("4294967296/s", LimitTooLarge, 0, Some('4')),
            ("1/999999999999999999999999999999999999999999w", PeriodTooLong, 2, Some('9')),
        ] {
            let error = Rate::parse(text).unwrap_err();
            assert_eq!((error.kind(), error.offset(), error.found()), (kind, at, found), "{text}");
            let shown = error.to_string();
            assert!(shown.contains(error.advice()), "{shown}");
            if let Some(found) = found {
                assert!(shown.contains(&format!("character {} ({found:?})", at + 1)), "{shown}");
            }
        }
    }
}
