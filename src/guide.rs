#![doc = include_str!("guide/links.md")]
#![doc = ""]
#![doc = include_str!("../docs/guide/README.md")]

/// Shows the page `docs/guide/NAME.md`, and runs its programs where these features are on:
/// `guide!(name, all(feature = ..), ["picture"])`.
///
/// GitHub uses the link definitions at the end of a page, which name files. In rustdoc a page is a module and
/// a picture is no file, so other definitions come first here: the first definition of a link wins.
macro_rules! guide {
    ($name:ident, $features:meta $(, [$($picture:literal),+ $(,)?])?) => {
        #[cfg(any(not(doctest), $features))]
        // An empty first line: without it, a program that fails is reported in the file of links.
        #[doc = ""]
        #[doc = include_str!("guide/links.md")]
        $($(#[doc = concat!(
            "[", $picture, "]: ", include_str!(concat!("../docs/guide/pictures/", $picture, ".uri")),
        )])+)?
        #[doc = ""]
        #[doc = include_str!(concat!("../docs/guide/", stringify!($name), ".md"))]
        pub mod $name {}
    };
}

guide!(
    strategies,
    all(feature = "alloc"),
    [
        "fixed-window",
        "sliding-window",
        "strict-window",
        "sliding-log",
        "token-bucket",
        "leaky-bucket",
        "gcra",
        "leaky-bucket-queue",
        "all",
        "quota-rollover",
        "adaptive",
        "cost-based",
        "fair-share",
        "priority",
    ]
);
guide!(
    storages,
    all(feature = "redis", feature = "memcached", feature = "tokio", feature = "locks", feature = "http")
);
guide!(several, all(feature = "axum", feature = "tokio"));
guide!(proxies, all(feature = "axum", feature = "tokio"));
guide!(outgoing, all(feature = "manual", feature = "redis", feature = "reqwest", feature = "tower"));
guide!(shared_calls, all(feature = "manual", feature = "redis", feature = "http", feature = "tokio"));
guide!(tokens, all(feature = "axum", feature = "tokio"));
guide!(websockets, all(feature = "axum", feature = "tokio", feature = "websocket"));
guide!(testing, all(feature = "manual", feature = "axum", feature = "laws", feature = "tokio"));
guide!(own_strategy, all(feature = "laws", feature = "std"));
guide!(extending, all(feature = "laws", feature = "locks", feature = "tokio"));
guide!(failure, all(feature = "redis", feature = "axum", feature = "tokio", feature = "manual"));
guide!(coming_from, all(feature = "axum", feature = "tokio"));
guide!(firmware, all(feature = "critical-section", feature = "embassy-time"));
guide!(operating, all(feature = "redis-tls", feature = "tokio"));
