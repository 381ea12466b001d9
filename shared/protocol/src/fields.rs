//! Checks of the fields of messages from the network, and the conversions that many messages share.

use std::{convert::Infallible, fmt::Display, str::FromStr};

use settings::NoSuchChoice;

/// An error: a field of a received message has an invalid value. The text names message and field, and says
/// what was expected and found. Like the types generated from the `.proto` files, this error does not leave
/// the crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}.{field}: expected {expected}, found {found}")]
pub struct FieldError {
    message: &'static str,
    field: &'static str,
    expected: String,
    found: String,
}

impl FieldError {
    pub(crate) fn new(
        message: &'static str,
        field: &'static str,
        expected: impl Into<String>,
        found: impl Display,
    ) -> FieldError {
        FieldError { message, field, expected: expected.into(), found: found.to_string() }
    }
}

/// Allows messages without checks to be converted like those with checks.
impl From<Infallible> for FieldError {
    fn from(never: Infallible) -> FieldError {
        match never {}
    }
}

/// Returns a field's value, which must be present.
pub(crate) fn required<T>(
    value: Option<T>,
    message: &'static str,
    field: &'static str,
) -> Result<T, FieldError> {
    value.ok_or_else(|| FieldError::new(message, field, "a value", "none"))
}

/// Returns the setting that a field names.
pub(crate) fn choice<T: FromStr<Err = NoSuchChoice>>(
    name: &str,
    message: &'static str,
    field: &'static str,
) -> Result<T, FieldError> {
    name.parse().map_err(|NoSuchChoice { expected, found }| {
        FieldError::new(message, field, format!("one of {}", expected.join(", ")), found)
    })
}

/// Most bytes that a name or an address may have.
pub(crate) const MOST_NAME: usize = 4096;

/// Returns a field's text, which may have at most `most` bytes.
pub(crate) fn bounded(
    text: String,
    most: usize,
    message: &'static str,
    field: &'static str,
) -> Result<String, FieldError> {
    let bytes = text.len();
    if bytes <= most {
        return Ok(text);
    }
    Err(FieldError::new(message, field, format!("at most {most} bytes"), format!("{bytes} bytes")))
}

/// Returns a field's list, which may have at most `most` items; `unit` names them.
pub(crate) fn listed<T>(
    items: Vec<T>,
    most: usize,
    unit: &str,
    message: &'static str,
    field: &'static str,
) -> Result<Vec<T>, FieldError> {
    if items.len() <= most {
        return Ok(items);
    }
    Err(FieldError::new(message, field, format!("at most {most} {unit}"), items.len()))
}

/// Returns a field's number, which may be at most `most`.
pub(crate) fn at_most(
    value: u64,
    most: u64,
    message: &'static str,
    field: &'static str,
) -> Result<u64, FieldError> {
    if value <= most {
        return Ok(value);
    }
    Err(FieldError::new(message, field, format!("at most {most}"), value))
}

/// Returns a field's number, which must be finite, since sums and files cannot hold others.
pub(crate) fn finite(value: f64, message: &'static str, field: &'static str) -> Result<f64, FieldError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(FieldError::new(message, field, "a finite number", value))
}

/// Implements the conversions between a type and the generated one, both ways, for types whose fields are all
/// the same; behind a semicolon come those that only differ in name, behind a bar those that are a message of
/// their own, which may be absent.
macro_rules! same_fields {
    ($type:ident, $proto:path {
        $($field:ident),* $(,)? $(; $own:ident: $other:ident)* $(| $message:ident)*
    }) => {
        impl From<$type> for $proto {
            fn from($type { $($field,)* $($own: $other,)* $($message,)* }: $type) -> Self {
                Self { $($field,)* $($other,)* $($message: $message.map(Into::into),)* }
            }
        }

        impl From<$proto> for $type {
            fn from(message: $proto) -> Self {
                Self {
                    $($field: message.$field,)*
                    $($own: message.$other,)*
                    $($message: message.$message.map(Into::into),)*
                }
            }
        }
    };
}
pub(crate) use same_fields;

/// Implements the conversions between an answer and its reply, both ways, for replies whose outcome is a
/// refusal or the one variant named.
macro_rules! answer {
    ($type:ty, proto::$reply:ident, $module:ident::$granted:ident) => {
        impl From<crate::messages::Answer<$type>> for crate::proto::$reply {
            fn from(answer: crate::messages::Answer<$type>) -> Self {
                use crate::proto::$module::Outcome;
                let outcome = match answer {
                    Ok(granted) => Outcome::$granted(granted.into()),
                    Err(refusal) => Outcome::Refusal(refusal.into()),
                };
                Self { outcome: Some(outcome) }
            }
        }

        impl TryFrom<crate::proto::$reply> for crate::messages::Answer<$type> {
            type Error = crate::fields::FieldError;

            fn try_from(reply: crate::proto::$reply) -> Result<Self, Self::Error> {
                use crate::proto::$module::Outcome;
                Ok(match crate::fields::required(reply.outcome, stringify!($reply), "outcome")? {
                    Outcome::$granted(granted) => Ok(granted.try_into()?),
                    Outcome::Refusal(refusal) => Err(refusal.try_into()?),
                })
            }
        }
    };
}
pub(crate) use answer;
