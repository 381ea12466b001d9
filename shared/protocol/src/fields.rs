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
        FieldError { message, field, expected: expected.into(), found: shown(&found.to_string(), MOST_SHOWN) }
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

/// Most bytes of a name: those of a folder's name, which names a class, and one more.
pub(crate) const MOST_NAME: usize = 256;

/// Size in bytes behind which what was found is cut in an error.
const MOST_SHOWN: usize = 512;
/// Characters of a name that are shown in an error.
const MOST_CHARACTERS: usize = 64;

/// Returns a name from a field: of a worker, a class, a tensor, or an address. It has 1 to [`MOST_NAME`]
/// bytes of text in UTF-8 that can stand in one line of a log.
pub(crate) fn name(text: String, message: &'static str, field: &'static str) -> Result<String, FieldError> {
    let fits = (1..=MOST_NAME).contains(&text.len());
    if fits && text.chars().all(printable) {
        return Ok(text);
    }
    let expected = format!("a name of 1 to {MOST_NAME} printable bytes");
    let found = match fits {
        true => format!("{:?}", text.chars().take(MOST_CHARACTERS).collect::<String>()),
        false => format!("{} bytes", text.len()),
    };
    Err(FieldError::new(message, field, expected, found))
}

/// Returns names from a field, of which there may be at most `most`.
pub(crate) fn names(
    texts: Vec<String>,
    most: usize,
    message: &'static str,
    field: &'static str,
) -> Result<Vec<String>, FieldError> {
    listed(texts, most, "names", message, field)?.into_iter().map(|text| name(text, message, field)).collect()
}

/// Whether a character stands in a line without changing what else the line says: neither a control character
/// nor one that breaks a line or turns the direction of the text around it.
fn printable(character: char) -> bool {
    let separates = matches!(character, '\u{2028}' | '\u{2029}');
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !(character.is_control() || separates || turns)
}

/// Returns a text for one line of a log: what is not printable is escaped, and it is cut behind about `most`
/// bytes.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if shown.len() >= most {
            shown.push('…');
            break;
        }
        match character {
            printed if printable(printed) => shown.push(printed),
            other => shown.extend(other.escape_unicode()),
        }
    }
    shown
}

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
