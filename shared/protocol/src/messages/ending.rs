//! The ways in which a run ends.

use crate::{fields::FieldError, proto};

/// Largest loss of a minibatch; a run with a larger one counts as diverged. No network recovers from such a
/// loss, whose gradients shards refuse.
pub const LARGEST_LOSS: f32 = 1e12;

/// The way in which a run ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Ending {
    /// Completion: the run has trained on all of its samples, and the final evaluation is done.
    Completed,
    /// Divergence: a loss was not finite or above [`LARGEST_LOSS`], or too many pushes were refused; the text
    /// says which learning rate to try.
    Diverged(String),
    /// Failure: the data or the settings do not let the run go on, as when over 5 % of the images are
    /// unreadable; the text says what to do.
    Failed(String),
    /// Interruption: the server is being stopped, and the run can be resumed.
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
