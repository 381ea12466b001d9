//! A protocol buffer, field by field.

/// A message that is being written.
#[derive(Clone, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// Appends an integer, a bool or an enum.
    pub fn number(self, field: u64, value: u64) -> Message {
        self.varint(field << 3).varint(value)
    }

    /// Appends an f64.
    pub fn double(mut self, field: u64, value: f64) -> Message {
        self = self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends an f32.
    pub fn float(mut self, field: u64, value: f32) -> Message {
        self = self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends bytes, text or packed numbers.
    pub fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Message {
        let bytes = bytes.as_ref();
        self = self.varint(field << 3 | 2).varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    /// Appends a message.
    pub fn message(self, field: u64, message: Message) -> Message {
        self.bytes(field, message.0)
    }

    /// Appends a bare number in groups of 7 bits, the lowest first.
    pub fn varint(mut self, mut value: u64) -> Message {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }
}
