//! The calls to the photographs that the coordinator's process lends.

use tokio::time::timeout;

use super::{CoordinatorClient, Link, bearer::Bearer, frames};
use crate::{
    ClientError,
    bounds::MESSAGE,
    messages::{Answer, LARGEST_PICTURE, LabelsRequest, LentData, PictureEnd, PicturePiece, ReadRequest},
    proto::{self, pictures_client},
    retry::{Attempts, Failure},
};

/// Path of the method that reads files.
const READ: &str = "/downpour.v1.Pictures/Read";
/// Name of that call in errors.
const CALL: &str = "read pictures";

/// The file of an image as it came from its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LentPicture {
    /// Number of the image in its split.
    pub image: u32,
    /// Path of the file on the machine that lends it, for people.
    pub name: String,
    /// Bytes of the file, or the reason why its holder could not read it.
    pub bytes: Result<Vec<u8>, String>,
}

impl CoordinatorClient {
    /// Asks what photographs the coordinator's process lends; `None` if it lends none.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Refusal::NotReady`](crate::Refusal::NotReady) while it still looks at
    /// its data folder (ask again), or if it cannot use it; another error if the call gets no answer.
    pub async fn lent_data(&self) -> Result<Option<LentData>, ClientError> {
        let attempt = || {
            let mut client = self.link.pictures();
            async move { client.describe(proto::DescribeRequest {}).await }
        };
        self.link.call("describe pictures", self.link.patience.control, attempt).await
    }

    /// Asks for labels of the photographs that are lent, from that of one image on; those behind them are asked
    /// for by further calls.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for an image that there is not; another error if the call gets no answer.
    pub async fn lent_labels(&self, request: LabelsRequest) -> Result<Vec<u32>, ClientError> {
        let attempt = || {
            let mut client = self.link.pictures();
            async move { client.labels(proto::LabelsRequest::from(request)).await }
        };
        self.link.call("labels of pictures", self.link.patience.control, attempt).await
    }

    /// Reads the files of some images, of which there may be at most
    /// [`MOST_PICTURES`](crate::MOST_PICTURES), and hands each to `take`, in the order of the request. After a
    /// broken connection those are asked for again that have not arrived.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Refusal::NotReady`](crate::Refusal::NotReady) while the data folder of
    /// the holder is away; another refusal for images that there are not; [`ClientError::Unreachable`] when the
    /// client's [`Patience`](crate::Patience) runs out.
    pub async fn read_lent(
        &self,
        request: ReadRequest,
        mut take: impl FnMut(LentPicture) + Send,
    ) -> Result<(), ClientError> {
        let mut missing = request;
        let mut attempts = self.link.attempts();
        while !missing.images.is_empty() {
            match stream(&self.link, &mut missing, &mut take, &mut attempts).await {
                Ok(()) => break,
                Err(failure) => attempts.after(failure).await?,
            }
        }
        Ok(())
    }
}

impl Link {
    /// Returns a generated client on this link's connection.
    fn pictures(&self) -> pictures_client::PicturesClient<Bearer> {
        pictures_client::PicturesClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE)
    }
}

/// Reads files over one stream, until all of the `missing` are there or it breaks.
async fn stream(
    link: &Link,
    missing: &mut ReadRequest,
    take: &mut (impl FnMut(LentPicture) + Send),
    attempts: &mut Attempts<'_>,
) -> Result<(), Failure> {
    let request = tokio_stream::once(proto::ReadRequest::from(missing.clone()));
    let opening = frames::call::<_, proto::ReadReply>(link.channel.clone(), READ, request);
    let mut incoming = link.within(CALL, link.patience.control, opening).await?;
    let mut bytes = Vec::new();
    while let Some(&image) = missing.images.first() {
        let reply = match timeout(link.patience.stall, incoming.message()).await {
            Ok(Ok(Some(reply))) => reply,
            Ok(Ok(None)) => {
                let reason = format!("the stream ended with {} pictures missing", missing.images.len());
                return Err(Failure::Passing(reason));
            }
            Ok(Err(status)) => return Err(Failure::of(&status, &link.address, CALL)),
            Err(_) => return Err(Failure::silence(link.patience.stall)),
        };
        let answer = Answer::<PicturePiece>::try_from(reply)
            .map_err(|error| Failure::unusable(&link.address, CALL, error))?;
        let piece = answer.map_err(|refusal| Failure::Final(ClientError::Refused(refusal)))?;
        attempts.progress();
        bytes.extend_from_slice(&piece.bytes);
        if bytes.len() as u64 > LARGEST_PICTURE {
            let reason = format!("more than {LARGEST_PICTURE} bytes of one picture");
            return Err(Failure::unusable(&link.address, CALL, reason));
        }
        if let Some(PictureEnd { name, failure }) = piece.end {
            let bytes = std::mem::take(&mut bytes);
            missing.images.remove(0);
            take(LentPicture { image, name, bytes: failure.map_or(Ok(bytes), Err) });
        }
    }
    Ok(())
}
