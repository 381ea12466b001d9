//! The training samples of a run that TensorBoard shows.

use std::path::Path;

use anyhow::Context;
use formats::tensorboard::{self, Event, Picture};
use settings::RunConfiguration;
use setup::Data;

use crate::folder::Folder;

/// Number of images that are shown, a row each.
const IMAGES: usize = 6;
/// Number of epochs that are shown, a column each.
const EPOCHS: u64 = 8;

/// Returns a function that writes training samples of a few images in `data`, as `configuration` makes them, into an
/// event file in the run's folder; without `data`, those of the synthetic set. It fails if the data cannot be used, if an image
/// cannot be read, or if the file cannot be written.
pub fn writing(
    data: Option<&Path>,
    configuration: &RunConfiguration,
    folder: &Folder,
) -> impl FnOnce() -> anyhow::Result<()> + Send + use<> {
    let data = data.map_or(Data::synthetic(), |data| Data::Folder(data.into()));
    let (configuration, folder) = (configuration.clone(), folder.tensorboard().join("samples"));
    move || {
        let sheet = models::sheet(&data, &configuration, IMAGES, EPOCHS)?;
        let time = process::time_of_day();
        let mut event = Event::new(time, 0);
        let help = format!("epochs by column, by row: {}", sheet.images.join(", "));
        let [width, height] = sheet.size;
        event.picture("training samples", &help, Picture { width, height, file: &sheet.png });
        tensorboard::write(&folder, time, event).with_context(|| format!("write into {}", folder.display()))
    }
}
