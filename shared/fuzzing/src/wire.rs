//! The readers of messages from the network.

use protocol::received::{MESSAGES, fetched};

/// Reads the stream that answers a fetch. The first byte gives the size of the parts, in bytes, in which the
/// stream arrives; the result must not depend on it.
pub(crate) fn frames(bytes: &[u8]) {
    let Some((&part, stream)) = bytes.split_first() else { return };
    let whole = fetched([stream]);
    let parts = fetched(stream.chunks(usize::from(part).max(1)));
    // By their texts, since no NaN equals itself.
    assert_eq!(format!("{whole:?}"), format!("{parts:?}"), "the stream whole and in parts of {part} bytes");
    for block in whole.into_iter().flatten().flatten() {
        block.values.copy_to(&mut vec![0.0; block.values.len()]);
    }
}

/// Reads a message. The first byte is the index of the kind of message in the table.
pub(crate) fn messages(bytes: &[u8]) {
    let Some((&number, message)) = bytes.split_first() else { return };
    if let Some((_, reader)) = MESSAGES.get(usize::from(number)) {
        let _ = reader(message);
    }
}
