//! The guide for firmware says what the example does, and its programs do what it says.
//!
//! The programs themselves are compiled along with the documentation.

#[expect(unreachable_pub, reason = "it is as the guide shows it")]
mod pages;

use traffik::{Fixed, Limiter, ManualClock, TokenBucket, rate};

const GUIDE: &str = include_str!("../../../docs/guide/firmware.md");

/// The lines from the one that is `[dependencies]` up to an empty one or the end of a program.
fn dependencies(text: &str) -> Vec<&str> {
    let lines = text.lines().skip_while(|line| *line != "[dependencies]");
    lines.take_while(|line| !line.is_empty() && *line != "```").collect()
}

/// A newcomer copies the lines of the guide, and has what the example has.
#[test]
fn the_manifest_is_that_of_the_example() {
    let example = include_str!("../../firmware/Cargo.toml");
    let version = format!("traffik = {{ version = \"{}\"", env!("CARGO_PKG_VERSION"));
    let example = example.replace("traffik = { path = \"../..\"", &version);
    let lines = dependencies(GUIDE);
    assert!(lines.len() > 5, "{lines:?}");
    assert_eq!(lines, dependencies(&example));
}

#[test]
fn the_newer_one_of_two_images_that_is_whole_is_restored() {
    assert!(GUIDE.contains(include_str!("firmware/pages.rs")));
    type Commands = Fixed<TokenBucket, ManualClock, 16>;
    const ROOM: usize = 4 + Commands::SAVED;
    const ERASED: [u8; ROOM] = [0xff; ROOM];
    let limited = || Limiter::new(TokenBucket::new(rate!("3/min")), Commands::new(ManualClock::default(), 1));
    let before = limited();
    let pages = [7u32, 8].map(|number| {
        assert!(before.check("pump-7").unwrap().is_allowed());
        let mut page = ERASED;
        page[..4].copy_from_slice(&number.to_be_bytes());
        before.storage().save(&mut page[4..]).unwrap();
        page
    });
    // Power was lost while it was written.
    let torn = pages.map(|mut page| {
        page[30..].copy_from_slice(&ERASED[30..]);
        page
    });
    for (first, second, left) in [
        (pages[0], pages[1], Some(1)),
        (pages[1], pages[0], Some(1)),
        (pages[0], torn[1], Some(2)),
        (torn[1], pages[0], Some(2)),
        (torn[0], pages[1], Some(1)),
        (pages[0], ERASED, Some(2)),
        (torn[0], torn[1], None),
        (ERASED, ERASED, None),
    ] {
        let after = limited();
        assert_eq!(pages::restore(after.storage(), [&first, &second]), left.is_some());
        assert_eq!(after.status("pump-7").unwrap().remaining(), left.unwrap_or(3));
    }
    assert!(!pages::restore(limited().storage(), [&[][..], &[0; 3]]));
}
