//! `worker describe`: what the network is made of and what one image costs.

use std::collections::BTreeMap;

use clap::Args;
use configuration::print_line;
use network::{Architecture, Description, GoogLeNet, Variant};

/// The flags that decide a network where no run does.
#[derive(Clone, Debug, Args)]
pub struct NetworkFlags {
    /// Number of classes
    #[arg(long, value_name = "K", default_value_t = 1000)]
    pub classes: usize,
    /// Side of the square input in pixels
    #[arg(long, value_name = "S", default_value_t = 224)]
    pub input_size: usize,
    /// Width multiplier of every layer
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub width: f32,
    /// Leave out the two auxiliary classifiers
    #[arg(long)]
    pub no_aux: bool,
    /// Which of the paper's networks: Table 1, that of its printed operations, or modules without dimension reduction
    #[arg(long, value_name = "V", value_enum, default_value_t = NetworkVariant::Table)]
    pub variant: NetworkVariant,
}

/// The networks that `--variant` names.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum NetworkVariant {
    /// Table 1 by its filter counts
    Table,
    /// Separable stem, 204 filters of 3x3 in 4a, 48 of the 5x5 reduction in 5a
    Operations,
    /// Modules of Figure 2a
    Naive,
}

impl NetworkFlags {
    /// The network that they ask for.
    pub fn architecture(&self) -> Architecture {
        Architecture {
            classes: self.classes,
            input_size: self.input_size,
            width: self.width,
            auxiliary_heads: !self.no_aux,
            variant: match self.variant {
                NetworkVariant::Table => Variant::Table,
                NetworkVariant::Operations => Variant::Operations,
                NetworkVariant::Naive => Variant::Naive,
            },
            ..Architecture::paper()
        }
    }
}

/// Prints the network as a table for people, or as one JSON object.
///
/// # Errors
/// Flags that no network can be built from.
pub fn run(flags: &NetworkFlags, json: bool) -> anyhow::Result<()> {
    let description = GoogLeNet::new(&flags.architecture())?.describe();
    match json {
        true => print_line(serde_json::to_string(&description)?)?,
        false => print_line(table(&description).trim_end())?,
    }
    Ok(())
}

/// Prints the modules with dimension reduction beside those without (paper, Figure 2b and 2a), each network fed by its own
/// modules below.
///
/// # Errors
/// Flags that no network can be built from.
pub fn modules(flags: &NetworkFlags) -> anyhow::Result<()> {
    print_line(compared(flags)?.trim_end())?;
    Ok(())
}

fn compared(flags: &NetworkFlags) -> anyhow::Result<String> {
    let describe = |variant| {
        let architecture = Architecture { variant, auxiliary_heads: false, ..flags.architecture() };
        Ok::<_, anyhow::Error>(cost_of_modules(&GoogLeNet::new(&architecture)?.describe()))
    };
    let (reduced, naive) = (describe(Variant::Table)?, describe(Variant::Naive)?);
    let mut text = format!(
        "{:<14} {:>31} {:>31} {:>7}\n{:<14} {:>9} {:>21} {:>9} {:>21} {:>7}\n",
        "",
        "with reduction (Figure 2b)",
        "naive (Figure 2a)",
        "",
        "module",
        "channels",
        "multiply-adds",
        "channels",
        "multiply-adds",
        "ratio"
    );
    for ((name, reduced), (_, naive)) in reduced.iter().zip(&naive) {
        text += &format!(
            "{name:<14} {:>9} {:>21} {:>9} {:>21} {:>7.1}\n",
            reduced.channels,
            grouped(reduced.multiply_adds),
            naive.channels,
            grouped(naive.multiply_adds),
            naive.multiply_adds as f64 / reduced.multiply_adds as f64
        );
    }
    Ok(text)
}

/// A module's output channels and multiply-adds.
#[derive(Default)]
struct ModuleCost {
    channels: usize,
    multiply_adds: u64,
}

fn cost_of_modules(description: &Description) -> BTreeMap<String, ModuleCost> {
    let mut modules = BTreeMap::<String, ModuleCost>::new();
    for layer in &description.layers {
        if let Some((module, part)) = layer.name.split_once('/').filter(|(m, _)| m.starts_with("inception_"))
        {
            let cost = modules.entry(module.to_owned()).or_default();
            cost.multiply_adds += layer.multiply_adds;
            // What ends up side by side: the reductions do not, and a pool only where nothing projects it.
            let ends = !part.ends_with("_reduce") && part != "pool";
            cost.channels += if ends { layer.output[0] } else { 0 };
            if part == "pool" && !description.layers.iter().any(|l| l.name == format!("{module}/pool_proj")) {
                cost.channels += layer.output[0];
            }
        }
    }
    modules
}

fn table(description: &Description) -> String {
    let mut text = format!(
        "{:<34} {:<16} {:>13} {:>12} {:>15}\n",
        "layer", "kind", "output", "parameters", "multiply-adds"
    );
    for layer in &description.layers {
        let output = layer.output.map(|side| side.to_string()).join("x");
        text += &format!(
            "{:<34} {:<16} {:>13} {:>12} {:>15}\n",
            layer.name,
            layer.kind,
            output,
            grouped(layer.parameters),
            grouped(layer.multiply_adds)
        );
    }
    text += &format!(
        "{:<34} {:<16} {:>13} {:>12} {:>15}\n",
        "all",
        "",
        "",
        grouped(description.parameters),
        grouped(description.multiply_adds)
    );
    text
}

/// 1234567 as "1,234,567".
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_network_has_the_known_size() {
        let variant = NetworkVariant::Table;
        let flags = NetworkFlags { classes: 1000, input_size: 224, width: 1.0, no_aux: false, variant };
        let whole = GoogLeNet::new(&flags.architecture()).unwrap().describe();
        assert_eq!((whole.parameters, whole.multiply_adds), (13_378_280, 1_591_044_096));
        let main = NetworkFlags { no_aux: true, ..flags };
        let main = GoogLeNet::new(&main.architecture()).unwrap().describe();
        assert_eq!((main.parameters, main.multiply_adds), (6_998_552, 1_582_671_872));
        assert!(table(&main).lines().last().unwrap().contains("6,998,552"));
    }

    #[test]
    fn the_guide_says_what_each_width_costs() {
        let page = include_str!("../../deploy/guide/evaluate.md");
        for width in [0.25, 0.5, 0.75, 1.0, 1.25, 1.5] {
            let cost = |no_aux| {
                let variant = NetworkVariant::Table;
                let flags = NetworkFlags { classes: 1000, input_size: 224, width, no_aux, variant };
                let network = GoogLeNet::new(&flags.architecture()).unwrap().describe();
                [grouped(network.parameters), grouped(network.multiply_adds)]
            };
            let ([all, all_adds], [main, main_adds]) = (cost(false), cost(true));
            let row = format!("| {width} | {all} | {all_adds} | {main}; {main_adds} |");
            assert!(page.contains(&row), "expected in deploy/guide/evaluate.md: {row}");
        }
    }

    #[test]
    fn reductions_are_cheaper_in_every_module_and_more_so_higher_up() {
        let variant = NetworkVariant::Table;
        let flags = NetworkFlags { classes: 1000, input_size: 224, width: 1.0, no_aux: true, variant };
        let text = compared(&flags).unwrap();
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        let found: Vec<String> = row("inception_3a").split_whitespace().map(str::to_owned).collect();
        assert_eq!(found, ["inception_3a", "256", "128,049,152", "416", "303,464,448", "2.4"]);
        assert!(row("inception_5b").contains(" 1024 ") && text.lines().count() == 2 + 9, "{text}");
    }

    #[test]
    fn digits_are_grouped_by_three() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        cases.into_iter().for_each(|(number, text)| assert_eq!(grouped(number), text));
    }
}
