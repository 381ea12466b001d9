//! Clients of the coordinator and of the shards. Both are cheap to clone; clones share one connection.

mod bearer;
mod calls;
mod coordinator;
mod fetch;
pub(crate) mod frames;
mod in_process;
mod pictures;
mod push;
mod shards;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};
use tonic::{Response, Status};

use bearer::Bearer;
pub use calls::{CoordinatorCalls, ShardCalls};
pub use coordinator::CoordinatorClient;
pub use in_process::InProcess;
pub use pictures::LentPicture;
pub use push::Carried;
pub use shards::ShardClient;

use crate::{
    ClientError, Connector, Patience,
    bounds::FETCHES,
    fields::FieldError,
    messages::Answer,
    retry::{Attempts, Failure},
    transport,
};

/// A connection to one server, which reconnects by itself, the token that its calls carry, and the patience
/// with which it is used.
#[derive(Clone, Debug)]
struct Link {
    address: Arc<str>,
    channel: Bearer,
    patience: Patience,
    /// Places for fetches, since a server takes so many calls of one connection at a time.
    fetches: Arc<Semaphore>,
}

impl Link {
    /// Connects to `address`, and waits for a server that is not up yet.
    async fn connect(address: &str, connector: Connector) -> Result<Link, ClientError> {
        let patience = connector.patience;
        let endpoint = transport::endpoint(address, patience.connecting)?;
        let mut attempts = Attempts::new(address, &patience);
        loop {
            match transport::connect(&endpoint, address, &connector).await {
                Ok(channel) => {
                    let channel = Bearer::new(channel, connector.token.as_ref());
                    attempts.progress();
                    let fetches = Arc::new(Semaphore::new(FETCHES));
                    return Ok(Link { address: address.into(), channel, patience, fetches });
                }
                Err(error) => {
                    let status = Status::from_error(Box::new(error));
                    attempts.after(Failure::of(&status, address, "connect")).await?;
                }
            }
        }
    }

    fn attempts(&self) -> Attempts<'_> {
        Attempts::new(&self.address, &self.patience)
    }

    /// Makes one attempt at a call, which must be answered within the deadline.
    async fn within<T>(
        &self,
        call: &'static str,
        deadline: Duration,
        attempt: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match timeout(deadline, attempt).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Failure::of(&status, &self.address, call)),
            Err(_) => Err(Failure::silence(deadline)),
        }
    }

    /// Makes a call with one answer, again and again until it is answered or patience ends.
    async fn call<Reply, T, Attempt>(
        &self,
        call: &'static str,
        deadline: Duration,
        mut attempt: impl FnMut() -> Attempt,
    ) -> Result<T, ClientError>
    where
        Attempt: Future<Output = Result<Response<Reply>, Status>>,
        Answer<T>: TryFrom<Reply, Error = FieldError>,
    {
        let mut attempts = self.attempts();
        loop {
            match self.within(call, deadline, attempt()).await {
                Ok(reply) => {
                    attempts.progress();
                    let answer = Answer::<T>::try_from(reply).map_err(|error| ClientError::Unusable {
                        address: self.address.to_string(),
                        call,
                        reason: error.to_string(),
                    })?;
                    return answer.map_err(ClientError::Refused);
                }
                Err(failure) => attempts.after(failure).await?,
            }
        }
    }
}
