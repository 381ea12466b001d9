//! Errors of calls and of serving, distinguished as far as callers need.

use crate::Refusal;

/// Reasons why a call to a server failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A refusal by the server, which the client never retries.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer within the client's patience.
    #[error(
        "cannot reach {address}: tried for {seconds} s, last: {last}; check that the server runs there and that \
         this machine can reach it, then start again"
    )]
    Unreachable {
        /// Address of the server, "host:port".
        address: String,
        /// Time for which the client tried, in seconds.
        seconds: u64,
        /// Cause of the failure of the last attempt.
        last: String,
    },
    /// An address that is not of the form "host:port".
    #[error("address {address:?} is not usable: {reason}; expected host:port, as 127.0.0.1:7070")]
    Address {
        /// The address as it was given.
        address: String,
        /// The reason why the address cannot be used.
        reason: String,
    },
    /// An answer that breaks the protocol, or a call that the server does not know.
    #[error(
        "{address} answered {call} with something unusable: {reason}; check that both sides are the same version"
    )]
    Unusable {
        /// Address of the server, "host:port".
        address: String,
        /// Name of the call, such as "join".
        call: &'static str,
        /// The reason why the answer cannot be used.
        reason: String,
    },
    /// A server that does not let this process make the call, since its token is missing, of another run or
    /// of another role. The client never tries again.
    #[error("{address} does not let this process make the call {call}: {reason}")]
    Denied {
        /// Address of the server, "host:port".
        address: String,
        /// Name of the call, such as "join".
        call: &'static str,
        /// What the server expected and found, and what to do.
        reason: String,
    },
    /// A process at the server's address that is not the server that the token is for. The client never
    /// tries again.
    #[error("{address} is not the server that the token is for: {reason}; check address and token")]
    Untrusted {
        /// Address of the process, "host:port".
        address: String,
        /// What shows that it is not the server.
        reason: String,
    },
    /// A server that cannot be reached, or whose health service reports that it does not serve.
    #[error(
        "{address} does not serve: expected status SERVING, found {found}; a server that is starting or being \
         stopped answers so, its log says which"
    )]
    NotServing {
        /// Address of the server, "host:port".
        address: String,
        /// Health status of the server, or the reason why it did not answer.
        found: String,
    },
}

impl ClientError {
    /// Returns the server's refusal, if the error is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            ClientError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// An error: a server stopped serving before it was asked to shut down.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve on {address}: {reason}")]
pub struct ServeError {
    /// Address that was served, "host:port".
    pub(crate) address: String,
    /// Cause of the failure.
    pub(crate) reason: String,
}
