//! Fetching of blocks over a server stream, which is reopened for the blocks that are still missing.

use tokio::{sync::mpsc, time::timeout};

use super::{Link, frames};
use crate::{
    ClientError,
    messages::{Answer, BlockValues},
    proto,
    retry::{Attempts, Failure},
};

/// Path of the method.
const FETCH: &str = "/downpour.v1.Shards/Fetch";

/// Fetches the blocks that are `missing`; its list is always of those that have not arrived yet.
pub(super) async fn fetch(
    link: &Link,
    mut missing: proto::FetchRequest,
    values: mpsc::Sender<BlockValues>,
) -> Result<(), ClientError> {
    // Whoever has a place ends by itself, and so does waiting.
    let _place = link.fetches.acquire().await.expect("nobody closes the places");
    let mut attempts = link.attempts();
    while !missing.blocks.is_empty() {
        match stream(link, &mut missing, &values, &mut attempts).await {
            Ok(()) => break,
            Err(failure) => attempts.after(failure).await?,
        }
    }
    Ok(())
}

/// Fetches over one stream, until it ends.
async fn stream(
    link: &Link,
    missing: &mut proto::FetchRequest,
    values: &mpsc::Sender<BlockValues>,
    attempts: &mut Attempts<'_>,
) -> Result<(), Failure> {
    let request = tokio_stream::once(missing.clone());
    let opening = frames::call::<_, proto::FetchReply>(link.channel.clone(), FETCH, request);
    let mut incoming = link.within("fetch", link.patience.control, opening).await?;
    loop {
        let reply = match timeout(link.patience.stall, incoming.message()).await {
            Ok(Ok(Some(reply))) => reply,
            Ok(Ok(None)) if missing.blocks.is_empty() => return Ok(()),
            // Every block is there; how the stream ends no longer matters.
            Ok(Err(_)) | Err(_) if missing.blocks.is_empty() => return Ok(()),
            Ok(Ok(None)) => {
                let reason = format!("the stream ended with {} blocks missing", missing.blocks.len());
                return Err(Failure::Passing(reason));
            }
            Ok(Err(status)) => return Err(Failure::of(&status, &link.address, "fetch")),
            Err(_) => return Err(Failure::silence(link.patience.stall)),
        };
        let answer = Answer::<BlockValues>::try_from(reply)
            .map_err(|error| Failure::unusable(&link.address, "fetch", error))?;
        let block = answer.map_err(|refusal| Failure::Final(ClientError::Refused(refusal)))?;
        // Blocks come in the order asked for, so this looks at the first only.
        let Some(place) = missing.blocks.iter().position(|&number| number == block.block) else {
            let reason = format!("block {} was not asked for, or came twice", block.block);
            return Err(Failure::unusable(&link.address, "fetch", reason));
        };
        missing.blocks.remove(place);
        attempts.progress();
        if values.send(block).await.is_err() {
            return Ok(());
        }
    }
}
