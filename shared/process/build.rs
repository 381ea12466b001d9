//! Tells the program which commit it is built from, for the first line of its log: that of `DOWNPOUR_COMMIT` where
//! the environment gives it, as where a build sees no repository, or else of the repository around it. Only release
//! builds look, since a new commit would otherwise build anew whatever a developer builds.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DOWNPOUR_COMMIT");
    let given = env::var("DOWNPOUR_COMMIT").ok().filter(|commit| !commit.is_empty());
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = match given {
        None if release => {
            if let Some(moves) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
                println!("cargo::rerun-if-changed={moves}");
            }
            git(&["rev-parse", "--short=12", "HEAD"])
        }
        given => given,
    };
    let text = match commit {
        Some(commit) => format!("commit {commit}"),
        None if release => "commit not known".to_string(),
        None => "a build for development".to_string(),
    };
    println!("cargo::rustc-env=DOWNPOUR_COMMIT={text}");
}

/// Returns the line that git answers; `None` without a repository, or without git.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_string()).filter(|text| !text.is_empty())
}
