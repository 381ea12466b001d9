//! `worker describe`: what the network is made of and what one image costs.

use clap::Args;
use network::{Architecture, Description, GoogLeNet};

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
}

impl NetworkFlags {
    /// The network that they ask for.
    pub fn architecture(&self) -> Architecture {
        Architecture {
            classes: self.classes,
            input_size: self.input_size,
            width: self.width,
            auxiliary_heads: !self.no_aux,
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
    if json {
        println!("{}", serde_json::to_string(&description)?);
    } else {
        print!("{}", table(&description));
    }
    Ok(())
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
        let flags = NetworkFlags { classes: 1000, input_size: 224, width: 1.0, no_aux: false };
        let whole = GoogLeNet::new(&flags.architecture()).unwrap().describe();
        assert_eq!((whole.parameters, whole.multiply_adds), (13_378_280, 1_591_044_096));
        let main = NetworkFlags { no_aux: true, ..flags };
        let main = GoogLeNet::new(&main.architecture()).unwrap().describe();
        assert_eq!((main.parameters, main.multiply_adds), (6_998_552, 1_582_671_872));
        assert!(table(&main).lines().last().unwrap().contains("6,998,552"));
    }

    #[test]
    fn digits_are_grouped_by_three() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        cases.into_iter().for_each(|(number, text)| assert_eq!(grouped(number), text));
    }
}
