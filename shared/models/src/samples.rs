//! The command `downpour samples`: draws a contact sheet of the training samples that a configuration makes
//! from a few images.

use std::path::PathBuf;

use anyhow::Context;
use dataset::{Rules, Sheet};
use process::RunFlags;
use settings::{ConfigurationError, RunConfiguration};
use setup::Data;

/// Largest number of pixels of a sheet; each takes three bytes in memory before the sheet is compressed.
const MOST_PIXELS: u64 = 512 << 20;

/// Options of [`samples`], which draws a contact sheet of training samples.
#[derive(Clone, Debug)]
pub struct SamplesOptions {
    /// The data set whose training images are shown.
    pub data: Data,
    /// Flags that choose the run configuration by whose settings (input size, crops, distortions) the samples
    /// are made.
    pub flags: RunFlags,
    /// Number of images, each a row of the sheet.
    pub images: usize,
    /// Number of epochs, each a column of the sheet.
    pub epochs: u64,
    /// Path of the PNG file to write.
    pub output: PathBuf,
}

/// Draws a contact sheet of training samples, with a row for each image and a column for each epoch, and
/// writes it to `options.output`; returns a text that names the images of the rows.
///
/// # Errors
/// If the configuration or the data cannot be used, if the sheet would be too large, if an image cannot be
/// read, or if the PNG file cannot be written.
pub fn samples(options: &SamplesOptions) -> anyhow::Result<String> {
    let recipe = if matches!(options.data, Data::Folder(_)) { "paper" } else { "quick" };
    let configuration = options.flags.resolve(recipe)?;
    let size = configuration.network.input_size;
    let sheet = sheet(&options.data, &configuration, options.images, options.epochs)?;
    files::write(&options.output, &sheet.png)
        .with_context(|| format!("write {}", options.output.display()))?;
    let made = sheet.images.len() as f64 * options.epochs as f64;
    Ok(format!(
        "{}\n{}: these images by row, {} epochs by column; {:.0} samples a second at {size} pixels on one thread",
        sheet.images.join("\n"),
        options.output.display(),
        options.epochs,
        made / sheet.elapsed.as_secs_f64(),
    ))
}

/// Draws a contact sheet of the training samples that a configuration makes, with a row for each of `images` images
/// and a column for each of the first `epochs` epochs.
///
/// # Errors
/// If the data cannot be used, if the sheet would be too large, or if an image cannot be read.
pub fn sheet(
    data: &Data,
    configuration: &RunConfiguration,
    images: usize,
    epochs: u64,
) -> anyhow::Result<Sheet> {
    let size = configuration.network.input_size;
    let pixels = images as u64 * epochs * (size * size) as u64;
    if pixels > MOST_PIXELS {
        let found = format!("{size} pixels for {images} x {epochs} samples");
        let expected =
            "a sheet of at most 512 Mi pixels: choose fewer --rows or --columns, or a smaller --input-size"
                .into();
        Err(ConfigurationError::Value { key: "network.input_size", found, expected })?;
    }
    let data = data.open(size, Rules::NEWEST)?;
    let (seed, sampling) = (configuration.run.sample_seed(), &configuration.sampling);
    Ok(data.contact_sheet(images, epochs, seed, sampling, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_of_gigapixels_is_refused_as_a_flag() {
        let options = SamplesOptions {
            data: Data::synthetic(),
            flags: RunFlags { input_size: Some(2048), ..RunFlags::default() },
            images: 100,
            epochs: 100,
            output: "sheet.png".into(),
        };
        let error = samples(&options).unwrap_err();
        assert_eq!(setup::exit_of(&error), process::Exit::Usage);
        assert!(error.to_string().contains("found 2048 pixels for 100 x 100 samples, expected "), "{error}");
    }
}
