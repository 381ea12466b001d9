//! Renders the page of all configuration keys from the types and the recipes, and keeps it true.

use std::fmt::Write;
use std::path::Path;

use schemars::schema_for;
use serde_json::Value;

use crate::recipe::text;
use crate::{RunConfiguration, recipe_names};

const PAGE: &str = "README.md";
/// Set, the test writes the page in place of comparing it.
const UPDATE: &str = "UPDATE_REFERENCE";

const HEAD: &str = "# What a run is told

A run has one configuration. It starts from a named recipe (`--recipe`, files in [recipes](recipes)) or from a TOML file that has
every key (`--config`; copy a recipe and change it); flags go over both. The merged result is in every snapshot of the run, in the
launcher's `run.json`, and is what a joining worker gets. Unknown keys are refused, and values out of a key's range, with the range
that is expected. Keys without a value below may be left out.

This page is made from the types in [run.rs](src/run.rs) and from the recipes:
`UPDATE_REFERENCE=1 cargo test -p configuration reference`.
";

fn page() -> String {
    let schema = schema_for!(RunConfiguration).to_value();
    let recipes: Vec<(&str, toml::Table)> = recipe_names()
        .map(|name| (name, text(name).expect("it is known").parse().expect("recipes are TOML")))
        .collect();
    let mut page = HEAD.to_owned();
    for (section, reference) in schema["properties"].as_object().expect("a struct") {
        let Some(definition) = resolved(&schema, reference) else { continue };
        let description = one_line(&definition["description"]);
        write!(page, "\n## `[{section}]`\n\n{description}\n\n| key | meaning |").expect(WRITABLE);
        recipes.iter().for_each(|(name, _)| write!(page, " {name} |").expect(WRITABLE));
        page += "\n| --- | --- |";
        page += &" ---: |".repeat(recipes.len());
        for (key, property) in definition["properties"].as_object().expect("a struct") {
            write!(
                page,
                "\n| `{key}` | {}{} |",
                one_line(&property["description"]),
                choices(&schema, property)
            )
            .expect(WRITABLE);
            for (_, recipe) in &recipes {
                let value = recipe.get(section).and_then(|section| section.get(key));
                match value {
                    Some(value) => write!(page, " `{value}` |"),
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

/// The definition that a property refers to, whether by itself or within a list.
fn resolved<'a>(schema: &'a Value, property: &'a Value) -> Option<&'a Value> {
    let reference = property.get("$ref").or_else(|| property["items"].get("$ref"))?.as_str()?;
    schema.pointer(reference.strip_prefix('#')?)
}

/// The values of an enumeration with their meanings.
fn choices(schema: &Value, property: &Value) -> String {
    let Some(variants) = resolved(schema, property).and_then(|definition| definition["oneOf"].as_array())
    else {
        return String::new();
    };
    let named = variants.iter().map(|variant| {
        format!("{}: {}", variant["const"], one_line(&variant["description"]).trim_end_matches('.'))
    });
    format!(" ({})", named.collect::<Vec<_>>().join("; "))
}

fn one_line(description: &Value) -> String {
    description.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_reference_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "{PAGE} is not what the types say; write it anew: {UPDATE}=1 cargo test -p configuration"
    );
}

/// Every key and every variant says what it is.
#[test]
fn every_key_is_explained() {
    let unexplained = page().lines().any(|line| line.starts_with("| `") && line.contains("` |  |"));
    assert!(!unexplained, "{}", page());
}
