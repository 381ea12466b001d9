//! The writer of TensorBoard's event files: numbers, pictures and texts, each under a tag and at a step, for whom
//! TensorBoard draws them.
//!
//! A file is a sequence of records, each an event: a length, the bytes of a protocol buffer, and checksums of
//! both. The first event states the version. Whoever reads a file while it is written waits at the end for more,
//! so that an event appears as soon as its record is appended.
//!
//! Field numbers: tensorboard/compat/proto/{event,summary,tensor}.proto of tensorflow/tensorboard; records:
//! tensorflow/core/lib/io/record_writer.h of tensorflow/tensorflow.

use std::path::Path;

use crate::protobuf::Message;

/// Beginning of the names of event files, by which TensorBoard finds them.
const FILE_PREFIX: &str = "events.out.tfevents.";

/// Version of the file, as its first event states it.
const VERSION: &str = "brain.Event:2";
/// Value of a tensor's type for texts.
const TEXTS: i64 = 7;
/// Value of a session's state as it starts.
const START: i64 = 1;
/// Number of colour channels of a picture.
const CHANNELS: i64 = 3;

/// A picture in colour.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The bytes of a PNG or JPEG file.
    pub file: &'a [u8],
}

/// Returns the name of an event file that is begun at `time`, in seconds since 1970, by this process. TensorBoard
/// reads the files of a folder in the order of their names, of which the seconds have ten digits until 2286.
pub fn file_name(time: f64) -> String {
    format!("{FILE_PREFIX}{time:.6}.{}", std::process::id())
}

/// Writes an event file that holds one event and is complete, into `folder`, which is made if it is missing;
/// `time` is when it is written, in seconds since 1970. Either the whole file is written or none.
///
/// # Errors
/// If the folder cannot be made or the file cannot be written.
pub fn write(folder: &Path, time: f64, event: Event) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    files::write(&folder.join(file_name(time)), &[version(time), event.into_record()].concat())
}

/// Returns the record that a file begins with, which was opened at `time`, in seconds since 1970.
pub fn version(time: f64) -> Vec<u8> {
    let mut event = begun(time, 0);
    event.bytes(3, VERSION);
    record(event)
}

/// Returns the record by which a file goes on from `step`: what earlier files have from there on counts no more.
pub fn start(time: f64, step: u64) -> Vec<u8> {
    let (mut event, mut session) = (begun(time, step), Message::default());
    session.integer(1, START);
    event.message(7, &session);
    record(event)
}

/// One event: the values of a moment, all at one step.
#[derive(Clone, Debug)]
pub struct Event {
    event: Message,
    values: Message,
}

impl Event {
    /// Creates an event without values: `time` is when it happened, in seconds since 1970, and `step` its place on
    /// TensorBoard's horizontal axis.
    pub fn new(time: f64, step: u64) -> Event {
        Event { event: begun(time, step), values: Message::default() }
    }

    /// Adds a number, whose meaning `help` tells.
    pub fn scalar(&mut self, tag: &str, help: &str, value: f64) -> &mut Event {
        self.value(tag, "scalars", help, |message| {
            message.float(2, value as f32);
        })
    }

    /// Adds a picture in colour, about which `help` tells.
    pub fn picture(&mut self, tag: &str, help: &str, picture: Picture<'_>) -> &mut Event {
        let Picture { width, height, file } = picture;
        let mut shown = Message::default();
        shown.integer(1, height.into()).integer(2, width.into()).integer(3, CHANNELS).bytes(4, file);
        self.value(tag, "images", help, |message| {
            message.message(4, &shown);
        })
    }

    /// Adds a text in Markdown.
    pub fn text(&mut self, tag: &str, markdown: &str) -> &mut Event {
        let mut tensor = Message::default();
        // The empty shape is that of a single value.
        tensor.integer(1, TEXTS).message(2, &Message::default()).bytes(8, markdown);
        self.value(tag, "text", "", |message| {
            message.message(8, &tensor);
        })
    }

    /// Returns the event as a record, which is appended to a file.
    pub fn into_record(self) -> Vec<u8> {
        let Event { mut event, values } = self;
        event.message(5, &values);
        record(event)
    }

    /// Adds a value that the plugin `plugin` of TensorBoard shows, with `help` beside it.
    fn value(&mut self, tag: &str, plugin: &str, help: &str, fill: impl FnOnce(&mut Message)) -> &mut Event {
        let [mut value, mut metadata, mut data] = [(); 3].map(|()| Message::default());
        data.bytes(1, plugin);
        metadata.message(1, &data).bytes(3, help);
        value.bytes(1, tag).message(9, &metadata);
        fill(&mut value);
        self.values.message(1, &value);
        self
    }
}

/// Returns the beginning of an event.
fn begun(time: f64, step: u64) -> Message {
    let mut event = Message::default();
    event.double(1, time).integer(2, i64::try_from(step).unwrap_or(i64::MAX));
    event
}

fn record(event: Message) -> Vec<u8> {
    let data = event.into_bytes();
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), &data, &checksum(&data)].concat()
}

/// Returns the checksum of a part of a record: its CRC-32C, turned and moved, since a checksum of bytes that hold
/// checksums themselves would be a weak one.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::{Reader, Value};

    /// Returns the bytes of the events in `file`, whose checksums must be right.
    fn events(mut file: &[u8]) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        while !file.is_empty() {
            let (length, rest) = file.split_at(8);
            assert_eq!(rest[..4], checksum(length));
            let size = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let (data, rest) = rest[4..].split_at(size);
            assert_eq!(rest[..4], checksum(data));
            events.push(data.to_vec());
            file = &rest[4..];
        }
        events
    }

    fn fields(bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
        let mut reader = Reader::new(bytes);
        std::iter::from_fn(|| reader.field().unwrap()).collect()
    }

    /// The CRC of 32 bytes of zero stands in RFC 3720, B.4; turned and moved by hand.
    #[test]
    fn checksums_are_the_masked_crc_of_castagnoli() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&[0; 32]), 0x0fd7_fffau32.to_le_bytes());
    }

    #[test]
    fn a_file_begins_with_its_version_and_has_each_value_at_its_step() {
        let mut event = Event::new(2.5, 640);
        event.scalar("training/loss", "nats", 0.25).text("settings", "batch").picture(
            "samples",
            "two rows",
            Picture { width: 4, height: 3, file: b"png" },
        );
        let file = [version(1.5), event.into_record()].concat();
        let events = events(&file);
        let [first, values] = events.as_slice() else { panic!("{} events", events.len()) };
        let first = fields(first);
        assert!(matches!(&first[0], (1, Value::Fixed64(time)) if *time == 1.5f64.to_le_bytes()));
        assert!(matches!(&first[2], (3, Value::Bytes(text)) if text.text() == Ok("brain.Event:2")));

        let values = fields(values);
        assert!(matches!(values[1], (2, Value::Varint(640))));
        let Some((5, Value::Bytes(summary))) = values.last() else { panic!("{values:?}") };
        let values: Vec<_> = fields(summary.bytes());
        let inner = |at: usize| match &values[at] {
            (1, Value::Bytes(value)) => fields(value.bytes()),
            other => panic!("{other:?}"),
        };
        let [loss, text, picture] = [inner(0), inner(1), inner(2)];
        assert!(matches!(&loss[0], (1, Value::Bytes(tag)) if tag.text() == Ok("training/loss")));
        assert!(matches!(&loss[2], (2, Value::Fixed32(value)) if *value == 0.25f32.to_le_bytes()));
        assert!(matches!(&text[0], (1, Value::Bytes(tag)) if tag.text() == Ok("settings")));
        assert_eq!(text.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [1, 9, 8]);
        let (4, Value::Bytes(picture)) = &picture[2] else { panic!("{picture:?}") };
        let picture = fields(picture.bytes());
        assert!(matches!(
            picture[..3],
            [(1, Value::Varint(3)), (2, Value::Varint(4)), (3, Value::Varint(3))]
        ));
    }

    #[test]
    fn a_file_that_goes_on_says_from_where() {
        let start = events(&start(1.0, 32));
        let start = fields(&start[0]);
        assert!(matches!(start[1], (2, Value::Varint(32))));
        assert!(matches!(&start[2], (7, Value::Bytes(session)) if session.bytes() == [1 << 3, 1]));
    }
}
