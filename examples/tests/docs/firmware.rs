//! The guide for firmware and the example agree, and a program of the guide works.
//!
//! The doctests compile the programs.

#[expect(unreachable_pub, reason = "it is as the guide shows it")]
mod pages;

use traffik::{Fixed, Limiter, ManualClock, TokenBucket, rate};

const GUIDE: &str = include_str!("../../../docs/guide/firmware.md");

/// Returns the lines from `[dependencies]` up to an empty line or the end of a code block.
fn dependencies(text: &str) -> Vec<&str> {
    let lines = text.lines().skip_while(|line| *line != "[dependencies]");
    lines.take_while(|line| !line.is_empty() && *line != "```").collect()
}

/// A newcomer who copies the manifest of the guide has the dependencies of the example.
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
    // The power failed while the page was written.
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
