//! Enums that travel as integers and are shown as label values.

/// Declares an enum whose variants are numbered 0, 1, 2, …: the number indexes arrays of counters and travels in events,
/// the label is the value on `/metrics`.
///
/// ```
/// netcause_common::labelled_enum! {
///     /// Which way a packet goes.
///     pub enum Direction: u8 {
///         /// To the socket.
///         Received = 0, "received";
///         /// From the socket.
///         Sent = 1, "sent";
///     }
/// }
/// assert_eq!(Direction::ALL, [Direction::Received, Direction::Sent]);
/// assert_eq!(Direction::Sent.label(), Direction::LABELS[1]);
/// assert_eq!(Direction::from_number(1), Some(Direction::Sent));
/// assert_eq!(Direction::from_number(2), None);
/// ```
///
/// A number that is not the variant's position does not compile.
#[macro_export]
macro_rules! labelled_enum {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident: $number_type:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $number:literal, $label:literal;)+
        }
    ) => {
        $(#[$meta])*
        #[repr($number_type)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name {
            $($(#[$variant_meta])* $variant = $number,)+
        }

        impl $name {
            /// Every variant, in the order of their numbers.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];
            /// Number of variants.
            pub const COUNT: usize = Self::LABELS.len();
            /// The labels of [`Self::ALL`].
            pub const LABELS: &'static [&'static str] = &[$($label),+];

            /// The value of a Prometheus label.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            /// The variant with this number; `None` when there is none.
            #[must_use]
            pub const fn from_number(number: $number_type) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        const _: () = {
            let mut position = 0;
            while position < $name::COUNT {
                assert!($name::ALL[position] as usize == position, "variants are numbered by their position");
                position += 1;
            }
        };
    };
}
