//! The command `downpour describe`: tables of a network's layers and of their cost for one image.

use std::collections::BTreeMap;

use limits::Count;
use network::{Architecture, ArchitectureError, Description, GoogLeNet, Variant};

/// Returns a text table that compares the inception modules with dimension reduction (paper, Figure 2b) with
/// the naive ones (Figure 2a): for each module its output channels, its multiply-adds for one image, and the
/// ratio of the multiply-adds, naive to reduced. Each kind is measured in a network made of that kind only.
/// The variant and the auxiliary heads of `architecture` are ignored.
///
/// # Errors
/// If the architecture cannot be built.
pub fn modules(architecture: &Architecture) -> Result<String, ArchitectureError> {
    let describe = |variant| {
        let architecture = Architecture { variant, auxiliary_heads: false, ..architecture.clone() };
        Ok(cost_of_modules(&GoogLeNet::new(&architecture)?.describe()))
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
            Count(reduced.multiply_adds),
            naive.channels,
            Count(naive.multiply_adds),
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

/// Returns a text table of a network's layers: for each layer its name and kind, the shape of its output for
/// one image (channels x height x width), its number of parameters and its multiply-adds for one image. The
/// last line holds the sums over all layers.
pub fn table(description: &Description) -> String {
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
            Count(layer.parameters),
            Count(layer.multiply_adds)
        );
    }
    text += &format!(
        "{:<34} {:<16} {:>13} {:>12} {:>15}\n",
        "all",
        "",
        "",
        Count(description.parameters),
        Count(description.multiply_adds)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(architecture: Architecture) -> Description {
        GoogLeNet::new(&architecture).unwrap().describe()
    }

    #[test]
    fn the_paper_network_has_the_known_size() {
        let whole = described(Architecture::paper());
        assert_eq!((whole.parameters, whole.multiply_adds), (13_378_280, 1_591_044_096));
        let main = described(Architecture { auxiliary_heads: false, ..Architecture::paper() });
        assert_eq!((main.parameters, main.multiply_adds), (6_998_552, 1_582_671_872));
        assert!(table(&main).lines().last().unwrap().contains("6,998,552"));
    }

    #[test]
    fn the_guide_says_what_each_width_costs() {
        let page = include_str!("../../../deploy/guide/evaluate.md");
        for width in [0.25, 0.5, 0.75, 1.0, 1.25, 1.5] {
            let cost = |auxiliary_heads| {
                let network = described(Architecture { width, auxiliary_heads, ..Architecture::paper() });
                [Count(network.parameters), Count(network.multiply_adds)]
            };
            let ([all, all_adds], [main, main_adds]) = (cost(true), cost(false));
            let row = format!("| {width} | {all} | {all_adds} | {main}; {main_adds} |");
            assert!(page.contains(&row), "expected in deploy/guide/evaluate.md: {row}");
        }
    }

    #[test]
    fn reductions_are_cheaper_in_every_module_and_more_so_higher_up() {
        let text = modules(&Architecture::paper()).unwrap();
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        let found: Vec<String> = row("inception_3a").split_whitespace().map(str::to_owned).collect();
        assert_eq!(found, ["inception_3a", "256", "128,049,152", "416", "303,464,448", "2.4"]);
        assert!(row("inception_5b").contains(" 1024 ") && text.lines().count() == 2 + 9, "{text}");
    }
}
