//! The reading of images from tar shards by offset, as streams that only move forward.
//!
//! An epoch takes the samples of a run one after the other, but alternates between many runs
//! ([`order`](crate::order)). Each run is read through an open file of its own, with a buffer: one read
//! fetches several images of a run, and operating systems and network file systems read ahead in a file that
//! only moves forward.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::decode_error::{DecodeError, MOST_BYTES};
use crate::entry::Part;
use crate::order::OPEN_RUNS;

/// Number of bytes of one read: about as much of a run as lies in one lease (128 positions of 32 runs, with
/// ImageNet's images of 110 kB), so that what one worker reads is not read by another too.
const BUFFER: usize = 512 << 10;
/// Number of idle streams that are kept: those of all runs that are open, and of those that were open just
/// before.
const MOST_IDLE: usize = 2 * OPEN_RUNS;

/// The shards of a data set, as streams from which images are read.
#[derive(Debug)]
pub(crate) struct Streams {
    shards: Vec<PathBuf>,
    /// The idle streams; the one that was used last comes last.
    idle: Mutex<Vec<Stream>>,
}

/// An open shard, with the position to which it has been read.
#[derive(Debug)]
struct Stream {
    shard: u32,
    position: u64,
    file: BufReader<File>,
}

impl Streams {
    pub(crate) fn new(shards: Vec<PathBuf>) -> Streams {
        Streams { shards, idle: Mutex::default() }
    }

    /// Reads the bytes of an image.
    pub(crate) fn read(&self, part: &Part) -> Result<Vec<u8>, DecodeError> {
        if part.length > MOST_BYTES {
            return Err(DecodeError::LargeFile { bytes: part.length });
        }
        let mut stream = match self.take(part) {
            Some(stream) => stream,
            None => self.open(part.shard)?,
        };
        let bytes = stream.read(part)?;
        self.give_back(stream);
        Ok(bytes)
    }

    /// Removes and returns the idle stream of the shard whose position is nearest before the image, if there
    /// is one.
    fn take(&self, part: &Part) -> Option<Stream> {
        let mut idle = self.idle.lock().expect(UNPOISONED);
        let before = |stream: &Stream| stream.shard == part.shard && stream.position <= part.offset;
        let candidates = (0..idle.len()).filter(|&at| before(&idle[at]));
        let nearest = candidates.max_by_key(|&at| idle[at].position)?;
        Some(idle.remove(nearest))
    }

    fn open(&self, shard: u32) -> io::Result<Stream> {
        let file = File::open(&self.shards[shard as usize])?;
        Ok(Stream { shard, position: 0, file: BufReader::with_capacity(BUFFER, file) })
    }

    fn give_back(&self, stream: Stream) {
        let mut idle = self.idle.lock().expect(UNPOISONED);
        if idle.len() == MOST_IDLE {
            idle.remove(0);
        }
        idle.push(stream);
    }
}

const UNPOISONED: &str = "nothing panics while it holds the idle streams";

impl Stream {
    /// Reads the bytes of an image that does not lie before the stream's position.
    fn read(&mut self, part: &Part) -> io::Result<Vec<u8>> {
        let distance = part.offset - self.position;
        self.file.seek_relative(i64::try_from(distance).map_err(io::Error::other)?)?;
        let mut bytes = vec![0; part.length as usize];
        self.file.read_exact(&mut bytes)?;
        self.position = part.offset + part.length;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use settings::random::stream;
    use std::thread;
    use tempfile::TempDir;

    #[test]
    fn any_part_is_read_in_any_order_on_any_thread() {
        let home = TempDir::new().unwrap();
        let contents: Vec<Vec<u8>> = (0..3u64)
            .map(|shard| {
                let mut random = stream(1, "shard", &[shard]);
                (0..3 * BUFFER).map(|_| random.random()).collect()
            })
            .collect();
        let paths: Vec<PathBuf> = (0..3).map(|shard| home.path().join(format!("{shard}.tar"))).collect();
        paths.iter().zip(&contents).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
        let streams = Streams::new(paths);
        let read = |thread| {
            let mut random = stream(1, "parts", &[thread]);
            for _ in 0..200 {
                let shard = random.random_range(0..3u32);
                let offset = random.random_range(0..2 * BUFFER);
                let length = random.random_range(0..BUFFER);
                let part = Part { shard, offset: offset as u64, length: length as u64 };
                assert_eq!(streams.read(&part).unwrap(), contents[shard as usize][offset..offset + length]);
            }
        };
        thread::scope(|scope| (0..4).for_each(|number| drop(scope.spawn(move || read(number)))));
        assert!(streams.idle.lock().unwrap().len() <= MOST_IDLE);
    }

    #[test]
    fn what_is_gone_or_too_large_is_an_error() {
        let home = TempDir::new().unwrap();
        let path = home.path().join("a.tar");
        std::fs::write(&path, [0; 1000]).unwrap();
        let streams = Streams::new(vec![path.clone()]);
        let text = |offset, length| {
            streams.read(&Part { shard: 0, offset, length }).map_err(|error| error.to_string())
        };
        assert_eq!(text(900, 101).unwrap_err(), "cannot be read: failed to fill whole buffer");
        assert_eq!(text(900, 100), Ok(vec![0; 100]));
        assert!(text(0, MOST_BYTES + 1).unwrap_err().contains("at most"));
        std::fs::remove_file(&path).unwrap();
        assert!(text(0, 1).unwrap_err().starts_with("cannot be read: "));
    }
}
