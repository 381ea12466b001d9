//! The client of the coordinator.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use access::Credentials;

use super::{CoordinatorCalls, Link, bearer::Bearer};
use crate::{
    ClientError, Connector,
    bounds::MESSAGE,
    messages::*,
    proto::{self, access_client, coordinator_client},
};

/// A client that calls the coordinator of a run, which admits workers and gives them work, over the network.
///
/// Each call is retried until it is answered or [`Patience`](crate::Patience) runs out; a [`Refusal`] is
/// returned at once.
#[derive(Clone, Debug)]
pub struct CoordinatorClient {
    pub(super) link: Link,
    /// Calls so far; the number of a call tells it from its own repetition.
    calls: Arc<AtomicU64>,
}

impl CoordinatorClient {
    /// Connects to `address` ("host:port"), and waits for a server that has not started yet.
    ///
    /// # Errors
    /// [`ClientError::Address`] if `address` is not of the form "host:port"; [`ClientError::Unreachable`] if
    /// the [`Patience`](crate::Patience) of `connector` runs out before the server answers.
    pub async fn connect(
        address: &str,
        connector: impl Into<Connector>,
    ) -> Result<CoordinatorClient, ClientError> {
        Ok(CoordinatorClient { link: Link::connect(address, connector.into()).await?, calls: Arc::default() })
    }

    fn client(&self) -> coordinator_client::CoordinatorClient<Bearer> {
        coordinator_client::CoordinatorClient::new(self.link.channel.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE)
    }

    /// Asks for what a further process of the server needs in order to let its own callers in.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server's access is open; another error if the call gets no answer, or
    /// if the token of the connection is not that of a server process.
    pub async fn credentials(&self) -> Result<Credentials, ClientError> {
        let attempt = || {
            let mut client = access_client::AccessClient::new(self.link.channel.clone());
            async move { client.credentials(proto::CredentialsRequest {}).await }
        };
        self.link.call("credentials", self.link.patience.control, attempt).await
    }

    /// The number of the next call: all of its attempts have it.
    fn number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl CoordinatorCalls for CoordinatorClient {
    async fn join(&self, request: JoinRequest) -> Result<JoinReply, ClientError> {
        let request = proto::JoinRequest::from(request);
        let attempt = || {
            let (mut client, request) = (self.client(), request.clone());
            async move { client.join(request).await }
        };
        self.link.call("join", self.link.patience.control, attempt).await
    }

    async fn assign(&self, member: Member) -> Result<Assignment, ClientError> {
        let request = proto::AssignRequest::from((member, self.number()));
        let attempt = || {
            let mut client = self.client();
            async move { client.assign(request).await }
        };
        self.link.call("assign", self.link.patience.control, attempt).await
    }

    async fn report(&self, report: Report) -> Result<Option<Ending>, ClientError> {
        let request = proto::ReportRequest::from((report, self.number()));
        let attempt = || {
            let (mut client, request) = (self.client(), request.clone());
            async move { client.report(request).await }
        };
        self.link.call("report", self.link.patience.control, attempt).await
    }

    async fn register(&self, request: RegisterRequest) -> Result<RegisterReply, ClientError> {
        let request = proto::RegisterRequest::from(request);
        let attempt = || {
            let (mut client, request) = (self.client(), request.clone());
            async move { client.register(request).await }
        };
        self.link.call("register", self.link.patience.control, attempt).await
    }

    async fn status(&self) -> Result<RunStatus, ClientError> {
        let attempt = || {
            let mut client = self.client();
            async move { client.status(proto::StatusRequest {}).await }
        };
        self.link.call("status", self.link.patience.control, attempt).await
    }

    async fn overview(&self) -> Result<Overview, ClientError> {
        let attempt = || {
            let mut client = self.client();
            async move { client.overview(proto::OverviewRequest {}).await }
        };
        self.link.call("overview", self.link.patience.control, attempt).await
    }

    async fn steer(&self, order: Steering) -> Result<Steered, ClientError> {
        let request = proto::SteerRequest::from(order);
        let attempt = || {
            let mut client = self.client();
            async move { client.steer(request).await }
        };
        self.link.call("steer", self.link.patience.control, attempt).await
    }
}
