//! Reader of a gRPC stream that leaves each message in the HTTP/2 frames in which it arrived.
//!
//! tonic copies every frame into a buffer of its own before it decodes a message. For blocks of 1 MiB that
//! copy is a large part of the time of a fetch. Here a message stays in its frame, and the values of its
//! blocks are borrowed from there.

use std::{collections::VecDeque, future::poll_fn, marker::PhantomData, pin::Pin};

use bytes::{Buf, Bytes};
use prost::Message;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Code, Response, Status,
    body::Body,
    client::GrpcService,
    codec::{Codec, EncodeBody},
    codegen::{
        Body as _,
        http::{
            HeaderValue, Method, Request, Uri,
            header::{CONTENT_TYPE, TE},
        },
    },
    transport::Error,
};
use tonic_prost::ProstCodec;

use super::bearer::Bearer;
use crate::bounds::MESSAGE;

/// Calls a method that answers with a stream, by its path ("/package.Service/Method").
pub(super) async fn call<Q: Message + 'static, M: Message + Default + 'static>(
    mut channel: Bearer,
    path: &'static str,
    requests: impl Stream<Item = Q> + Send + 'static,
) -> Result<Response<Messages<M>>, Status> {
    let encoder = ProstCodec::<Q, M>::default().encoder();
    let body = EncodeBody::new_client(encoder, requests.map(Ok), None, Some(MESSAGE));
    let mut request = Request::new(Body::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(path);
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let broken = |error: Error| Status::from_error(Box::new(error));
    poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context)).await.map_err(broken)?;
    let (head, body) = GrpcService::<Body>::call(&mut channel, request).await.map_err(broken)?.into_parts();
    match Status::from_header_map(&head.headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        None if !head.status.is_success() => Err(Status::unknown(format!("HTTP status {}", head.status))),
        _ => Ok(Response::new(Messages { body, frames: Frames::default(), message: PhantomData })),
    }
}

/// The messages of a streamed answer.
pub(super) struct Messages<M> {
    body: Body,
    frames: Frames,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Messages<M> {
    /// Returns the next message, or none at the end. A call that is dropped before it completes loses
    /// nothing.
    pub(super) async fn message(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.frames.message()? {
                return Ok(Some(message));
            }
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await.transpose()?;
            let Some(frame) = frame else { return self.frames.end().map(|()| None) };
            match frame.into_data() {
                Ok(data) => self.frames.push(data),
                // A frame without data is the last one, and has the status.
                Err(end) => {
                    let status = end.trailers_ref().and_then(Status::from_header_map);
                    if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
                        return Err(status);
                    }
                }
            }
        }
    }
}

/// Bytes of a message's prefix: a flag for compression, and the length.
const PREFIX: usize = 5;

/// The bytes that have arrived and are not read yet.
#[derive(Default)]
pub(crate) struct Frames {
    parts: VecDeque<Bytes>,
    len: usize,
    /// Length of the message whose prefix has been read.
    next: Option<usize>,
}

impl Frames {
    /// Appends bytes that have arrived.
    pub(crate) fn push(&mut self, data: Bytes) {
        self.len += data.len();
        self.parts.extend(Some(data).filter(|data| !data.is_empty()));
    }

    /// Returns the next message, once all of it is there.
    pub(crate) fn message<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        if self.next.is_none() && self.len >= PREFIX {
            let (compressed, len) = (self.get_u8(), self.get_u32() as usize);
            if compressed != 0 {
                return Err(Status::internal("a compressed message, which was not asked for"));
            }
            if len > MESSAGE {
                let text = format!("a message of {len} bytes, expected at most {MESSAGE}");
                return Err(Status::out_of_range(text));
            }
            self.next = Some(len);
        }
        match self.next {
            Some(len) if self.len >= len => {
                self.next = None;
                M::decode(self.take(len)).map(Some).map_err(|error| Status::internal(error.to_string()))
            }
            _ => Ok(None),
        }
    }

    /// Checks that the stream ends between two messages.
    pub(crate) fn end(&self) -> Result<(), Status> {
        match self.len + self.next.map_or(0, |_| PREFIX) {
            0 => Ok(()),
            rest => Err(Status::internal(format!("the stream ended {rest} bytes into a message"))),
        }
    }
}

impl Buf for Frames {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "{count} of {} bytes", self.len);
        self.len -= count;
        while let Some(part) = self.parts.front_mut().filter(|_| count > 0) {
            let of_this = count.min(part.len());
            part.advance(of_this);
            count -= of_this;
            if part.is_empty() {
                self.parts.pop_front();
            }
        }
    }

    /// Takes the next `len` bytes, without a copy where they lie in one frame.
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        match self.parts.front() {
            Some(part) if part.len() >= len => {
                let bytes = part.slice(..len);
                self.advance(len);
                bytes
            }
            _ => {
                let mut bytes = vec![0; len];
                self.copy_to_slice(&mut bytes);
                bytes.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;
    use crate::proto::BlockValues;

    fn block(number: u32) -> BlockValues {
        let values = Bytes::from(vec![number as u8; 1000]);
        BlockValues { block: number, version: None, wire: 1, values }
    }

    fn framed(message: &BlockValues) -> Bytes {
        let mut bytes = Vec::new();
        bytes.put_u8(0);
        bytes.put_u32(message.encoded_len() as u32);
        message.encode(&mut bytes).unwrap();
        bytes.into()
    }

    fn all(frames: &mut Frames) -> Vec<BlockValues> {
        std::iter::from_fn(|| frames.message().unwrap()).collect()
    }

    #[test]
    fn messages_come_out_however_they_are_cut() {
        let blocks: Vec<_> = (0..3).map(block).collect();
        let bytes: Vec<u8> = blocks.iter().flat_map(framed).collect();
        for cut in [1, 2, 5, 6, 7, 500, 1013, 1014, 1015, 4000] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for part in bytes.chunks(cut) {
                frames.push(Bytes::copy_from_slice(part));
                found.extend(all(&mut frames));
            }
            assert_eq!(found, blocks, "frames of {cut} bytes");
            assert_eq!((frames.remaining(), frames.parts.len()), (0, 0));
        }
    }

    #[test]
    fn a_stream_ends_between_messages_only() {
        let bytes = framed(&block(1));
        for cut in 0..=bytes.len() {
            let mut frames = Frames::default();
            frames.push(bytes.slice(..cut));
            all(&mut frames);
            let end = frames.end().map_err(|status| status.message().to_owned());
            let whole = cut == 0 || cut == bytes.len();
            let text = format!("the stream ended {cut} bytes into a message");
            assert_eq!(end, if whole { Ok(()) } else { Err(text) });
        }
    }

    #[test]
    fn values_stay_in_the_frame_that_they_came_in() {
        let frame = framed(&block(7));
        let memory = frame.as_ptr_range();
        let mut frames = Frames::default();
        frames.push(frame);
        let values = all(&mut frames).remove(0).values;
        assert!(memory.contains(&values.as_ptr()));
    }

    #[test]
    fn what_is_no_message_of_ours_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut frames = Frames::default();
            frames.push(Bytes::copy_from_slice(bytes));
            frames.message::<BlockValues>().unwrap_err()
        };
        assert_eq!(refused(&[1, 0, 0, 0, 0]).code(), Code::Internal);
        assert_eq!(refused(&[0, 0xff, 0, 0, 0]).code(), Code::OutOfRange);
        assert_eq!(refused(&[0, 0, 0, 0, 1, 0xff]).code(), Code::Internal);
    }
}
