//! Macros that write what is the same for many types.

/// Writes `Debug` for a type by the fields that are worth reading; closures, locks and the like are left out.
///
/// ```ignore
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

/// Returns what a function makes of a value. A closure called in its place would not know the type of the
/// value.
#[doc(hidden)]
pub fn shown<'a, T, V>(value: &'a T, function: impl FnOnce(&'a T) -> V) -> V {
    function(value)
}

/// Makes an enum whose variants have names: a list of `ALL` of them, and the `name` of each.
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

            /// The variant's name, as headers, metrics and logs have it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

/// Makes an error of a type, by the text of each of its patterns.
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

/// Makes variants of a type out of what they hold.
macro_rules! from {
    ($type:ident: $($value:ty => $variant:ident,)+) => {
        $(impl From<$value> for $type {
            fn from(value: $value) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}
