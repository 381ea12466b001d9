//! Patience.
use std::time::Duration;
/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long a server may be out of reach before the call gives up.
    pub give_up_after: Duration,
}
impl Default for Patience {
    fn default() -> Patience {
        Patience { give_up_after: Duration::from_secs(300) }
    }
}
