//! The text of a plan for people: tables, sentences, and the commands that begin the run.

use std::fmt::Write;

use process::RunFlags;
use serde::Serialize;
use settings::ConfigurationError;
use simulation::fleet::{Fleet, Group};
use simulation::plan::{GroupPlan, Plan};

use crate::commands::plan::Calibration;

/// A command of the planned run, and where it is to be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Where: "server", or the name of a group.
    pub on: String,
    /// The command, with names in capitals for what the fleet does not say.
    pub command: String,
}

/// Returns the commands by which the run begins on the fleet. What the flags `run` ask for is given to the
/// server, and the workers take it from there; the formats of gradients and parameters each worker finds by
/// itself. The commands of a run `of_photographs` name these.
///
/// # Errors
/// If a flag is wrong.
pub fn commands(
    fleet: &Fleet,
    run: &RunFlags,
    of_photographs: bool,
) -> Result<Vec<Command>, ConfigurationError> {
    let words: String = run.to_words()?.iter().map(|word| format!(" {}", quoted(word))).collect();
    let data = if of_photographs { " --data PHOTOS" } else { "" };
    let threads = |group: &Group| group.cores.map_or(String::new(), |cores| format!(" --threads {cores}"));
    let join = |group: &Group, shard: &str| Command {
        on: group.name.clone(),
        command: format!("downpour join SERVER:7070 --token-file TOKEN{data}{}{shard}", threads(group)),
    };
    let mut commands = Vec::new();
    let mut beside = fleet.machines.iter().filter(|group| group.at_server);
    let processes = fleet.processes();
    if let Some(first) = beside.next() {
        let alone = fleet.count() == 1;
        let advertise = if alone { "" } else { " --advertise SERVER:7070" };
        let others = if processes > 1 { format!(" --other-shards {}", processes - 1) } else { String::new() };
        let command =
            format!("downpour{data} --workers 1 --shards 1{advertise}{others}{}{words}", threads(first));
        let on = if first.count > 1 { format!("first of {}", first.name) } else { first.name.clone() };
        commands.push(Command { on, command });
        let shard = " --shard OWN-NAME:7070 --server-token-file SERVER-TOKEN";
        commands.extend(
            (first.count > 1).then_some(first).into_iter().chain(beside).map(|group| join(group, shard)),
        );
    } else {
        let several = if processes > 1 { format!(" --servers {processes}") } else { String::new() };
        let server = "parameter-server --listen 0.0.0.0:7070 --advertise";
        commands
            .push(Command { on: "server".into(), command: format!("{server} SERVER:7070{several}{words}") });
        if processes > 1 {
            let command =
                format!("{server} OWN-NAME:7070 --coordinator SERVER:7070 --token-file SERVER-TOKEN");
            commands.push(Command { on: "other server machines".into(), command });
        }
    }
    commands.extend(fleet.machines.iter().filter(|group| !group.at_server).map(|group| join(group, "")));
    Ok(commands)
}

/// Returns a word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./%:,+".contains(letter);
    match word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Returns the plan as text.
pub fn text(plan: &Plan, calibration: Option<&Calibration>, commands: &[Command]) -> String {
    let mut text = String::new();
    if let Some(Calibration { threads, one, all }) = calibration {
        text += &match threads {
            1 => format!("this machine: {all:.1} images/s with one thread\n\n"),
            _ => format!("this machine: {one:.1} images/s with one thread, {all:.1} with {threads}\n\n"),
        };
    }
    // Writing into a String cannot fail.
    let _ = table(&mut text, plan);
    for group in &plan.groups {
        text += &reason(group);
    }
    if !plan.seconds.is_finite() {
        return text + "\nthe run never ends: no machine is there for as long as a step takes\n";
    }
    let _ = summary(&mut text, plan);
    let wide = commands.iter().map(|command| command.on.chars().count()).max().unwrap_or(0);
    for Command { on, command } in commands {
        text += &format!("{on:<wide$}  {command}\n");
    }
    for advice in &plan.advice {
        text += &format!("\n{advice}\n");
    }
    text
}

/// Writes a line for each group, and one for all.
fn table(to: &mut String, plan: &Plan) -> std::fmt::Result {
    let wide = plan.groups.iter().map(|group| group.name.chars().count()).max().unwrap_or(0).max(5);
    writeln!(
        to,
        "{:<wide$} {:>8} {:>9} {:>10} {:>9} {:>9} {:>10} {:>9} {:>9}",
        "group",
        "machines",
        "each/s",
        "images/s",
        "computing",
        "gradients",
        "parameters",
        "GB/h up",
        "GB/h down"
    )?;
    for group in &plan.groups {
        writeln!(
            to,
            "{:<wide$} {:>8} {:>9.1} {:>10.1} {:>7.0} % {:>9} {:>10} {:>9.1} {:>9.1}",
            group.name,
            group.count,
            group.alone,
            group.images_per_second,
            100.0 * group.computing,
            group.gradients.to_string(),
            group.parameters.to_string(),
            group.bytes_up_per_hour / 1e9,
            group.bytes_down_per_hour / 1e9
        )?;
    }
    if plan.groups.len() > 1 {
        let (up, down) = (plan.bytes_up_per_hour / 1e9, plan.bytes_down_per_hour / 1e9);
        writeln!(
            to,
            "{:<wide$} {:>8} {:>9} {:>10.1} {:>9} {:>9} {:>10} {up:>9.1} {down:>9.1}",
            "all", plan.workers, "", plan.images_per_second, "", "", ""
        )?;
    }
    writeln!(to)
}

/// Writes what the whole fleet makes of a run that ends.
fn summary(to: &mut String, plan: &Plan) -> std::fmt::Result {
    let hours = plan.seconds / 3600.0;
    writeln!(to, "\ntime            {} for {} images, without evaluations", time(hours), plan.images)?;
    let (up, down) = (plan.bytes_up_per_hour * hours, plan.bytes_down_per_hour * hours);
    if up + down > 0.0 {
        writeln!(to, "bytes           {} to the server and {} from it in all", size(up), size(down))?;
        let (receiving, sending) = (100.0 * plan.receiving, 100.0 * plan.sending);
        writeln!(to, "server's link   receives {receiving:.0} % of the time, sends {sending:.0} %")?;
    }
    writeln!(to, "updates         {:.1} a second at the server", plan.updates_per_second)?;
    writeln!(to, "staleness       {:.1} in the mean", plan.staleness)?;
    let of = plan.workers;
    match (plan.useful_workers, plan.noise_scale) {
        (Some(useful), Some(scale)) => {
            writeln!(to, "useful workers  {useful:.1} of {of}, at a noise scale of {scale:.0} images")?;
        }
        _ => writeln!(
            to,
            "useful workers  not known of {of}: a run's metrics have the noise scale of its images, and --noise-scale \
             takes it"
        )?,
    }
    if plan.lost_images > 0.5 {
        let lost = plan.lost_images;
        writeln!(to, "lost images     {lost:.0}, computed again after a machine was taken away")?;
    }
    if plan.cost > 0.0 {
        writeln!(to, "cost            {:.2}", plan.cost)?;
    }
    writeln!(to)
}

/// Returns a line on why a group has its formats.
fn reason(group: &GroupPlan) -> String {
    let rate = |rate: Option<f64>| {
        rate.map_or("without limit".into(), |rate| format!("{} MB/s", significant(rate / 1e6)))
    };
    let step = significant(group.step);
    match (group.rate_up, group.rate_down) {
        (None, None) => format!("{}: no link limits it, in steps that compute for {step} s\n", group.name),
        (up, down) => format!(
            "{}: the links give each {} up and {} down, in steps that compute for {step} s\n",
            group.name,
            rate(up),
            rate(down)
        ),
    }
}

/// Returns a number with three significant digits.
fn significant(number: f64) -> String {
    let digits = (2 - number.max(1e-6).log10().floor() as i32).clamp(0, 6);
    format!("{number:.*}", digits as usize)
}

/// Returns a number of bytes in GB or TB.
fn size(bytes: f64) -> String {
    match bytes {
        ..1e12 => format!("{} GB", significant(bytes / 1e9)),
        _ => format!("{} TB", significant(bytes / 1e12)),
    }
}

/// Returns a time in minutes, hours or days.
fn time(hours: f64) -> String {
    match hours {
        ..1.0 => format!("{} minutes", significant(60.0 * hours)),
        ..72.0 => format!("{} hours", significant(hours)),
        _ => format!("{} days", significant(hours / 24.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!((size(534.5e9), size(32.66e12)), ("534 GB".into(), "32.7 TB".into()));
        for (number, expected) in [(0.4712, "0.471"), (15.62, "15.6"), (1234.4, "1234")] {
            assert_eq!(significant(number), expected);
        }
        for (hours, expected) in [(0.5, "30.0 minutes"), (40.0, "40.0 hours"), (240.0, "10.0 days")] {
            assert_eq!(time(hours), expected);
        }
    }

    #[test]
    fn a_word_is_quoted_where_the_shell_would_read_it_otherwise() {
        assert_eq!(quoted("--set=run.gradient_wire=top1%"), "--set=run.gradient_wire=top1%");
        assert_eq!(quoted("--set=run.init_except=*/it's"), r"'--set=run.init_except=*/it'\''s'");
    }
}
