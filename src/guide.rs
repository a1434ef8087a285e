#![doc = include_str!("guide/links.md")]
#![doc = ""]
#![doc = include_str!("../docs/guide/README.md")]

/// `guide!(name, all(feature = ..), ["picture"])`: the page `docs/guide/NAME.md`, whose programs run where these
/// features are on. GitHub follows the links that a page defines at its end; the definitions that come before the page
/// win in rustdoc, which has modules in place of files, and no file for a picture.
macro_rules! guide {
    ($name:ident, $features:meta $(, [$($picture:literal),+ $(,)?])?) => {
        #[cfg(any(not(doctest), $features))]
        #[doc = include_str!("guide/links.md")]
        $($(#[doc = concat!(
            "[", $picture, "]: ", include_str!(concat!("../docs/guide/pictures/", $picture, ".uri")),
        )])+)?
        #[doc = ""]
        #[doc = include_str!(concat!("../docs/guide/", stringify!($name), ".md"))]
        pub mod $name {}
    };
}

guide!(firmware, all(feature = "critical-section", feature = "embassy-time"));
guide!(operating, all(feature = "redis-tls", feature = "tokio"));
