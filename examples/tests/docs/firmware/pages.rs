use traffik::{Clock, Fixed, TokenBucket};

/// Restores the newer of two pages. Saving erases the older one, writes a larger number, then the image.
pub fn restore<C: Clock>(commands: &Fixed<TokenBucket, C, 16>, mut pages: [&[u8]; 2]) -> bool {
    pages.sort_unstable_by_key(|page| page.first_chunk().map(|number| u32::from_be_bytes(*number)));
    let mut newest_first = pages.iter().rev().filter_map(|page| page.get(4..));
    newest_first.any(|image| commands.restore(image).is_ok())
}
