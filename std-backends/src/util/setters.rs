//! The setters of builders.

/// Writes methods of a builder that set one field each.
///
/// ```text
/// setters! {
///     /// Sets the number of keys.
///     pub const fn capacity(keys: usize) => capacity = keys;
/// }
/// ```
macro_rules! setters {
    ($(
        $(#[$doc:meta])*
        pub $first:ident $second:ident $($third:ident)? ($($value:ident: $type:ty),*) => $($field:ident).+ = $set:expr;
    )+) => {
        $(
            $(#[$doc])*
            pub $first $second $($third)? (mut self, $($value: $type),*) -> Self {
                self.$($field).+ = $set;
                self
            }
        )+
    };
}

pub(crate) use setters;
