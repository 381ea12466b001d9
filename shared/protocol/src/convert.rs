//! Where generated types become the domain's and back. What came from the network is checked here, field by field.

mod common;
mod coordinator;
pub(crate) mod shards;

use std::fmt::Display;

use crate::Refusal;

/// What a server answers: the thing asked for, or why not.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// A field of a message that does not hold what it should. Public only as far as the generated types are: not
/// outside this crate.
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

/// A request that cannot be read is refused as any other unusable one.
impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Refusal {
        Refusal::Invalid(error.to_string())
    }
}

/// The field's value, which must be there.
fn required<T>(value: Option<T>, message: &'static str, field: &'static str) -> Result<T, FieldError> {
    value.ok_or_else(|| FieldError::new(message, field, "a value", "none"))
}
