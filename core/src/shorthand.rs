//! Macros for code that is the same for many types.

/// Implements `Debug` for a type by the fields that are worth reading; closures, locks and the like are left
/// out.
///
/// ```text
/// debug_fields!([R: Connect] Pool<R>: address, idle = |it| it.state().idle.len());
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! debug_fields {
    (
        [$($generics:tt)*] $type:ident $(<$($argument:tt),+>)?:
        $($field:ident $(= |$it:ident| $value:expr)?),+
    ) => {
        impl<$($generics)*> ::core::fmt::Debug for $type $(<$($argument),+>)? {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($field), $crate::debug_fields!(@self $field $($it $value)?)))+
                    .finish_non_exhaustive()
            }
        }
    };
    (@$this:ident $field:ident) => { &$this.$field };
    (@$this:ident $field:ident $it:ident $value:expr) => { &$crate::shown($this, |$it| $value) };
}

/// Returns the result of a function of a value. A closure that is called in its place could not infer the
/// type of the value.
#[doc(hidden)]
pub fn shown<'a, T, V>(value: &'a T, function: impl FnOnce(&'a T) -> V) -> V {
    function(value)
}

/// Declares an enum whose variants have names: a list `ALL` of them, and the `name` of each.
#[doc(hidden)]
#[macro_export]
macro_rules! named {
    ($(#[$attribute:meta])* $visible:vis enum $type:ident {
        $($(#[$each:meta])* $variant:ident = $name:literal,)+
    }) => {
        $(#[$attribute])*
        $visible enum $type { $($(#[$each])* $variant,)+ }

        impl $type {
            /// Every variant, in order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Returns the name of the variant in headers, metrics and logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

/// Implements `Display` and `Error` for an error by the text of each of its patterns.
macro_rules! texts {
    ($type:ident: $($error:pat => $text:literal,)+) => {
        impl ::core::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self { $($error => write!(f, $text),)+ }
            }
        }

        impl ::core::error::Error for $type {}
    };
}

/// Implements `From` for the values that variants of a type hold.
macro_rules! from {
    ($type:ident: $($value:ty => $variant:ident,)+) => {
        $(impl From<$value> for $type {
            fn from(value: $value) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}
