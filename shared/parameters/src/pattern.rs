//! Patterns of tensor names, in which `*` stands for any characters, also none: `loss3/classifier/*`, `*/bias`.

/// Whether the pattern fits the whole name.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(start) else { return false };
    (0..=name.len()).filter(|&at| name.is_char_boundary(at)).any(|at| matches(rest, &name[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let name = "inception_3a/3x3_reduce/weights";
        for pattern in ["*", name, "inception_3a/*", "*/weights", "*3x3*", "inc*/3x3*/*ts", "**weights"] {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in ["", "inception_3a", "*/bias", "3x3*", "*weights*x", "inception_3b/*"] {
            assert!(!matches(pattern, name), "{pattern}");
        }
        assert!(matches("", "") && matches("*", "") && matches("*/é", "a/é"));
    }
}
