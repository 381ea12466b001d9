//! The encoding of protocol buffers: a message is a sequence of fields, each a key (number and type) and a
//! value.
//!
//! Reading needs no schema: the caller picks fields by their numbers and skips all others.

/// Largest number of bytes of a varint, which encodes 64 bits in groups of 7.
const LONGEST_VARINT: usize = 10;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// An error in the encoding of a protocol buffer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {what}")]
pub struct ProtobufError {
    /// Position of the error: the number of bytes in front of it in the file.
    pub offset: usize,
    /// Description of the error.
    pub what: String,
}

/// The value of a field.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    /// A string, bytes, a message or packed numbers.
    Bytes(Reader<'a>),
    Fixed32([u8; 4]),
}

/// A reader of the fields of a message, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Position of `rest` in the file, in bytes.
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Creates a reader of the message that makes up a whole file, whose content is `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, offset: 0 }
    }

    /// Returns the bytes of the message that have not been read yet.
    pub fn bytes(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns an error that is described by `what` and lies at the reader's current position in the file.
    pub fn error(&self, what: impl Into<String>) -> ProtobufError {
        ProtobufError { offset: self.offset, what: what.into() }
    }

    /// Returns the bytes that have not been read yet as text, or an error if they are not UTF-8.
    pub fn text(&self) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(self.rest).map_err(|_| self.error("expected text in UTF-8"))
    }

    /// Reads the next field of the message; returns the field's number and value, or `None` after the last
    /// field.
    pub fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.clone();
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Varint(self.varint()?),
            FIXED64 => Value::Fixed64(self.take(8)?.try_into().expect("eight bytes")),
            LENGTH_DELIMITED => {
                let length = self.varint()?;
                let offset = self.offset;
                Value::Bytes(Reader { rest: self.take(length)?, offset })
            }
            FIXED32 => Value::Fixed32(self.take(4)?.try_into().expect("four bytes")),
            other => return Err(start.error(format!("field type {other}, which no message has here"))),
        };
        match key >> 3 {
            0 => Err(start.error("field number 0, which no message has")),
            number => Ok(Some((number, value))),
        }
    }

    /// Reads a varint, which is protocol buffers' encoding of an integer: groups of 7 bits, the lowest first.
    pub fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0u64;
        for (position, &byte) in self.rest.iter().take(LONGEST_VARINT).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                self.take(position as u64 + 1)?;
                return Ok(value);
            }
        }
        match self.rest.len() < LONGEST_VARINT {
            true => Err(self.error("the data ends inside a number")),
            false => Err(self.error("a number of more than 64 bits")),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], ProtobufError> {
        let left = self.rest.len();
        let length = usize::try_from(length).ok().filter(|&length| length <= left).ok_or_else(|| {
            self.error(format!("a value of {length} bytes is announced, the data ends after {left}"))
        })?;
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.offset += length;
        Ok(taken)
    }
}

/// A protocol buffer message that is being written.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// Returns the bytes of the message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Appends an integer as the field with number `field`; a negative value is encoded as its 64-bit two's
    /// complement. Returns this message, so that calls can be chained.
    pub fn integer(&mut self, field: u64, value: i64) -> &mut Message {
        self.key(field, VARINT);
        self.varint(value as u64);
        self
    }

    /// Appends a 32-bit float as the field with number `field`; returns this message, so that calls can be
    /// chained.
    pub fn float(&mut self, field: u64, value: f32) -> &mut Message {
        self.key(field, FIXED32);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends a 64-bit float as the field with number `field`; returns this message, so that calls can be
    /// chained.
    pub fn double(&mut self, field: u64, value: f64) -> &mut Message {
        self.key(field, FIXED64);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends bytes or text as the field with number `field`; returns this message, so that calls can be
    /// chained.
    pub fn bytes(&mut self, field: u64, bytes: impl AsRef<[u8]>) -> &mut Message {
        let bytes = bytes.as_ref();
        self.key(field, LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    /// Appends `message` as the field with number `field` of this message; returns this message, so that
    /// calls can be chained.
    pub fn message(&mut self, field: u64, message: &Message) -> &mut Message {
        self.bytes(field, &message.0)
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut inner = Message::default();
        inner.integer(1, -1).float(16, 1.5);
        let mut message = Message::default();
        message.integer(5, 300).bytes(2, "name").message(100, &inner);
        let bytes = message.into_bytes();
        assert_eq!(bytes[..3], [5 << 3, 0xac, 0x02], "300 is the encoding's own example");

        let mut reader = Reader::new(&bytes);
        assert!(matches!(reader.field(), Ok(Some((5, Value::Varint(300))))));
        let Ok(Some((2, Value::Bytes(text)))) = reader.field() else { panic!("no text") };
        assert_eq!(text.text(), Ok("name"));
        let Ok(Some((100, Value::Bytes(mut inner)))) = reader.field() else { panic!("no message") };
        assert!(matches!(inner.field(), Ok(Some((1, Value::Varint(u64::MAX))))));
        assert!(
            matches!(inner.field(), Ok(Some((16, Value::Fixed32(value)))) if value == 1.5f32.to_le_bytes())
        );
        assert!(inner.field().unwrap().is_none() && reader.field().unwrap().is_none());
    }

    #[test]
    fn what_breaks_the_encoding_is_named_with_its_place() {
        let text = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            loop {
                match reader.field() {
                    Ok(Some(_)) => {}
                    Ok(None) => return "read".to_string(),
                    Err(error) => return error.to_string(),
                }
            }
        };
        assert_eq!(
            text(&[8, 1, 0x12, 5, 1]),
            "at byte 4: a value of 5 bytes is announced, the data ends after 1"
        );
        assert_eq!(text(&[8, 0x80]), "at byte 1: the data ends inside a number");
        assert_eq!(text(&[8, 1, 11]), "at byte 2: field type 3, which no message has here");
        assert_eq!(text(&[0, 1]), "at byte 0: field number 0, which no message has");
        assert_eq!(text(&[[8].as_slice(), &[0xff; 11]].concat()), "at byte 1: a number of more than 64 bits");
        let huge = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(text(&huge).contains("18446744073709551615 bytes is announced"));
    }
}
