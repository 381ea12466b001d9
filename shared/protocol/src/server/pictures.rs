//! The gRPC service that lends photographs. Its calls read from a disk, so they run on threads that may wait.

use std::sync::Arc;

use tokio::{
    select,
    sync::{mpsc, watch},
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    budget::Budget,
    queue::{Queue, Queued},
    reply_blocking, stopped,
};
use crate::{
    Pictures, Refusal,
    messages::{Answer, LabelsRequest, LentData, PIECE, PicturePiece, ReadRequest},
    proto::{self, pictures_server},
    run_blocking,
};

/// The photographs that a server lends, if it lends any.
pub(super) struct PicturesService {
    pub(super) pictures: Option<Arc<dyn Pictures>>,
    /// Room for the answers that wait to be sent.
    pub(super) sent: Arc<Budget>,
    pub(super) stopping: watch::Receiver<bool>,
}

impl PicturesService {
    fn lent(&self) -> Answer<Arc<dyn Pictures>> {
        self.pictures.clone().ok_or_else(|| Refusal::Invalid("this server lends no photographs".into()))
    }
}

#[async_trait]
impl pictures_server::Pictures for PicturesService {
    type ReadStream = Queue<proto::ReadReply>;

    async fn describe(
        &self,
        _: Request<proto::DescribeRequest>,
    ) -> Result<Response<proto::DescribeReply>, Status> {
        let pictures = self.pictures.clone();
        let described = move || pictures.map(|pictures| pictures.describe()).transpose();
        let answer: Answer<Option<LentData>> =
            run_blocking(described).await.unwrap_or_else(|error| Err(Refusal::Internal(error.to_string())));
        Ok(Response::new(answer.into()))
    }

    async fn labels(
        &self,
        request: Request<proto::LabelsRequest>,
    ) -> Result<Response<proto::LabelsReply>, Status> {
        let pictures = self.lent();
        reply_blocking(request, move |asked: LabelsRequest| pictures?.labels(asked)).await
    }

    async fn read(&self, request: Request<proto::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let (replies, stream) = Queue::new();
        let asked = ReadRequest::try_from(request.into_inner()).map_err(Refusal::from);
        let sending = Sending {
            asked: self.lent().and_then(|pictures| Ok((pictures, asked?))),
            sent: self.sent.clone(),
            stopping: self.stopping.clone(),
            replies,
        };
        tokio::spawn(sending.send());
        Ok(Response::new(stream))
    }
}

/// The files of one request on their way out.
struct Sending {
    asked: Answer<(Arc<dyn Pictures>, ReadRequest)>,
    sent: Arc<Budget>,
    stopping: watch::Receiver<bool>,
    replies: mpsc::Sender<Queued<proto::ReadReply>>,
}

impl Sending {
    /// Sends the pieces of the files as fast as the client takes them.
    async fn send(mut self) {
        let (pictures, request) = match self.asked.clone() {
            Ok(asked) => asked,
            Err(refusal) => {
                let _ = self.place(|| async { Err(refusal) }).await;
                return;
            }
        };
        for &image in &request.images {
            let mut offset = 0;
            loop {
                let (pictures, validation) = (pictures.clone(), request.validation);
                let read = move || pictures.read(validation, image, offset);
                let read = || async {
                    run_blocking(read).await.unwrap_or_else(|error| Err(Refusal::Internal(error.to_string())))
                };
                match self.place(read).await {
                    Some(Next::Piece(bytes)) => offset += bytes,
                    Some(Next::Picture) => break,
                    None => return,
                }
            }
        }
    }

    /// Waits for a place and for room, and only then makes the answer and sends it; says what is next, if
    /// anything is.
    async fn place<Made>(&mut self, make: impl FnOnce() -> Made) -> Option<Next>
    where
        Made: Future<Output = Answer<PicturePiece>>,
    {
        let place = select! {
            biased;
            status = stopped(&mut self.stopping) => {
                let _ = self.replies.try_send(Err(status));
                return None;
            }
            place = self.replies.reserve() => place.ok()?,
        };
        let mut held = match self.sent.clone().take(PIECE).await {
            Ok(held) => held,
            Err(status) => {
                place.send(Err(status));
                return None;
            }
        };
        let answer = make().await;
        let bytes = answer.as_ref().map_or(0, |piece| piece.bytes.len());
        let next = match &answer {
            Ok(PicturePiece { end: None, .. }) => Some(Next::Piece(bytes as u64)),
            Ok(PicturePiece { end: Some(_), .. }) => Some(Next::Picture),
            Err(_) => None,
        };
        held.shrink(bytes);
        place.send(Ok((answer.into(), held)));
        next
    }
}

/// Place in a request at which sending goes on.
enum Next {
    /// The piece of the same file behind so many bytes.
    Piece(u64),
    /// The next file.
    Picture,
}
