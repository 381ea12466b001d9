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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{messages::*, proto};

    /// The text with which a message is turned down.
    fn error<T, M: TryInto<T, Error = FieldError>>(message: M) -> String {
        match message.try_into() {
            Ok(_) => panic!("expected an error, found a usable message"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_reply_without_an_outcome_names_it() {
        let texts = [
            error::<Answer<JoinReply>, _>(proto::JoinReply::default()),
            error::<Answer<Assignment>, _>(proto::AssignReply::default()),
            error::<Answer<Option<Ending>>, _>(proto::ReportReply::default()),
            error::<Answer<RegisterReply>, _>(proto::RegisterReply::default()),
            error::<Answer<AdoptReply>, _>(proto::AdoptReply::default()),
            error::<Answer<Vec<ShardStatus>>, _>(proto::OrderReply::default()),
            error::<Answer<BlockValues>, _>(proto::FetchReply::default()),
            error::<PushReply, _>(proto::BlockReply::default()),
        ];
        for text in texts {
            assert!(text.ends_with("Reply.outcome: expected a value, found none"), "{text}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_field() {
        let refusal = proto::Refusal { reason: 6, text: "why".into() };
        assert_eq!(error::<Refusal, _>(refusal), "Refusal.reason: expected 1 to 5, found 6");
        let ending = proto::Ending { how: 0, text: String::new() };
        assert_eq!(error::<Ending, _>(ending), "Ending.how: expected 1 to 4, found 0");

        let outcome =
            proto::adopt_reply::Outcome::Adopted(proto::Adopted { fingerprint: vec![0; 31].into() });
        let text = error::<Answer<AdoptReply>, _>(proto::AdoptReply { outcome: Some(outcome) });
        assert_eq!(text, "Adopted.fingerprint: expected 32 bytes, found 31 bytes");

        let lease = proto::Lease { id: 1, epoch: 0, start: 9, end: 8 };
        let outcome = proto::assign_reply::Outcome::Train(lease);
        let text = error::<Answer<Assignment>, _>(proto::AssignReply { outcome: Some(outcome) });
        assert_eq!(text, "Lease.end: expected at least start (9), found 8");

        let status = proto::StatusReply { configuration: "{\"recipe\": 3}".into(), ..Default::default() };
        let text = error::<Answer<RunStatus>, _>(status);
        assert!(
            text.starts_with(
                "StatusReply.configuration: expected a run configuration as JSON, found invalid type"
            ),
            "{text}"
        );

        let block = proto::BlockValues {
            block: 1,
            version: Some(Version::default().into()),
            wire: proto::Wire::Bf16.into(),
            values: vec![0; 5].into(),
        };
        let outcome = proto::fetch_reply::Outcome::Block(block);
        let text = error::<Answer<BlockValues>, _>(proto::FetchReply { outcome: Some(outcome) });
        assert_eq!(text, "BlockValues.values: expected a multiple of 2 bytes, found 5 bytes");
    }
}
