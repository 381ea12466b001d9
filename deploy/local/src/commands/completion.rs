//! The command `downpour completion`: prints the script by which a shell completes the words of this program.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use process::Exit;

use crate::cli::CommandLine;

/// Flags of `downpour completion`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  downpour completion bash > ~/.local/share/bash-completion/completions/downpour
  downpour completion zsh > \"${fpath[1]}/_downpour\"
  downpour completion fish > ~/.config/fish/completions/downpour.fish")]
pub struct Flags {
    /// The shell
    pub shell: Shell,
}

/// Runs `downpour completion`.
///
/// # Errors
/// If the script cannot be printed.
pub fn run(flags: &Flags) -> anyhow::Result<Exit> {
    process::print_line(script(flags.shell).trim_end())?;
    Ok(Exit::Done)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut CommandLine::command(), "downpour", &mut script);
    String::from_utf8(script).expect("names and help are text")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_learns_commands_and_flags() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for word in ["evaluate", "completion", "learning-rate"] {
                assert!(script.contains(word), "{shell} lacks {word}");
            }
        }
    }
}
