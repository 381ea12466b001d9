//! The client of services in the same process.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{select, sync::mpsc};

use super::{Carried, CoordinatorCalls, ShardCalls};
use crate::{
    ClientError, Coordinator, Shards, Wire,
    messages::{push_requests, *},
    run_blocking,
    server::{answer_push, read_block},
};

/// Name of the server in errors of calls within a process.
const HERE: &str = "this process";

/// A client that calls a coordinator or shards in the same process directly. Gradients and parameters are
/// encoded and decoded as on a network, so that both sides see the same rounded values as there; calls are
/// not retried, since none can be lost.
#[derive(Debug)]
pub struct InProcess<Service: ?Sized> {
    service: Arc<Service>,
    /// Calls so far, of all clones.
    calls: Arc<AtomicU64>,
}

impl<Service: ?Sized> InProcess<Service> {
    /// Makes a client of `service`.
    pub fn new(service: Arc<Service>) -> InProcess<Service> {
        InProcess { service, calls: Arc::default() }
    }

    /// Returns the number of the next call.
    fn number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl<Service: ?Sized> Clone for InProcess<Service> {
    fn clone(&self) -> InProcess<Service> {
        InProcess { service: self.service.clone(), calls: self.calls.clone() }
    }
}

impl<Service: Coordinator + ?Sized> CoordinatorCalls for InProcess<Service> {
    async fn join(&self, request: JoinRequest) -> Result<JoinReply, ClientError> {
        self.service.join(request).map_err(ClientError::Refused)
    }

    async fn assign(&self, member: Member) -> Result<Assignment, ClientError> {
        self.service.assign(member, self.number()).map_err(ClientError::Refused)
    }

    async fn report(&self, report: Report) -> Result<Option<Ending>, ClientError> {
        self.service.report(report, self.number()).map_err(ClientError::Refused)
    }

    async fn register(&self, request: RegisterRequest) -> Result<RegisterReply, ClientError> {
        self.service.register(request).map_err(ClientError::Refused)
    }

    async fn status(&self) -> Result<RunStatus, ClientError> {
        Ok(self.service.status())
    }

    async fn overview(&self) -> Result<Overview, ClientError> {
        Ok(self.service.overview())
    }

    async fn steer(&self, order: Steering) -> Result<Steered, ClientError> {
        self.service.steer(order, Caller::default()).map_err(ClientError::Refused)
    }
}

impl<Service: Shards + ?Sized> ShardCalls for InProcess<Service> {
    async fn adopt(&self, request: AdoptRequest) -> Result<AdoptReply, ClientError> {
        let service = self.service.clone();
        run_blocking(move || service.adopt(request)).await.map_err(panicked)?.map_err(ClientError::Refused)
    }

    async fn order(&self, life: Life, order: ShardOrder) -> Result<Vec<ShardStatus>, ClientError> {
        let service = self.service.clone();
        run_blocking(move || service.order(life, order))
            .await
            .map_err(panicked)?
            .map_err(ClientError::Refused)
    }

    async fn status(&self) -> Result<Vec<ShardStatus>, ClientError> {
        Ok(self.service.status())
    }

    async fn push(
        &self,
        wire: Wire,
        mut pushes: mpsc::Receiver<Vec<BlockPush>>,
        replies: mpsc::Sender<PushReply>,
    ) -> Result<Carried, ClientError> {
        let mut carried = Carried::default();
        let (mut more, mut unread) = (true, VecDeque::new());
        while more || !unread.is_empty() {
            select! {
                group = pushes.recv(), if more => match group {
                    Some(group) => for request in push_requests(group, wire) {
                        carried.sent += request.value_bytes();
                        let reply = answer_push(&*self.service, request);
                        carried.received += reply.value_bytes();
                        for block in reply.blocks {
                            unread.push_back(PushReply::try_from(block).map_err(|e| unusable("push", e))?);
                        }
                    },
                    None => more = false,
                },
                place = replies.reserve(), if !unread.is_empty() => match (place, unread.pop_front()) {
                    (Ok(place), Some(reply)) => place.send(reply),
                    // The caller takes no more.
                    _ => unread.clear(),
                },
            }
        }
        Ok(carried)
    }

    async fn fetch(
        &self,
        request: FetchRequest,
        values: mpsc::Sender<BlockValues>,
    ) -> Result<(), ClientError> {
        for &block in &request.blocks {
            let block = read_block(&*self.service, block, &request).map_err(ClientError::Refused)?;
            let block = BlockValues::try_from(block).map_err(|error| unusable("fetch", error))?;
            if values.send(block).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Makes the error of a call that panicked in the service.
fn panicked(error: tokio::task::JoinError) -> ClientError {
    ClientError::Refused(Refusal::Internal(error.to_string()))
}

/// Makes the error of an answer that cannot be read.
fn unusable(call: &'static str, reason: impl ToString) -> ClientError {
    ClientError::Unusable { address: HERE.into(), call, reason: reason.to_string() }
}
