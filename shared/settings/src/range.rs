//! Ranges: the values that a key may have. They keep everything that is computed from a setting countable,
//! and catch mistakes.

use std::fmt;

use serde_json::{Map, Number, Value};

/// The kind of values that a key of the configuration may have, with their limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// A switch: true or false.
    Switch,
    /// One of these names, as text.
    Choice(&'static [&'static str]),
    /// A list of at least one of these names, none twice.
    Choices(&'static [&'static str]),
    /// A whole number from `least` to `most`.
    Whole {
        /// The smallest number.
        least: u64,
        /// The largest number.
        most: u64,
        /// The unit that is counted, as a plural.
        unit: &'static str,
    },
    /// A number from `least` to `most`, either of which may itself be excluded.
    Number {
        /// Whether `least` itself lies outside the range.
        over: bool,
        /// The lower end.
        least: f64,
        /// The upper end.
        most: f64,
        /// Whether `most` itself lies outside the range.
        below: bool,
        /// The unit that is counted, as a plural, or a remark.
        unit: &'static str,
    },
    /// A pair of numbers from `least` to `most`, the second no smaller than the first.
    Interval {
        /// Whether `least` itself lies outside the range.
        over: bool,
        /// The lower end.
        least: f64,
        /// The upper end.
        most: f64,
    },
    /// A text of `least` to `most` bytes.
    Text {
        /// The smallest number of bytes.
        least: usize,
        /// The largest number of bytes.
        most: usize,
        /// Description of the text in messages, such as "a path".
        what: &'static str,
    },
    /// A text of exactly `digits` hexadecimal digits, such as a hash.
    Hexadecimal {
        /// Number of digits.
        digits: usize,
    },
    /// A list of patterns of tensor names, in which `*` stands for any characters.
    Patterns,
    /// A map from patterns of tensor names, in which `*` stands for any characters, to factors from 0 to
    /// `most`.
    Factors {
        /// The largest factor.
        most: f64,
    },
}

/// Largest number of patterns of one key, about as many as a network has tensors.
const MOST_PATTERNS: usize = 256;
/// Largest length of a pattern in bytes.
const MOST_PATTERN: usize = 256;
/// Largest number of characters of a value in a message.
const MOST_SHOWN: usize = 200;

impl Range {
    /// Checks that a value is in the range.
    ///
    /// # Errors
    /// If the value is of another kind or out of the range; the error is a text that shows what was found.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let within = |number: Option<f64>, over: bool, least: f64, most: f64, below: bool| {
            number.is_some_and(|n| n >= least && n <= most && (n > least || !over) && (n < most || !below))
        };
        let good = match *self {
            Range::Switch => value.is_boolean(),
            Range::Choice(names) => value.as_str().is_some_and(|name| names.contains(&name)),
            Range::Choices(names) => value.as_array().is_some_and(|chosen| {
                let known = |name: &Value| name.as_str().is_some_and(|name| names.contains(&name));
                let twice = |(at, name)| chosen[..at].contains(name);
                !chosen.is_empty() && chosen.iter().all(known) && !chosen.iter().enumerate().any(twice)
            }),
            Range::Whole { least, most, .. } => value.as_u64().is_some_and(|n| (least..=most).contains(&n)),
            Range::Number { over, least, most, below, .. } => {
                within(value.as_f64(), over, least, most, below)
            }
            Range::Interval { over, least, most } => match value.as_array().map(Vec::as_slice) {
                Some([low, high]) => {
                    let [low, high] = [low.as_f64(), high.as_f64()];
                    within(low, over, least, most, false)
                        && within(high, over, least, most, false)
                        && low <= high
                }
                _ => false,
            },
            Range::Text { least, most, .. } => match value.as_str().map(str::len) {
                Some(length) if !(least..=most).contains(&length) => return Err(format!("{length} bytes")),
                length => length.is_some(),
            },
            Range::Hexadecimal { digits } => value.as_str().is_some_and(|text| {
                text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
            }),
            Range::Patterns => match value.as_array() {
                Some(patterns) if patterns.iter().all(Value::is_string) => {
                    return patterns_fit(patterns.iter().filter_map(Value::as_str));
                }
                _ => false,
            },
            Range::Factors { most } => match value.as_object() {
                Some(factors) => {
                    match factors.values().find(|n| !within(n.as_f64(), false, 0.0, most, false)) {
                        Some(wrong) => return Err(shown(wrong)),
                        None => return patterns_fit(factors.keys().map(String::as_str)),
                    }
                }
                None => false,
            },
        };
        if good { Ok(()) } else { Err(shown(value)) }
    }

    /// Parses a value from text as it is written on a command line: the items of lists are separated by
    /// commas, and a factor follows its pattern and an equals sign. The value may still be out of the range.
    ///
    /// # Errors
    /// If the text is not a value of this kind.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, String> {
        let found = || format!("{text:?}");
        let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
        match self {
            Range::Switch => text.parse().map(Value::Bool).map_err(|_| found()),
            Range::Choice(_) | Range::Text { .. } | Range::Hexadecimal { .. } => Ok(text.into()),
            Range::Whole { .. } | Range::Number { .. } => number(text).ok_or_else(found),
            Range::Choices(_) | Range::Patterns => Ok(items().collect()),
            Range::Interval { .. } => {
                items().map(number).collect::<Option<Vec<_>>>().map(Value::Array).ok_or_else(found)
            }
            Range::Factors { .. } => {
                let factor = |item: &str| {
                    let (pattern, factor) = item.rsplit_once('=')?;
                    Some((pattern.to_owned(), number(factor)?))
                };
                items().map(factor).collect::<Option<Map<_, _>>>().map(Value::Object).ok_or_else(found)
            }
        }
    }
}

/// Returns a value as text for a command line, as [`Range::parse`] reads it.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(items) => {
            let item = |(key, item): (&String, &Value)| format!("{key}={}", text(item));
            items.iter().map(item).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

/// Parses a number: a whole one if it is written so, otherwise the nearest float. Returns `None` if the text
/// is not a finite number.
fn number(text: &str) -> Option<Value> {
    let text = text.trim();
    match text.parse::<u64>() {
        Ok(whole) => Some(whole.into()),
        Err(_) => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
    }
}

fn patterns_fit<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let (count, longest) = patterns.fold((0, 0), |(count, most), p| (count + 1, p.len().max(most)));
    if count > MOST_PATTERNS || longest > MOST_PATTERN {
        return Err(format!("{count} patterns, the longest of {longest} bytes"));
    }
    Ok(())
}

/// Returns a value as messages show it: floats with the fewest digits that identify them, and cut to what
/// fits on a line.
pub(crate) fn shown(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let text = match value {
        Value::Null => "no finite number".into(),
        Value::Number(number) => match number.as_f64() {
            // What comes from an f32 has more digits as an f64 than anybody wrote.
            Some(float) if number.is_f64() && f64::from(float as f32) == float => (float as f32).to_string(),
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        Value::Array(items) => format!("[{}]", list(items.iter().map(shown).collect())),
        Value::Object(items) => {
            format!(
                "{{{}}}",
                list(items.iter().map(|(key, item)| format!("{key:?}: {}", shown(item))).collect())
            )
        }
        Value::Bool(_) | Value::String(_) => value.to_string(),
    };
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Writes the range as messages, help and reference show it.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = |unit: &str| if unit.is_empty() { String::new() } else { format!(" {unit}") };
        match *self {
            Range::Switch => f.write_str("true or false"),
            Range::Choice(names) => write!(f, "one of {}", names.join(", ")),
            Range::Choices(names) => write!(f, "at least one of {}, none twice", names.join(", ")),
            Range::Whole { least, most: u64::MAX, unit: u } => {
                write!(f, "a whole number from {least}{}", unit(u))
            }
            Range::Whole { least, most, unit: u } => write!(f, "{least} to {most}{}", unit(u)),
            Range::Number { over, least, most, below, unit: u } => {
                let most_is = if below { "below " } else { "" };
                match over {
                    true => write!(f, "over {least}, at most {most_is}{most}{}", unit(u)),
                    false => write!(f, "{least} to {most_is}{most}{}", unit(u)),
                }
            }
            Range::Interval { over, least, most } => {
                write!(f, "{least} {} smallest <= largest <= {most}", if over { "<" } else { "<=" })
            }
            Range::Text { least: 0, most, what } => write!(f, "{what} of at most {most} bytes"),
            Range::Text { least, most, what } => write!(f, "{what} of {least} to {most} bytes"),
            Range::Hexadecimal { digits } => write!(f, "{digits} hexadecimal digits"),
            Range::Patterns => write!(f, "at most {MOST_PATTERNS} patterns of at most {MOST_PATTERN} bytes"),
            Range::Factors { most } => {
                write!(
                    f,
                    "factors from 0 to {most} by at most {MOST_PATTERNS} patterns of at most {MOST_PATTERN} bytes"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::RunConfiguration;

    /// Changes one value of a configuration; returns the error if it may not be used then.
    fn refused(change: impl FnOnce(&mut RunConfiguration)) -> Option<String> {
        let mut configuration = crate::recipe("paper").unwrap();
        change(&mut configuration);
        configuration.validate().err().map(|error| error.to_string())
    }

    /// The largest and least values of each number are used; what lies beyond them is named with its key,
    /// also what is no number.
    #[test]
    fn every_number_has_a_range() {
        type Put = fn(&mut RunConfiguration, f64);
        let numbers: [(&str, Put, f64, f64); 25] = [
            ("network.classes", |c, v| c.network.classes = Some(v as usize), 2.0, 100_000.0),
            ("network.input_size", |c, v| c.network.input_size = v as usize, 32.0, 2048.0),
            ("network.width", |c, v| c.network.width = v as f32, 0.05, 4.0),
            ("sampling.area", |c, v| c.sampling.area[1] = v as f32, 0.08, 1.0),
            ("sampling.aspect", |c, v| c.sampling.aspect[0] = v as f32, 0.1, 1.0),
            ("sampling.aspect", |c, v| c.sampling.aspect[1] = v as f32, 1.0, 10.0),
            ("sampling.brightness", |c, v| c.sampling.brightness = v as f32, 0.0, 1.0),
            ("sampling.contrast", |c, v| c.sampling.contrast = v as f32, 0.0, 1.0),
            ("sampling.saturation", |c, v| c.sampling.saturation = v as f32, 0.0, 1.0),
            ("sampling.lighting", |c, v| c.sampling.lighting = v as f32, 0.0, 1.0),
            ("optimisation.learning_rate", |c, v| c.optimisation.learning_rate = v, 1e-9, 10.0),
            ("optimisation.stair_factor", |c, v| c.optimisation.stair_factor = v, 1e-9, 1.0),
            ("optimisation.stair_epochs", |c, v| c.optimisation.stair_epochs = v, 1e-3, 1e6),
            ("optimisation.stair_share", |c, v| c.optimisation.stair_share = Some(v), 1e-9, 1.0),
            ("optimisation.ramp", |c, v| c.optimisation.ramp = v, 0.0, 1.0),
            ("optimisation.clip_norm", |c, v| c.optimisation.clip_norm = Some(v), 1e-9, 1e9),
            ("optimisation.clip_tensors", |c, v| c.optimisation.clip_tensors = Some(v), 1e-9, 1e9),
            (
                "optimisation.rate_multipliers",
                |c, v| c.optimisation.rate_multipliers = [("*".into(), v as f32)].into(),
                0.0,
                1000.0,
            ),
            ("run.batch", |c, v| c.run.batch = v as usize, 1.0, 4096.0),
            ("run.epochs", |c, v| c.run.epochs = v, 1e-3, 1e6),
            ("run.images", |c, v| c.run.images = Some(v as u64), 1.0, 1e12),
            ("run.least_updates", |c, v| c.run.least_updates = Some(v as u64), 1.0, 1e9),
            ("run.evaluate_epochs", |c, v| c.run.evaluate_epochs = v, 1e-3, 1e6),
            ("run.patience_epochs", |c, v| c.run.patience_epochs = Some(v), 1e-3, 1e6),
            ("run.lease_batches", |c, v| c.run.lease_batches = v as u64, 1.0, 1024.0),
        ];
        for (key, put, least, most) in numbers {
            for value in [least, most] {
                assert_eq!(refused(|c| put(c, value)), None, "{key} = {value}");
            }
            for value in [-1.0, 2.0 * most + 1.0, 1e30, f64::INFINITY, f64::NAN] {
                let text = refused(|c| put(c, value)).unwrap_or_default();
                let start = format!("configuration key {key}: found ");
                assert!(
                    text.starts_with(&start) && text.contains(", expected "),
                    "{key} = {value}: {text:?}"
                );
            }
        }
        for (key, put) in [
            ("optimisation.momentum", (|c, v| c.optimisation.momentum = v) as Put),
            ("optimisation.weight_decay", |c, v| c.optimisation.weight_decay = v),
            ("optimisation.average_decay", |c, v| c.optimisation.average_decay = v),
        ] {
            for (value, usable) in
                [(0.0, true), (0.999, true), (1.0, false), (-0.1, false), (f64::NAN, false)]
            {
                assert_eq!(refused(|c| put(c, value)).is_none(), usable, "{key} = {value}");
            }
        }
    }

    #[test]
    fn every_text_and_list_has_a_length() {
        let long = |length: usize| "x".repeat(length);
        let patterns = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        let warm = |c: &mut RunConfiguration| c.run.init_from = Some("model".into());
        assert_eq!(refused(|c| c.recipe = long(256)), None);
        assert_eq!(
            refused(|c| c.recipe = long(257)).unwrap(),
            "configuration key recipe: found 257 bytes, expected a name of at most 256 bytes"
        );
        for (path, usable) in [(0, false), (1, true), (4096, true), (4097, false)] {
            assert_eq!(refused(|c| c.run.init_from = Some(long(path))).is_none(), usable, "{path}");
        }
        let hash = |hash: &str| {
            refused(|c| {
                warm(c);
                c.run.init_sha256 = Some(hash.into());
            })
        };
        assert_eq!(hash(&"0aF9".repeat(16)), None);
        for wrong in ["", "0a", &"0g".repeat(32), &"0a".repeat(33), &"é".repeat(32)] {
            let text = hash(wrong).unwrap();
            assert!(text.ends_with("expected 64 hexadecimal digits") && text.len() < 200, "{text}");
        }
        for (count, length, usable) in [(256, 3, true), (257, 3, false), (1, 256, true), (1, 257, false)] {
            let patterns = if count > 1 { patterns(count) } else { vec![long(length)] };
            let except = refused(|c| {
                warm(c);
                c.run.init_except = patterns.clone();
            });
            let multipliers = refused(|c| {
                c.optimisation.rate_multipliers = patterns.iter().map(|p| (p.clone(), 1.0)).collect();
            });
            assert_eq!((except.is_none(), multipliers.is_none()), (usable, usable), "{count} of {length}");
        }
    }

    #[test]
    fn texts_of_a_command_line_are_read_by_the_kind_of_the_key() {
        let factors = Range::Factors { most: 10.0 };
        let interval = Range::Interval { over: true, least: 0.0, most: 1.0 };
        let seed = Range::Whole { least: 0, most: u64::MAX, unit: "" };
        for (range, text, expected) in [
            (Range::Switch, "true", json!(true)),
            (Range::Choice(&["a", "b"]), "c", json!("c")),
            (Range::Choices(&["a", "b"]), "a, b", json!(["a", "b"])),
            (seed, "18446744073709551615", json!(u64::MAX)),
            (seed, "1.5", json!(1.5)),
            (interval, "0.1,1", json!([0.1, 1])),
            (Range::Patterns, "", json!([])),
            (Range::Patterns, "*/bias,fc*", json!(["*/bias", "fc*"])),
            (factors, "*/a=b=2.5,c=0", json!({"*/a=b": 2.5, "c": 0})),
        ] {
            assert_eq!(range.parse(text), Ok(expected), "{text}");
        }
        for (range, text) in [
            (Range::Switch, "yes"),
            (seed, "inf"),
            (seed, ""),
            (seed, "1,2"),
            (interval, "0.1,x"),
            (factors, "a"),
        ] {
            assert_eq!(range.parse(text), Err(format!("{text:?}")));
        }
    }

    #[test]
    fn a_value_is_shown_in_as_few_digits_as_it_needs() {
        for (value, text) in [
            (json!(0.3f32), "0.3"),
            (json!(0.3), "0.3"),
            (json!(1e-9), "0.000000001"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!([1.0, {"a": "b"}]), "[1, {\"a\": \"b\"}]"),
            (Value::Null, "no finite number"),
        ] {
            assert_eq!(shown(&value), text);
        }
        assert_eq!(shown(&json!("x".repeat(1000))).len(), MOST_SHOWN + 3);
    }
}
