//! The gRPC servers of the services.

pub(crate) mod activity;
mod arriving;
mod bounded;
mod budget;
pub(crate) mod guard;
mod leaving;
mod permissions;
mod pictures;
mod queue;
mod refusals;
mod steerers;
#[cfg(test)]
mod tests;

use std::{
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use access::{Access, Credentials};
use parameters::BLOCK_VALUES;
use tokio::{
    select,
    sync::{mpsc, oneshot, watch},
    time::sleep,
};
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::{
    Coordinator, Listener, Refusal, Room, ServeError, Shards,
    bounds::MESSAGE,
    codec,
    fields::FieldError,
    health,
    incoming::{Entrance, Incoming},
    messages::{Answer, ArrivedBlock, arrived_blocks, block_reply, fetch_reply, write_block, *},
    proto::{self, access_server, coordinator_server, pictures_server, shards_server},
    run_blocking,
    server::{
        bounded::{Bounded, Budgets},
        budget::Budget,
        guard::{Door, Guard},
        pictures::PicturesService,
        queue::{Queue, Queued},
    },
    tls, transport,
};

pub use steerers::Steerers;

/// Time for which calls may go on after shutdown was requested.
const GRACE: Duration = Duration::from_secs(5);

/// Number of bytes of the values of the largest block.
const LARGEST_BLOCK: usize = size_of::<f32>() * BLOCK_VALUES;

/// Serves a coordinator, with the photographs that it lends, shards or both on `listener` until `shutdown`
/// completes, with the health service beside them, which reports SERVING if there are shards. `access` says
/// who may call; the health service is there for everybody.
///
/// After `shutdown` no connection is accepted, streams of blocks end between two blocks (their clients resume
/// them at a restarted server), and calls that have begun are answered, all within 5 s.
///
/// # Errors
/// If the certificate of `access` cannot be used; the text names the listener's address.
pub async fn serve(
    listener: impl Listener,
    access: Access,
    coordinator: Option<Arc<dyn Coordinator>>,
    shards: Option<Arc<dyn Shards>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    serve_within(Room::default(), listener, access, coordinator, shards, shutdown).await
}

/// Serves as [`serve`] does, with another room for the messages of all connections.
///
/// # Errors
/// If the certificate of `access` cannot be used; the text names the listener's address.
pub async fn serve_within(
    room: Room,
    listener: impl Listener,
    access: Access,
    coordinator: Option<Arc<dyn Coordinator>>,
    shards: Option<Arc<dyn Shards>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_or_else(|_| "its address".into(), |address| address.to_string());
    let entrance = match &access {
        Access::Open => None,
        Access::Tokens(credentials) => {
            let acceptor = tls::acceptor(credentials)
                .map_err(|reason| ServeError { address: address.clone(), reason })?;
            Some(Entrance { acceptor, door: Arc::new(Door::new(credentials.clone())) })
        }
    };
    let budgets = Budgets::new(room);
    let sent = budgets.sent.clone();
    let guard = Guard(entrance.as_ref().map(|entrance| entrance.door.clone()));
    let (stop, stopping) = watch::channel(false);
    let access = coordinator.is_some().then(|| access_server::AccessServer::new(AccessService(access)));
    let pictures = coordinator.as_ref().map(|coordinator| {
        let (pictures, sent, stopping) = (coordinator.pictures(), sent.clone(), stopping.clone());
        pictures_server::PicturesServer::new(PicturesService { pictures, sent, stopping })
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE)
    });
    let coordinator = coordinator.map(|service| {
        coordinator_server::CoordinatorServer::new(CoordinatorService(service))
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE)
    });
    let shards = shards.map(|service| {
        shards_server::ShardsServer::new(ShardsService { shards: service, sent, stopping })
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE)
    });
    let (reporter, health) = health::service(shards.is_some()).await;
    let (asked, was_asked) = oneshot::channel();
    let shutdown = async {
        shutdown.await;
        health::withdraw(reporter).await;
        stop.send_replace(true);
        // Nobody listens only if serving has ended already.
        let _ = asked.send(());
    };
    let serving = transport::server()
        .layer(guard)
        .layer(Bounded::new(budgets))
        .add_service(health)
        .add_optional_service(access)
        .add_optional_service(coordinator)
        .add_optional_service(pictures)
        .add_optional_service(shards)
        .serve_with_incoming_shutdown(Incoming::new(listener, entrance), shutdown);
    let grace = async {
        match was_asked.await {
            Ok(()) => sleep(GRACE).await,
            Err(_) => pending().await,
        }
    };
    select! {
        served = serving => served.map_err(|error| ServeError { address, reason: error.to_string() }),
        () = grace => Ok(()),
    }
}

/// Reads a request, makes the call that it asks for, and makes a reply of the answer.
fn reply<Message, Asked, Granted, Reply>(
    request: Request<Message>,
    call: impl FnOnce(Asked) -> Answer<Granted>,
) -> Result<Response<Reply>, Status>
where
    Asked: TryFrom<Message, Error = FieldError>,
    Reply: From<Answer<Granted>>,
{
    let answer = Asked::try_from(request.into_inner()).map_err(Refusal::from).and_then(call);
    Ok(Response::new(answer.into()))
}

/// Replies to a call that takes long, which is made on a thread of its own.
async fn reply_blocking<Message, Asked, Granted, Reply>(
    request: Request<Message>,
    call: impl FnOnce(Asked) -> Answer<Granted> + Send + 'static,
) -> Result<Response<Reply>, Status>
where
    Asked: TryFrom<Message, Error = FieldError> + Send + 'static,
    Granted: Send + 'static,
    Reply: From<Answer<Granted>>,
{
    let asked = Asked::try_from(request.into_inner());
    let answer = run_blocking(move || call(asked?)).await;
    let answer = answer.unwrap_or_else(|error| Err(Refusal::Internal(error.to_string())));
    Ok(Response::new(answer.into()))
}

/// The gRPC service by which the server's other processes learn whom to let in.
struct AccessService(Access);

#[async_trait]
impl access_server::Access for AccessService {
    async fn credentials(
        &self,
        _: Request<proto::CredentialsRequest>,
    ) -> Result<Response<proto::CredentialsReply>, Status> {
        let answer: Answer<Credentials> = match &self.0 {
            Access::Tokens(credentials) => Ok(credentials.clone()),
            Access::Open => Err(Refusal::Mismatch(
                "the server's first process was started with --insecure; start the others with it too, or none"
                    .into(),
            )),
        };
        Ok(Response::new(answer.into()))
    }
}

/// The coordinator's gRPC service. Its calls are short and do not wait, so they run on the thread that serves
/// the network.
struct CoordinatorService(Arc<dyn Coordinator>);

#[async_trait]
impl coordinator_server::Coordinator for CoordinatorService {
    async fn join(&self, request: Request<proto::JoinRequest>) -> Result<Response<proto::JoinReply>, Status> {
        reply(request, |request| self.0.join(request))
    }

    async fn assign(
        &self,
        request: Request<proto::AssignRequest>,
    ) -> Result<Response<proto::AssignReply>, Status> {
        reply(request, |(member, call)| self.0.assign(member, call))
    }

    async fn report(
        &self,
        request: Request<proto::ReportRequest>,
    ) -> Result<Response<proto::ReportReply>, Status> {
        reply(request, |(report, call)| self.0.report(report, call))
    }

    async fn register(
        &self,
        request: Request<proto::RegisterRequest>,
    ) -> Result<Response<proto::RegisterReply>, Status> {
        reply(request, |request| self.0.register(request))
    }

    async fn status(&self, _: Request<proto::StatusRequest>) -> Result<Response<proto::StatusReply>, Status> {
        Ok(Response::new(self.0.status().into()))
    }

    async fn overview(
        &self,
        _: Request<proto::OverviewRequest>,
    ) -> Result<Response<proto::OverviewReply>, Status> {
        Ok(Response::new(self.0.overview().into()))
    }

    async fn steer(
        &self,
        request: Request<proto::SteerRequest>,
    ) -> Result<Response<proto::SteerReply>, Status> {
        let caller = guard::caller(request.extensions());
        reply(request, |order| self.0.steer(order, caller))
    }
}

struct ShardsService {
    shards: Arc<dyn Shards>,
    /// Room for the answers that wait to be sent.
    sent: Arc<Budget>,
    stopping: watch::Receiver<bool>,
}

#[async_trait]
impl shards_server::Shards for ShardsService {
    type PushStream = Queue<proto::PushReply>;
    type FetchStream = Queue<proto::FetchReply>;

    async fn adopt(
        &self,
        request: Request<proto::AdoptRequest>,
    ) -> Result<Response<proto::AdoptReply>, Status> {
        let shards = self.shards.clone();
        // An empty shard draws its initial values.
        reply_blocking(request, move |request| shards.adopt(request)).await
    }

    async fn push(
        &self,
        request: Request<Streaming<proto::PushRequest>>,
    ) -> Result<Response<Self::PushStream>, Status> {
        let (replies, stream) = Queue::new();
        let (shards, sent, stopping) = (self.shards.clone(), self.sent.clone(), self.stopping.clone());
        tokio::spawn(answer_pushes(shards, sent, stopping, request.into_inner(), replies));
        Ok(Response::new(stream))
    }

    async fn fetch(
        &self,
        request: Request<proto::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let (values, stream) = Queue::new();
        let (shards, sent, stopping) = (self.shards.clone(), self.sent.clone(), self.stopping.clone());
        tokio::spawn(send_blocks(shards, sent, stopping, request.into_inner(), values));
        Ok(Response::new(stream))
    }

    async fn order(
        &self,
        request: Request<proto::OrderRequest>,
    ) -> Result<Response<proto::OrderReply>, Status> {
        let shards = self.shards.clone();
        reply_blocking(request, move |(life, order)| shards.order(life, order)).await
    }

    async fn status(
        &self,
        _: Request<proto::ShardStatusRequest>,
    ) -> Result<Response<proto::ShardStatusReply>, Status> {
        Ok(Response::new(self.shards.status().into()))
    }
}

/// Applies the pushes of one stream, one after the other.
async fn answer_pushes(
    shards: Arc<dyn Shards>,
    sent: Arc<Budget>,
    mut stopping: watch::Receiver<bool>,
    mut pushes: Streaming<proto::PushRequest>,
    replies: mpsc::Sender<Queued<proto::PushReply>>,
) {
    loop {
        let push = select! {
            biased;
            status = stopped(&mut stopping) => Err(status),
            push = pushes.message() => match push {
                Ok(Some(push)) => Ok(push),
                Ok(None) => return,
                Err(status) => Err(status),
            },
        };
        let Ok(place) = replies.reserve().await else { return };
        let reply = match push {
            Ok(push) => match push.reply_bytes() {
                // Few bytes may stand for many values: what nobody could send is not made.
                bytes if bytes > MESSAGE => Err(Status::out_of_range(format!(
                    "PushRequest.blocks: expected at most {MESSAGE} bytes of their parameters, found {bytes}"
                ))),
                bytes => sent.clone().take(bytes).await.map(|held| (push, held)),
            },
            Err(status) => Err(status),
        };
        let last = reply.is_err();
        place.send(reply.map(|(push, mut held)| {
            let answer = answer_push(&*shards, push);
            held.shrink(answer.value_bytes() as usize);
            (answer, held)
        }));
        if last {
            return;
        }
    }
}

/// Applies the blocks of one request. If its number format is unknown, every block is refused, and the format
/// of the reply does not matter.
pub(crate) fn answer_push(shards: &(impl Shards + ?Sized), request: proto::PushRequest) -> proto::PushReply {
    let wire = codec::any_format(request.wire, "PushRequest").unwrap_or(Wire::F32);
    let answer = |ArrivedBlock { shard, block, bytes, push }| {
        let usable = push.is_ok();
        let reply = match push {
            Ok(push) => shards.push(push),
            Err(error) => PushReply { block, outcome: Err(Refusal::from(error)), staleness: 0 },
        };
        let reply = block_reply(reply, wire);
        if usable {
            shards.carried(shard, bytes as u64, reply.value_bytes());
        }
        reply
    };
    proto::PushReply { blocks: arrived_blocks(request).map(answer).collect() }
}

/// Reads one block of those that are asked for, and encodes it.
pub(crate) fn read_block(
    shards: &(impl Shards + ?Sized),
    block: u32,
    &FetchRequest { shard, kind, wire, life, .. }: &FetchRequest,
) -> Answer<proto::BlockValues> {
    let block = write_block(shards.fetch(life, shard, block, kind)?, wire);
    shards.carried(shard, 0, block.values.len() as u64);
    Ok(block)
}

/// Sends the blocks of one fetch as fast as the client takes them.
async fn send_blocks(
    shards: Arc<dyn Shards>,
    sent: Arc<Budget>,
    mut stopping: watch::Receiver<bool>,
    request: proto::FetchRequest,
    values: mpsc::Sender<Queued<proto::FetchReply>>,
) {
    let (blocks, asked) = (request.blocks.clone(), FetchRequest::try_from(request).map_err(Refusal::from));
    for block in blocks {
        // A place and room first: a block is read when it can be sent, and not older than that.
        let place = select! {
            biased;
            status = stopped(&mut stopping) => {
                let _ = values.try_send(Err(status));
                return;
            }
            place = values.reserve() => place,
        };
        let Ok(place) = place else { return };
        let mut held = match sent.clone().take(LARGEST_BLOCK).await {
            Ok(held) => held,
            Err(status) => return place.send(Err(status)),
        };
        let reply = asked.as_ref().map_err(Refusal::clone);
        let reply = reply.and_then(|asked| read_block(&*shards, block, asked));
        let last = reply.is_err();
        held.shrink(reply.as_ref().map_or(0, |block| block.values.len()));
        place.send(Ok((fetch_reply(reply), held)));
        if last {
            return;
        }
    }
}

/// Waits until the server is being stopped; returns the status that its streams end with.
async fn stopped(stopping: &mut watch::Receiver<bool>) -> Status {
    // The sender goes away only with the server.
    let _ = stopping.wait_for(|&stopping| stopping).await;
    Status::unavailable("the server is being stopped")
}
