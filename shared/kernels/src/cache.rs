//! Cache sizes by which the kernels partition their work.

use std::sync::OnceLock;

/// Bytes of the second-level cache that every processor of recent years has.
const SMALL: usize = 512 << 10;

/// Bytes of a core's second-level cache: the size that Linux reports for the first processor, elsewhere the
/// smallest common one. It affects only speed, never results.
pub(crate) fn second_level() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size");
        text.ok().and_then(|text| parse(&text)).unwrap_or(SMALL).max(SMALL)
    })
}

/// The number of bytes in a text such as "2048K" or "2M".
fn parse(text: &str) -> Option<usize> {
    let text = text.trim();
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "K" => 1 << 10,
        "M" => 1 << 20,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_linux_writes_them() {
        assert_eq!(parse("2048K\n"), Some(2 << 20));
        assert_eq!(parse("1M"), Some(1 << 20));
        for other in ["", "K", "12", "1024KB", "-1K"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
        assert!(second_level() >= SMALL);
    }
}
