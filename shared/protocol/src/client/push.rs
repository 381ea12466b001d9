//! Pushing of gradients over a bidirectional stream, which is reopened with the requests that have no reply.

use std::collections::VecDeque;

use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{Link, frames};
use crate::{
    ClientError, Wire,
    messages::{push_requests, *},
    proto,
    retry::{Attempts, Failure},
};

/// Path of the method.
const PUSH: &str = "/downpour.v1.Shards/Push";

/// Requests handed to the connection and not yet taken by it.
const QUEUE: usize = 8;

/// Numbers of bytes that one push of gradients to the shards of a process carried in each direction, counting
/// encoded values only; a block that was sent again counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Number of bytes of the encoded gradients of those blocks that have a reply.
    pub sent: u64,
    /// Number of bytes of the encoded parameters in the shards' replies.
    pub received: u64,
}

/// The state of a push that outlives a broken connection.
struct Pushing {
    wire: Wire,
    pushes: mpsc::Receiver<Vec<BlockPush>>,
    /// False once the last push has come.
    more: bool,
    /// Requests without a reply, the oldest first. They share their bytes with the copies being sent.
    outstanding: VecDeque<proto::PushRequest>,
    replies: mpsc::Sender<PushReply>,
    /// Replies that the caller has not taken yet.
    unread: VecDeque<PushReply>,
    carried: Carried,
}

pub(super) async fn push(
    link: &Link,
    wire: Wire,
    pushes: mpsc::Receiver<Vec<BlockPush>>,
    replies: mpsc::Sender<PushReply>,
) -> Result<Carried, ClientError> {
    let mut pushing = Pushing {
        wire,
        pushes,
        more: true,
        outstanding: VecDeque::new(),
        replies,
        unread: VecDeque::new(),
        carried: Carried::default(),
    };
    let mut attempts = link.attempts();
    while let Err(failure) = pushing.stream(link, &mut attempts).await {
        attempts.after(failure).await?;
    }
    Ok(pushing.carried)
}

impl Pushing {
    /// Pushes over one stream, until everything is answered or the stream breaks.
    async fn stream(&mut self, link: &Link, attempts: &mut Attempts<'_>) -> Result<(), Failure> {
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let mut outgoing = Some(outgoing);
        let requests = ReceiverStream::new(queue);
        let opening = frames::call::<_, proto::PushReply>(link.channel.clone(), PUSH, requests);
        let mut incoming = link.within("push", link.patience.control, opening).await?;
        if self.outstanding.is_empty() {
            // There is nothing else by which an idle stream could show that the server is well.
            attempts.progress();
        }
        // The first so many of the outstanding ones have been sent on this stream.
        let mut sent = 0;
        let mut moved = Instant::now();
        let replies = self.replies.clone();
        while self.more || !self.outstanding.is_empty() || !self.unread.is_empty() {
            let all_sent = sent == self.outstanding.len();
            if all_sent && !self.more {
                // Tells the server that this was all.
                outgoing = None;
            }
            // What comes is taken first: there is no more of it than was sent.
            select! {
                biased;
                message = incoming.message(), if self.more || !self.outstanding.is_empty() => match message {
                    Ok(Some(reply)) => {
                        self.take(reply, &mut sent).map_err(|e| Failure::unusable(&link.address, "push", e))?;
                        attempts.progress();
                        moved = Instant::now();
                    }
                    Ok(None) => {
                        let blocks: usize = self.outstanding.iter().map(|request| request.blocks.len()).sum();
                        return Err(Failure::Passing(format!("the stream ended with {blocks} pushes unanswered")));
                    }
                    Err(status) => return Err(Failure::of(&status, &link.address, "push")),
                },
                place = replies.reserve(), if !self.unread.is_empty() => match (place, self.unread.pop_front()) {
                    (Ok(place), Some(reply)) => place.send(reply),
                    // The caller takes no more.
                    _ => self.unread.clear(),
                },
                taken = offer(outgoing.as_ref(), self.outstanding.get(sent)), if !all_sent => match taken {
                    true => sent += 1,
                    // The connection no longer takes anything; the other side of the stream says why.
                    false => outgoing = None,
                },
                group = self.pushes.recv(), if self.more && all_sent => match group {
                    Some(group) => {
                        if self.outstanding.is_empty() {
                            moved = Instant::now();
                        }
                        self.outstanding.extend(push_requests(group, self.wire));
                    }
                    None => self.more = false,
                },
                () = sleep_until(moved + link.patience.stall), if !self.outstanding.is_empty() => {
                    return Err(Failure::silence(link.patience.stall));
                }
            }
        }
        drop(outgoing);
        // Every push has its reply; the end is only waited for so that the stream closes in order, and how it
        // ends no longer matters.
        let _ = timeout(link.patience.control, incoming.message()).await;
        Ok(())
    }

    /// Matches a reply with the oldest request, whose blocks it must answer in their order. The error says
    /// how the reply differs.
    fn take(&mut self, reply: proto::PushReply, sent: &mut usize) -> Result<(), String> {
        let received = reply.value_bytes();
        let replies = reply.blocks.into_iter().map(PushReply::try_from).collect::<Result<Vec<_>, _>>();
        let replies = replies.map_err(|error| error.to_string())?;
        let answered: Vec<u32> = replies.iter().map(|reply| reply.block).collect();
        let oldest = self.outstanding.front().filter(|_| *sent > 0);
        let oldest =
            oldest.ok_or_else(|| format!("a reply for blocks {answered:?}, but nothing waits for one"))?;
        if !oldest.blocks.iter().map(|block| block.block).eq(answered.iter().copied()) {
            let pushed: Vec<u32> = oldest.blocks.iter().map(|block| block.block).collect();
            return Err(format!("a reply for blocks {answered:?}, expected one for blocks {pushed:?}"));
        }
        self.carried.sent += oldest.value_bytes();
        self.carried.received += received;
        self.outstanding.pop_front();
        *sent -= 1;
        self.unread.extend(replies);
        Ok(())
    }
}

/// Puts a copy of the request, which shares its bytes, into the queue: true once it is in, false if the queue
/// is closed. Without a queue or a request it waits forever. If the future is dropped, nothing was put in.
async fn offer(queue: Option<&mpsc::Sender<proto::PushRequest>>, item: Option<&proto::PushRequest>) -> bool {
    match (queue, item) {
        (Some(queue), Some(item)) => queue.send(item.clone()).await.is_ok(),
        _ => std::future::pending().await,
    }
}
