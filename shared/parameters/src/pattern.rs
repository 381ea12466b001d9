//! Patterns of tensor names, in which `*` matches any number of any characters: `loss3/classifier/*`,
//! `*/bias`.

/// Returns whether `pattern`, in which `*` matches any number of any characters, matches the whole of `name`.
///
/// Each piece between two stars is searched for only once, so that a pattern with many stars costs no more
/// than one pass over the name.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let between = name.strip_prefix(start).and_then(|name| name.strip_suffix(end));
    let Some(mut name) = between else { return false };
    // The first place of a piece leaves the most to the pieces behind it.
    middle.split('*').all(|piece| match name.split_once(piece) {
        Some((_, behind)) => {
            name = behind;
            true
        }
        None => false,
    })
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
        assert!(!matches("ab*ba", "aba"), "start and end may not overlap");
        assert!(matches("", "") && matches("*", "") && matches("*/é", "a/é"));
    }

    #[test]
    fn a_pattern_of_many_stars_is_decided_at_once() {
        let (name, stars) = ("a".repeat(10_000), "*a".repeat(5_000));
        assert!(matches(&stars, &name) && !matches(&format!("{stars}*b"), &name));
    }
}
