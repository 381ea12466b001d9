//! The reference of all keys and the schema of configuration files: tests that render them from the types,
//! the table of ranges and the recipes, and compare them with the files.

use std::fmt::Write;
use std::path::Path;

use schemars::schema_for;
use serde_json::{Map, Value, json};

use crate::range::shown;
use crate::{KEYS, Key, Range, RunConfiguration, recipe, recipe_names};

const PAGE: &str = "README.md";
const SCHEMA: &str = "schema.json";
/// Variable by which the test writes page and schema instead of comparing them.
const UPDATE: &str = "UPDATE_REFERENCE";

const HEAD: &str = "# What a run is told

A run has one configuration. Four things decide it, each over the one before:

1. a recipe, named by `--recipe` (built into the programs, from Rust files in [recipes](src/recipes): the tables below have its
   values as a configuration file writes them); left out, by the key `recipe` of the file; left out there too, `quick` where the
   program draws its own images, else `paper`;
2. a TOML file, `--config FILE`, which holds only the keys that it changes (one that has every key without which there is no
   configuration stands alone, without a recipe beneath, unless `--recipe` names one);
3. `--set KEY=VALUE`, for every key below: `--set run.lease_batches=2`, lists with commas (`--set sampling.area=0.08,0.5`), factors
   behind their patterns (`--set 'optimisation.rate_multipliers=*/classifier/*=10'`);
4. the flags that have a name of their own, such as `--batch`.

A length in epochs takes the place of one in images that something before it named. The merged result is in every snapshot of the
run, in the launcher's `run.json`, and is what a joining worker gets. Unknown keys are refused, and values out of a key's range, with
the range that is expected. Keys without a value below may be left out. Editors that know JSON schemas of TOML files check a file as
it is written against [schema.json](schema.json).

This page and the schema are made from the types in [src](src), the table of ranges in [keys.rs](src/keys.rs) and the recipes:
`UPDATE_REFERENCE=1 cargo test --package settings reference`.
";

const CHANGING: &str = "\
A run that was stopped, or has ended, goes on with other values of these keys where the command that resumes it names them; all others
it keeps, and another value is refused. The new rate and stairs hold from the first update after that on, by the samples of the whole
run; the ramp stays as long as it was when the run began:";

fn schema() -> Value {
    schema_for!(RunConfiguration).to_value()
}

fn page() -> String {
    let schema = schema();
    let recipes: Vec<_> =
        recipe_names().map(|name| (name, recipe(name).expect("it is known").values())).collect();
    let changing = KEYS.iter().filter(|key| key.may_change).map(|key| format!("`{}`", key.name));
    let mut page = format!("{HEAD}\n{CHANGING}\n{}.\n", changing.collect::<Vec<_>>().join(", "));
    for (section, reference) in schema["properties"].as_object().expect("a struct") {
        let Some(definition) = resolved(&schema, reference) else { continue };
        let description = one_line(&definition["description"]);
        write!(page, "\n## `[{section}]`\n\n{description}\n\n| key | meaning | range |").expect(WRITABLE);
        recipes.iter().for_each(|(name, _)| write!(page, " {name} |").expect(WRITABLE));
        page += "\n| --- | --- | --- |";
        page += &" ---: |".repeat(recipes.len());
        for key in KEYS.iter().filter(|key| key.parts().0 == section) {
            let name = key.parts().1;
            let property = &definition["properties"][name];
            let (meaning, range) = (one_line(&property["description"]), key.range);
            write!(page, "\n| `{name}` | {meaning}{} | {range} |", choices(&schema, property))
                .expect(WRITABLE);
            for (_, recipe) in &recipes {
                match key.of(recipe) {
                    Some(value) => write!(page, " `{}` |", written(value)),
                    None => write!(page, " |"),
                }
                .expect(WRITABLE);
            }
        }
        page.push('\n');
    }
    page
}

const WRITABLE: &str = "text takes what is written";

/// Writes a value as a file has it.
fn written(value: &Value) -> String {
    let Value::Object(items) = value else { return shown(value) };
    let items = items.iter().map(|(key, value)| format!("{key:?} = {}", shown(value)));
    format!("{{ {} }}", items.collect::<Vec<_>>().join(", "))
}

/// Returns the definition that a property refers to: by itself, within a list, or beside nothing where it may
/// be left out.
fn resolved<'a>(schema: &'a Value, property: &'a Value) -> Option<&'a Value> {
    let places = [property, &property["items"], &property["anyOf"][0]];
    let reference = places.into_iter().find_map(|place| place.get("$ref"))?.as_str()?;
    schema.pointer(reference.strip_prefix('#')?)
}

/// Lists the values of a choice with their meanings, behind what is said of all of them.
fn choices(schema: &Value, property: &Value) -> String {
    let Some(definition) = resolved(schema, property) else { return String::new() };
    let Some(variants) = definition["oneOf"].as_array() else { return String::new() };
    let description = one_line(&definition["description"]);
    // The first sentence says what the choice is, as the key's own description does.
    let of_all = description.split_once(". ").map(|(_, rest)| format!(" {rest}")).unwrap_or_default();
    let named = variants.iter().map(|variant| {
        format!("{}: {}", variant["const"], one_line(&variant["description"]).trim_end_matches('.'))
    });
    format!("{of_all} ({})", named.collect::<Vec<_>>().join("; "))
}

fn one_line(description: &Value) -> String {
    description.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Makes the schema of configuration files: that of the types, with ranges, and every key may be left out.
fn schema_of_files() -> String {
    let mut schema = schema();
    let definitions = schema["$defs"].as_object_mut().expect("the sections' definitions");
    for definition in definitions.values_mut().filter_map(Value::as_object_mut) {
        definition.remove("required");
    }
    schema.as_object_mut().expect("a schema").remove("required");
    for key in KEYS {
        let at = match key.parts() {
            ("", name) => format!("/properties/{name}"),
            (section, name) => {
                let definition =
                    schema["properties"][section]["$ref"].as_str().expect("a section's definition");
                format!("{}/properties/{name}", definition.trim_start_matches('#'))
            }
        };
        let property = schema.pointer_mut(&at).and_then(Value::as_object_mut).expect("a key's schema");
        bound(key, property);
    }
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

/// Puts a key's range into its schema.
fn bound(key: &Key, property: &mut Map<String, Value>) {
    fn ends(over: bool, least: f64, most: f64, below: bool) -> Value {
        let (lower, upper) = (
            if over { "exclusiveMinimum" } else { "minimum" },
            if below { "exclusiveMaximum" } else { "maximum" },
        );
        json!({ "type": "number", lower: least, upper: most })
    }
    let bounds = match key.range {
        Range::Switch => json!({}),
        Range::Choice(names) => json!({ "enum": names }),
        Range::Choices(_) => json!({ "minItems": 1, "uniqueItems": true }),
        Range::Whole { least, most, .. } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Range::Number { over, least, most, below, .. } => ends(over, least, most, below),
        Range::Interval { over, least, most } => json!({ "items": ends(over, least, most, false) }),
        Range::Text { least, most, .. } => json!({ "type": "string", "minLength": least, "maxLength": most }),
        Range::Hexadecimal { digits } => {
            json!({ "type": "string", "pattern": format!("^[0-9a-fA-F]{{{digits}}}$") })
        }
        Range::Patterns => json!({ "maxItems": 256 }),
        Range::Factors { most } => json!({ "additionalProperties": ends(false, 0.0, most, false) }),
    };
    property.remove("format");
    property.extend(bounds.as_object().expect("bounds are keywords").clone());
}

#[test]
fn page_and_schema_are_those_of_the_types() {
    for (name, text) in [(PAGE, page()), (SCHEMA, schema_of_files())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{name} is not what the types say; write it anew: {UPDATE}=1 cargo test --package settings reference"
        );
    }
}

/// Every key of the types has a range, in their order, and every range a key.
#[test]
fn every_key_is_in_the_table() {
    let schema = schema();
    let keys =
        schema["properties"].as_object().unwrap().iter().flat_map(|(section, property)| {
            match resolved(&schema, property) {
                Some(definition) => {
                    let names = definition["properties"].as_object().unwrap().keys();
                    names.map(|name| format!("{section}.{name}")).collect()
                }
                None => vec![section.clone()],
            }
        });
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let table = KEYS.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(sorted(keys.collect()), sorted(table));
}

/// What holds for all values of a choice is on the page too.
#[test]
fn what_is_said_of_a_choice_is_on_the_page() {
    let page = page();
    for expected in [
        "Initial values of the weights and biases. In both schemes the three classifiers start from a normal \
         distribution with standard deviation 1/1024 and bias 0, so that the first loss is near ln(classes). (\"bvlc\"",
        "left out, \"shard\". Until several push at a time, a worker trains with the shards' velocity, ",
    ] {
        assert!(page.contains(expected), "{expected:?} is missing from {page}");
    }
}

/// Every key and every variant says what it is.
#[test]
fn every_key_is_explained() {
    let unexplained = page().lines().any(|line| line.starts_with("| `") && line.contains("` |  |"));
    assert!(!unexplained, "{}", page());
}
