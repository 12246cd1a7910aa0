//! The macro behind the list of settings: one entry becomes a flag, an environment variable, a key of the file, a field
//! of [`Config`](super::Config), a check, and a row of docs/config.md.

/// Declares the settings, in sections. An entry is
///
/// ```text
/// /// Help text.
/// #[arg(…)]                            what clap has to know besides: the name of the value, a delimiter
/// name: Type = default, allowed;       `allowed` is a `Check`; without a default the setting is optional
/// ```
macro_rules! settings {
    ($($section:literal {
        $(
            $(#[doc = $doc:tt])+
            $(#[arg($($arg:tt)*)])?
            $name:ident: $type:ty $(= $default:expr)? $(, $allowed:expr)?;
        )+
    })+) => {
        /// What one source says, the file or the command line with its environment: any setting may be absent.
        #[derive(Clone, Debug, Default, clap::Args, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $($(
                $(#[doc = $doc])+
                #[arg(long, help_heading = $section $(, $($arg)*)?)]
                pub $name: Option<$type>,
            )+)+
        }

        /// The settings that result: merged and checked. Serialized they are a configuration file again.
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct Config {
            $($( $(#[doc = $doc])+ pub $name: resolved!($type $(, $default)?), )+)+
        }

        impl Config {
            /// Takes each setting from `first`, else from `second`, else its default.
            pub(super) fn merge(first: Settings, second: Settings) -> Self {
                Self { $($( $name: or_default!(first.$name.or(second.$name) $(, $default)?), )+)+ }
            }

            /// The first setting with a value that is not allowed: its name, and what is wrong.
            pub(super) fn find_problem(&self) -> Option<(&'static str, String)> {
                $($( $(
                    if let Some(problem) = Check::<$type>::problem(&$allowed, &self.$name) {
                        return Some((stringify!($name), problem));
                    }
                )? )+)+
                None
            }
        }

        /// What values a setting may have, where its type does not say it all.
        pub(super) fn allowed(name: &str) -> Option<String> {
            $($( $(
                if name == stringify!($name) {
                    return Some(Check::<$type>::allowed(&$allowed));
                }
            )? )+)+
            None
        }

        /// The same as a part of a JSON schema.
        #[cfg(test)]
        pub(super) fn bounds(name: &str) -> Option<serde_json::Value> {
            $($( $(
                if name == stringify!($name) {
                    return Some(super::schema::Bounds::<$type>::bounds(&$allowed));
                }
            )? )+)+
            None
        }
    };
}

/// The type of a resolved setting: optional without a default.
macro_rules! resolved {
    ($type:ty, $default:expr) => { $type };
    ($type:ty) => { Option<$type> };
}

/// The value of a resolved setting.
macro_rules! or_default {
    ($given:expr, $default:expr) => {
        match $given {
            Some(value) => value,
            None => $default,
        }
    };
    ($given:expr) => {
        $given
    };
}
