//! Choices: settings that take one of a few named values.

/// Defines a choice: its values, and the one name that each has in files, flags, messages and texts.
macro_rules! choice {
    ($(#[$about:meta])* pub enum $choice:ident { $($(#[$meaning:meta])* $value:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub enum $choice {
            $($(#[$meaning])* #[serde(rename = $name)] $value,)+
        }

        impl $choice {
            /// All values that this setting can take, in the order of their declaration.
            pub const ALL: &[$choice] = &[$($choice::$value),+];

            /// The names of all values that this setting can take, as files and flags give them.
            pub const NAMES: &[&str] = &[$($name),+];

            /// Returns the one name that this value has in files, flags and messages.
            pub const fn name(self) -> &'static str {
                match self {
                    $($choice::$value => $name,)+
                }
            }
        }

        impl std::fmt::Display for $choice {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $choice {
            type Err = $crate::NoSuchChoice;

            fn from_str(name: &str) -> Result<$choice, $crate::NoSuchChoice> {
                match name {
                    $($name => Ok($choice::$value),)+
                    _ => Err($crate::NoSuchChoice { expected: $choice::NAMES, found: name.into() }),
                }
            }
        }
    };
}
pub(crate) use choice;

/// An error: a text that names no value of a setting which takes one of a few named values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found {found}", expected.join(", "))]
pub struct NoSuchChoice {
    /// The names of all values that the setting can take.
    pub expected: &'static [&'static str],
    /// The text that was given, which is none of `expected`.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use crate::{Precision, Variant};

    #[test]
    fn a_value_has_one_name_everywhere() {
        assert_eq!(Variant::NAMES, ["table", "operations", "naive"]);
        for name in Variant::NAMES {
            let value: Variant = name.parse().unwrap();
            assert_eq!(value.to_string(), *name);
            assert_eq!(serde_json::to_value(value).unwrap(), *name);
        }
        let text = "f64".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(text, "expected one of f32, bf16, found f64");
    }
}
