//! The command `downpour data`: shows what a data folder contains, before anything is trained on it.

use std::path::Path;

use dataset::{Dataset, Look, Rules, SplitLook};
use process::print_line;
use serde_json::{Value, json};

/// Largest number of classes that the table shows.
const CLASSES_SHOWN: usize = 30;
/// Largest number of unreadable images that are named.
const REASONS_SHOWN: usize = 10;

/// Prints what the data folder `folder` contains, as text or, with `json`, as one JSON object.
///
/// # Errors
/// If the folder is not a data set, or, after printing, if it is unsuitable for training because too many of
/// its images cannot be read.
pub fn show(folder: &Path, json: bool) -> anyhow::Result<()> {
    let look = look(folder)?;
    let fit = look.check();
    match json {
        true => {
            let mut found = as_json(&look);
            found["fit"] = json!(fit.is_ok());
            print_line(found)?;
        }
        false => print_line(text(&look).trim_end())?,
    }
    Ok(fit?)
}

/// What was found in a data folder before a run on it.
pub struct Found {
    /// Number of classes.
    pub classes: usize,
    /// What was found, as lines of text for the user.
    pub lines: Vec<String>,
}

/// Inspects a data folder before a run begins to train on it.
///
/// # Errors
/// If the folder is not a data set, or if it is unsuitable for training because too many of its images cannot
/// be read.
pub fn before_run(folder: &Path) -> anyhow::Result<Found> {
    let look = look(folder)?;
    look.check()?;
    let held_out = if look.held_out { " (a fifth of every class, held out)" } else { "" };
    let mut lines = vec![format!(
        "{}: {}; {} classes, {} training and {} validation pictures{held_out}",
        folder.display(),
        look.summary(),
        look.classes.len(),
        look.train.all(),
        look.validation.all()
    )];
    lines.extend(look.passed.lines().iter().map(|line| format!("passed over: {line}")));
    let left_out = look.train.all_left_out() + look.validation.all_left_out();
    if left_out > 0 {
        lines.push(format!("left out: {left_out} pictures, which downpour data {} names", folder.display()));
    }
    Ok(Found { classes: look.classes.len(), lines })
}

fn look(folder: &Path) -> anyhow::Result<Look> {
    Ok(Dataset::open(folder, Rules::NEWEST)?.look().expect("a folder holds pictures"))
}

fn splits(look: &Look) -> [(&'static str, &SplitLook); 2] {
    [("training", &look.train), ("validation", &look.validation)]
}

fn text(look: &Look) -> String {
    let mut text = format!("{}: {}\n", look.folder.display(), look.summary());
    for (name, split) in splits(look) {
        let [least, middle, largest] = split.bytes.map(size);
        let aside =
            if name == "validation" && look.held_out { ", a fifth of every class, held out" } else { "" };
        text += &format!(
            "{name:<11}{} pictures of {least} to {largest}, half of them up to {middle}{aside}\n",
            split.all()
        );
    }
    let width = look.classes.iter().take(CLASSES_SHOWN).map(|class| class.chars().count()).max().unwrap_or(0);
    text += &format!("\n{:<width$} {:>9} {:>10} {:>9}\n", "class", "training", "validation", "left out");
    for (label, class) in look.classes.iter().enumerate().take(CLASSES_SHOWN) {
        let left_out = look.train.left_out[label] + look.validation.left_out[label];
        let (train, validation) = (look.train.pictures[label], look.validation.pictures[label]);
        text += &format!("{class:<width$} {train:>9} {validation:>10} {left_out:>9}\n");
    }
    if look.classes.len() > CLASSES_SHOWN {
        text += &format!("and {} more classes\n", look.classes.len() - CLASSES_SHOWN);
    }
    let passed = look.passed.lines();
    if !passed.is_empty() {
        text += "\npassed over\n";
        passed.iter().for_each(|line| text += &format!("  {line}\n"));
    }
    let reasons: Vec<_> = splits(look).into_iter().flat_map(|(_, split)| &split.reasons).collect();
    if !reasons.is_empty() {
        text += "\nleft out\n";
        for (path, reason) in reasons.iter().take(REASONS_SHOWN) {
            text += &format!("  {}: {reason}\n", path.display());
        }
        if reasons.len() > REASONS_SHOWN {
            text += &format!("  and {} more: --json has all of them\n", reasons.len() - REASONS_SHOWN);
        }
    }
    text
}

fn as_json(look: &Look) -> Value {
    let split = |split: &SplitLook| {
        let kinds: serde_json::Map<String, Value> =
            split.kinds.iter().map(|(kind, count)| (kind.name().to_owned(), json!(count))).collect();
        let left_out = split.reasons.iter();
        json!({
            "pictures": split.all(),
            "left_out": split.all_left_out(),
            "incomplete": split.incomplete,
            "kinds": kinds,
            "bytes": { "least": split.bytes[0], "median": split.bytes[1], "largest": split.bytes[2] },
            "reasons": left_out
                .map(|(path, reason)| json!({ "path": path.display().to_string(), "reason": reason }))
                .collect::<Vec<_>>(),
        })
    };
    let classes = look.classes.iter().enumerate().map(|(label, class)| {
        json!({
            "class": class,
            "training": look.train.pictures[label],
            "validation": look.validation.pictures[label],
            "left_out": look.train.left_out[label] + look.validation.left_out[label],
        })
    });
    json!({
        "folder": look.folder.display().to_string(),
        "summary": look.summary(),
        "held_out": look.held_out,
        "classes": classes.collect::<Vec<_>>(),
        "training": split(&look.train),
        "validation": split(&look.validation),
        "passed_over": look.passed.lines(),
    })
}

/// Returns a number of bytes as text with a decimal unit, such as "12 kB".
fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_reasons_are_cut_short_the_flag_that_has_all_is_named() {
        let home = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            std::fs::create_dir(home.path().join(class)).unwrap();
            (0..6).for_each(|i| std::fs::write(home.path().join(format!("{class}/{i}.jpg")), "").unwrap());
        }
        let twelve = text(&look(home.path()).unwrap());
        assert!(twelve.ends_with("\n  and 2 more: --json has all of them\n"), "{twelve}");
        (0..2).for_each(|i| std::fs::remove_file(home.path().join(format!("a/{i}.jpg"))).unwrap());
        let ten = text(&look(home.path()).unwrap());
        assert!(ten.contains("left out") && !ten.contains("--json"), "{ten}");
    }
}
