//! Configuration files: TOML with the keys that a run sets otherwise than its recipe.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use settings::{ConfigurationError, KEYS, Layer};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// Largest size of a configuration file in bytes. A file with a comment on every key is a hundred times
/// smaller.
const MOST_FILE: u64 = 1 << 20;

/// Reads the settings of a configuration file.
///
/// # Errors
/// If the file cannot be read, if it is not TOML, or if it has a key or a value that no configuration can
/// have.
pub(crate) fn read(path: &Path) -> Result<Layer, ConfigurationError> {
    let path_text = path.display().to_string();
    match files::read_text(path, MOST_FILE) {
        Ok(text) => parse(&text).map_err(|text| ConfigurationError::File { path: path_text, text }),
        Err(error) => Err(ConfigurationError::Read { path: path_text, error }),
    }
}

/// Reads a TOML file of another kind than a run's configuration into a description of type `T`. An error names
/// line and key.
///
/// # Errors
/// If the file cannot be read, if it is over 1 MiB, if it is not TOML, or if it is none of a `T`.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigurationError> {
    let path_text = path.display().to_string();
    match files::read_text(path, MOST_FILE) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            let text = error.to_string().trim_end().to_owned();
            ConfigurationError::File { path: path_text, text }
        }),
        Err(error) => Err(ConfigurationError::Read { path: path_text, error }),
    }
}

/// Parses the settings in a text; an error names the line.
fn parse(text: &str) -> Result<Layer, String> {
    let table = DeTable::parse(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
    let mut layer = Layer::default();
    for (section, value) in table.into_inner() {
        let keys: Vec<_> = match value.into_inner() {
            DeValue::Table(keys) if is_section(section.get_ref()) => {
                let name = |key: &str| format!("{}.{key}", section.get_ref());
                keys.into_iter()
                    .map(|(key, value)| (name(key.get_ref()), key.span(), value.into_inner()))
                    .collect()
            }
            value => vec![(section.get_ref().to_string(), section.span(), value)],
        };
        for (key, span, value) in keys {
            layer.put(&key, json(value)).map_err(|error| format!("line {}: {error}", line(span.start)))?;
        }
    }
    Ok(layer)
}

/// Returns whether a configuration has a section called `name`.
fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.parts().0 == name)
}

/// Converts a TOML value to JSON. Numbers that are not finite, which JSON lacks and no key accepts, become
/// null.
fn json(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.into_owned().into(),
        DeValue::Boolean(truth) => truth.into(),
        DeValue::Integer(whole) => {
            match i128::from_str_radix(whole.as_str(), whole.radix()).map(Number::from_i128) {
                Ok(Some(whole)) => Value::Number(whole),
                _ => float(whole.as_str()),
            }
        }
        DeValue::Float(text) => float(text.as_str()),
        DeValue::Datetime(time) => Map::from_iter([("time".into(), time.to_string().into())]).into(),
        DeValue::Array(items) => items.into_iter().map(|item| json(item.into_inner())).collect(),
        DeValue::Table(items) => {
            let item = |(key, value): (Spanned<DeString<'_>>, Spanned<DeValue<'_>>)| {
                (key.into_inner().into_owned(), json(value.into_inner()))
            };
            Value::Object(items.into_iter().map(item).collect())
        }
    }
}

fn float(text: &str) -> Value {
    text.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_file_holds_what_it_changes() {
        let text = "
            [run]
            batch = 8
            seed = 0x10
            [sampling]
            area = [0.3, 1]
            [optimisation.rate_multipliers]
            \"*/classifier/*\" = 10
        ";
        let mut expected = Layer::default();
        for text in [
            "run.batch=8",
            "run.seed=16",
            "sampling.area=0.3,1",
            "optimisation.rate_multipliers=*/classifier/*=10",
        ] {
            let (key, value) = text.split_once('=').unwrap();
            expected.set(key, value).unwrap();
        }
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse("[run]\n").unwrap(), Layer::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_key() {
        for (text, expected) in [
            (
                "recipe = \"x\"\nlerning_rate = 3\n",
                "line 2: configuration key lerning_rate is not known; expected one of rec",
            ),
            (
                "[sampling]\n\nmiror = true",
                "line 3: configuration key sampling.miror is not known; expected one of sampling.",
            ),
            ("[sampling]\nmirror = true\nmirror = false", "TOML parse error at line 3"),
            (
                "[run]\nseed = -1",
                "line 2: configuration key run.seed: found -1, expected a whole number from 0",
            ),
            ("run = 3", "line 1: configuration key run is not known; expected one of recipe, "),
            (
                "[run.batch]\nimages = 3",
                "line 1: configuration key run.batch: found {\"images\": 3}, expected 1 to 4096",
            ),
            (
                "[sampling]\narea = [0.5, 0.25]",
                "line 2: configuration key sampling.area: found [0.5, 0.25], expected 0 < smallest <= largest <= 1",
            ),
            (
                "[sampling]\ninterpolation = [\"area\", \"lanczos\"]",
                "line 2: configuration key sampling.interpolation: found [\"area\", \"lanczos\"], expected at least one of \
                 bilinear, area, nearest, cubic, none twice",
            ),
            (
                "[optimisation]\nclip_norm = nan",
                "line 2: configuration key optimisation.clip_norm: found no finite number, expected over 0, at most 10000000",
            ),
            (
                "[run]\nwire = 1979-05-27",
                "line 2: configuration key run.wire: found {\"time\": \"1979-05-27\"}, expected",
            ),
            (
                "[run]\nbatch = 9999999999999999999999",
                "line 2: configuration key run.batch: found 10000000000000000000000, ",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "expected {expected}, found {error}");
        }
    }

    #[test]
    fn another_kind_of_file_is_told_by_its_line_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.toml");
        std::fs::write(&path, "a = 1\nb = 2\n").unwrap();
        assert_eq!(
            read_toml::<BTreeMap<String, u8>>(&path).unwrap(),
            [("a".into(), 1), ("b".into(), 2)].into()
        );
        std::fs::write(&path, "a = 1\nb = 300\n").unwrap();
        let error = read_toml::<BTreeMap<String, u8>>(&path).unwrap_err().to_string();
        assert!(
            error.contains("numbers.toml: TOML parse error at line 2") && error.contains("300"),
            "{error}"
        );
    }

    #[test]
    fn a_file_without_an_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.toml");
        std::fs::write(&path, "# a comment\n".repeat(100_000)).unwrap();
        let expected = format!(
            "cannot read configuration file {}: expected at most 1.0 MiB, it has 1.1 MiB",
            path.display()
        );
        assert_eq!(read(&path).unwrap_err().to_string(), expected);
    }
}
