//! What comes over the network.

use protocol::received::{MESSAGES, fetched};

/// Reads the stream that answers a fetch. The first byte says in parts of how many bytes it comes, which must
/// not matter.
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

/// Reads a message. The first byte says which, by its place in the table.
pub(crate) fn messages(bytes: &[u8]) {
    let Some((&number, message)) = bytes.split_first() else { return };
    if let Some((_, reader)) = MESSAGES.get(usize::from(number)) {
        let _ = reader(message);
    }
}
