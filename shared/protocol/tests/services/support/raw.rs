//! A connection of HTTP/2 by frames, as somebody makes it who keeps to none of its customs.

use std::io;

use protocol::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flag of answers to settings and pings.
const ACK: u8 = 1;
/// Flag of the last frame of a stream.
pub const END: u8 = 1;
/// Flag of the last frame of a block of headers.
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = &(payload.len() as u32).to_be_bytes()[1..];
    [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header with a name of its own, uncompressed.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// The headers of a call.
pub fn call_headers(path: &str) -> Vec<u8> {
    let path = [&[0x04, path.len() as u8], path.as_bytes()].concat();
    let authority = b"\x01\x09localhost";
    let rest = [header("content-type", "application/grpc"), header("te", "trailers")].concat();
    [&[0x83, 0x86][..], &path, authority, &rest].concat()
}

/// A message of gRPC of which `length` bytes are announced and `bytes` sent.
pub fn message(length: usize, bytes: &[u8]) -> Vec<u8> {
    [&[0], &(length as u32).to_be_bytes()[..], bytes].concat()
}

/// A request for these blocks of [`layout`](super::layout), in the name of [`LIFE`](super::LIFE).
pub fn fetch_request(blocks: &[u8]) -> Vec<u8> {
    let life = [&[0x11][..], &7u64.to_le_bytes(), &[0x18, 2, 0x21], &5u64.to_le_bytes()].concat();
    let length = [blocks.len() as u8 | 0x80, (blocks.len() >> 7) as u8];
    [&[0x12], &length[..], blocks, &[0x18, 1, 0x32, life.len() as u8], &life].concat()
}

/// One side of a connection.
pub struct Raw<C>(C);

impl<C: Connection> Raw<C> {
    /// Begins a connection with these settings, each a number and its value.
    pub async fn begin(mut connection: C, settings: &[(u16, u32)]) -> Raw<C> {
        connection.write_all(PREFACE).await.unwrap();
        let mut raw = Raw(connection);
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        raw.send(&frame(SETTINGS, 0, 0, &payload)).await.unwrap();
        raw
    }

    /// Sends bytes; fails once the other side has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// Opens a call with nothing but its headers.
    pub async fn open(&mut self, stream: u32, path: &str) {
        self.send(&frame(HEADERS, END_HEADERS, stream, &call_headers(path))).await.unwrap();
    }

    /// Sends a part of a call's messages.
    pub async fn data(&mut self, stream: u32, bytes: &[u8], flags: u8) {
        self.send(&frame(DATA, flags, stream, bytes)).await.unwrap();
    }

    /// Opens a call with one message and nothing more to say.
    pub async fn call(&mut self, stream: u32, path: &str, bytes: &[u8]) {
        self.open(stream, path).await;
        self.data(stream, &message(bytes.len(), bytes), END).await;
    }

    /// Returns the next frame, or none at the end of the connection. Pings and settings are answered.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        if matches!(kind, PING | SETTINGS) && flags & ACK == 0 {
            let answer = if kind == PING { &payload[..] } else { &[] };
            // If nobody takes it any more, the next read says so.
            let _ = self.send(&frame(kind, ACK, 0, answer)).await;
        }
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Returns the next frame of a kind, or none if the connection ends before.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Waits for the last frame of a stream that ends with a status; returns the bytes of its messages until
    /// then, or none if the connection ends before.
    pub async fn trailers(&mut self, stream: u32) -> Option<usize> {
        let mut bytes = 0;
        loop {
            let frame = self.next().await?;
            match frame.kind {
                DATA if frame.stream == stream => bytes += frame.payload.len(),
                HEADERS if frame.stream == stream && frame.flags & END != 0 => return Some(bytes),
                _ => {}
            }
        }
    }

    /// Waits for the end of the connection; returns the reason that the other side gave for it, as the number
    /// of an HTTP/2 error, if it gave any.
    pub async fn end(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                reason = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        reason
    }
}
