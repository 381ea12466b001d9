//! Files as addresses that hold them whole, which a page shows without loading anything.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Returns the address (`data:`, RFC 2397) that holds a file with this content, such as "image/jpeg".
///
/// ```
/// assert_eq!(formats::data_address("text/plain", b"rose"), "data:text/plain;base64,cm9zZQ==");
/// ```
pub fn data_address(content_type: &str, file: &[u8]) -> String {
    format!("data:{content_type};base64,{}", STANDARD.encode(file))
}
