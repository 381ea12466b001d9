//! How a run ends.

use crate::{fields::FieldError, proto};

/// Largest loss of a minibatch before the run counts as diverged. No network recovers from such a loss, whose
/// gradients are those that shards refuse.
pub const LARGEST_LOSS: f32 = 1e12;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Ending {
    /// All samples used, final evaluation done.
    Completed,
    /// A loss was not finite or far too large, or too many pushes were refused; the text says which rate to
    /// try.
    Diverged(String),
    /// The run cannot go on with what it was given, such as images of which over 5 % are unreadable; the text
    /// says what to do.
    Failed(String),
    /// The server is being stopped; the run can be resumed.
    Interrupted,
}

impl From<Ending> for proto::Ending {
    fn from(ending: Ending) -> proto::Ending {
        use proto::ending::How;
        let (how, text) = match ending {
            Ending::Completed => (How::Completed, String::new()),
            Ending::Diverged(text) => (How::Diverged, text),
            Ending::Failed(text) => (How::Failed, text),
            Ending::Interrupted => (How::Interrupted, String::new()),
        };
        proto::Ending { how: how.into(), text }
    }
}

impl TryFrom<proto::Ending> for Ending {
    type Error = FieldError;

    fn try_from(ending: proto::Ending) -> Result<Ending, FieldError> {
        use proto::ending::How;
        match How::try_from(ending.how) {
            Ok(How::Completed) => Ok(Ending::Completed),
            Ok(How::Diverged) => Ok(Ending::Diverged(ending.text)),
            Ok(How::Failed) => Ok(Ending::Failed(ending.text)),
            Ok(How::Interrupted) => Ok(Ending::Interrupted),
            Ok(How::Unspecified) | Err(_) => Err(FieldError::new("Ending", "how", "1 to 4", ending.how)),
        }
    }
}
