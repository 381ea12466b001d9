//! The data set: its classes, and its labelled samples in a training and a validation split.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use files::Digest;
use image::RgbImage;
use settings::{Preprocessing, Sampling};

use crate::decode;
use crate::decode_error::SampleError;
use crate::entry::{Entry, Index};
use crate::error::DatasetError;
use crate::evaluation_crops::Crops;
use crate::fingerprint::Fingerprint;
use crate::lent::{Lent, LentError, LentSet, PictureSource};
use crate::look::Look;
use crate::order::{epoch_order, merged_order};
use crate::passed::Passed;
use crate::piece::{self, Piece};
use crate::rules::Rules;
use crate::sampling::{write_centre, write_sample};
use crate::split::Split;
use crate::stamps;
use crate::streams::Streams;
use crate::synthetic::{Scene, Synthetic};
use crate::views::Views;

/// Number of images of each split that are tried to find out whether the data folder is unavailable.
const PROBES: usize = 8;

/// An error: the synthetic images, which the program draws itself, could not be written as files.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {error}; name a new folder in one that is there and has room", path.display())]
pub struct WriteError {
    path: PathBuf,
    error: io::Error,
}

/// A data set of labelled images: photographs in class folders or tar shards, here or on another machine, or
/// synthetic images.
#[derive(Debug)]
pub struct Dataset {
    classes: Vec<String>,
    fingerprint: Fingerprint,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Images(Images),
    Lent(Lent),
    Synthetic(Synthetic),
}

/// The images of a data folder.
#[derive(Debug)]
struct Images {
    index: Index,
    shards: Streams,
}

impl Dataset {
    /// Opens a data folder. It contains class folders in `train/` and `val/` (or `valid/`, `validation/`, in
    /// any case), or class folders alone: then a fifth of the images is held out for validation, by a hash of
    /// their paths, and a log line says so. `rules` is the version of the rules by which the folder is read.
    ///
    /// Classes are the folder names in byte order. The split depends only on names.
    ///
    /// Tar shards in the WebDataset layout (`*.tar`) may take the place of class folders. Consecutive members
    /// `key.jpg` (or `.jpeg`, `.png`) and `key.cls`, which holds the number of the class in ASCII, form a
    /// sample; other members are skipped. `classes.txt` in the data folder holds the names of the classes,
    /// one per line; without it their numbers are the names. Of a shard that is truncated or damaged, the
    /// samples before the fault are used, and a warning names its position.
    ///
    /// # Errors
    /// If the folder is not a data set; the text says what was expected and what was found.
    pub fn open(folder: &Path, rules: Rules) -> Result<Dataset, DatasetError> {
        Ok(Dataset::of_images(Index::open(folder, rules)?))
    }

    /// Opens a data folder for evaluation only: all images of its validation split, or of the folder itself
    /// if it has no splits, become the validation split. The training split is empty, and a single class
    /// suffices.
    ///
    /// # Errors
    /// If the folder is not a data set.
    pub fn open_validation(folder: &Path, rules: Rules) -> Result<Dataset, DatasetError> {
        Ok(Dataset::of_images(Index::open_validation(folder, rules)?))
    }

    fn of_images(mut index: Index) -> Dataset {
        let fingerprint = Fingerprint::of(&index);
        let classes = std::mem::take(&mut index.classes);
        let shards = Streams::new(index.shards.iter().map(|shard| index.folder.join(shard)).collect());
        Dataset { classes, fingerprint, source: Source::Images(Images { index, shards }) }
    }

    /// Creates a data set of pictures that somebody else has: `set` is what is in it, and `source` gets the
    /// picture of each sample when it is read.
    ///
    /// # Errors
    /// If the contents of `set` contradict each other.
    pub fn lent(set: LentSet, source: Arc<dyn PictureSource>) -> Result<Dataset, LentError> {
        set.check()?;
        let (images, validation) = (set.train.len() as u64, set.validation.len() as u64);
        let fingerprint = Fingerprint { images, validation, hash: set.hash.clone() };
        Ok(Dataset {
            classes: set.classes.clone(),
            fingerprint,
            source: Source::Lent(Lent::new(set, source)),
        })
    }

    /// Creates the synthetic set: 10 classes, with `images` training and `validation` validation images,
    /// which the program draws on demand for network inputs of `size` x `size` pixels. The image of a given
    /// split and index is always the same.
    pub fn synthetic(images: usize, validation: usize, size: usize) -> Dataset {
        Dataset::of_scenes(images, validation, size, Scene::Object)
    }

    fn of_scenes(images: usize, validation: usize, size: usize, scene: Scene) -> Dataset {
        let drawn = Synthetic::new(size, scene);
        let hash = Digest::of(drawn.edition()).to_string();
        let fingerprint = Fingerprint { images: images as u64, validation: validation as u64, hash };
        Dataset { classes: drawn.classes(), fingerprint, source: Source::Synthetic(drawn) }
    }

    /// Writes `images` training and `validation` validation images, which the program draws, as PNG files
    /// into a new `folder`, with class folders in `train/` and `val/`, as [`open`](Self::open) reads them.
    /// Each shows the objects that `scene` names and is drawn for network inputs of `size` x `size` pixels;
    /// with [`Scene::Object`] they are the images of [`synthetic`](Self::synthetic).
    ///
    /// # Errors
    /// If the folder already exists or a file cannot be written.
    pub fn write_synthetic(
        images: usize,
        validation: usize,
        size: usize,
        scene: Scene,
        folder: &Path,
    ) -> Result<(), WriteError> {
        let set = Dataset::of_scenes(images, validation, size, scene);
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| WriteError { path, error }
        };
        fs::create_dir(folder).map_err(at(folder))?;
        for (split, name) in [(Split::Train, "train"), (Split::Validation, "val")] {
            for index in 0..set.len(split) {
                let class = folder.join(name).join(&set.classes[set.label(split, index) as usize]);
                fs::create_dir_all(&class).map_err(at(&class))?;
                let file = class.join(format!("{index:06}.png"));
                let picture = set.image(split, index).expect("a drawn picture needs no file");
                picture.save(&file).map_err(io::Error::other).map_err(at(&file))?;
            }
        }
        Ok(())
    }

    /// Returns the names of the classes; a label is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns the number of samples in a split.
    pub fn len(&self, split: Split) -> usize {
        match split {
            Split::Train => self.fingerprint.images as usize,
            Split::Validation => self.fingerprint.validation as usize,
        }
    }

    /// Returns the fingerprint of the data set (numbers of samples and a hash), by which two processes find
    /// out whether they have the same data.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Returns whether the validation images are a fifth of the images, chosen by a hash of their names,
    /// because the data folder has no validation split.
    pub fn held_out(&self) -> bool {
        matches!(&self.source, Source::Images(images) if images.index.held_out)
    }

    /// Returns whether the data folder itself separates training from validation images, such as by folders
    /// named `train` and `val`.
    pub fn is_split(&self) -> bool {
        matches!(&self.source, Source::Images(images) if images.index.given)
    }

    /// Inspects the first bytes of every image file; returns how many files there are of each kind and which
    /// cannot be read, or `None` unless the images lie in a data folder.
    pub fn look(&self) -> Option<Look> {
        match &self.source {
            Source::Images(images) => Some(Look::at(&images.index, &self.classes)),
            Source::Lent(_) | Source::Synthetic(_) => None,
        }
    }

    /// Returns whether the data folder as a whole is unavailable: none of a few images from all over the set
    /// can be opened. To be asked once a sample could not be read at all.
    pub fn is_away(&self) -> bool {
        match &self.source {
            Source::Images(images) => images.is_away(),
            // Its holder says by itself which of the two it is.
            Source::Lent(_) => true,
            Source::Synthetic(_) => false,
        }
    }

    /// Returns the files and folders in the data folder that are not part of the data set, or `None` unless the
    /// images lie in a data folder.
    pub fn passed(&self) -> Option<&Passed> {
        match &self.source {
            Source::Images(images) => Some(&images.index.passed),
            Source::Lent(_) | Source::Synthetic(_) => None,
        }
    }

    /// Returns the label of a sample, the index of its class in the list of classes, without reading its
    /// image.
    ///
    /// # Panics
    /// If `index` is not in the split.
    pub fn label(&self, split: Split, index: usize) -> u32 {
        assert!(index < self.len(split), "sample {index} of {} in {split:?}", self.len(split));
        match &self.source {
            Source::Images(images) => images.entries(split)[index].label,
            Source::Lent(lent) => lent.label(split, index),
            Source::Synthetic(drawn) => drawn.label(index),
        }
    }

    /// Returns the name of a sample: the path of its file relative to the data folder (in a tar shard, the
    /// shard's path and the name within it); `lent/` and the sample's index for a picture of another machine, and
    /// `drawn/` with it in the synthetic set.
    ///
    /// # Panics
    /// If `index` is not in the split of a data folder.
    pub fn name(&self, split: Split, index: usize) -> String {
        match &self.source {
            Source::Images(images) => images.entries(split)[index].path.display().to_string(),
            Source::Lent(_) => format!("lent/{index}"),
            Source::Synthetic(_) => format!("drawn/{index}"),
        }
    }

    /// Returns the stamp of each sample of a split, in the order of their indices: a hash that another file in
    /// its place would not have, nor the same file once it has been written again. It is `None` for a sample
    /// whose file cannot be looked at. Files are not read for it, only their lengths and times are.
    pub fn stamps(&self, split: Split) -> Vec<Option<Digest>> {
        match &self.source {
            Source::Images(images) => stamps::of(&images.index, images.entries(split)),
            Source::Lent(_) => vec![None; self.len(split)],
            Source::Synthetic(_) => {
                let stamp = |index| Digest::of(format!("{} {split:?} {index}", self.fingerprint.hash));
                (0..self.len(split)).map(|index| Some(stamp(index))).collect()
            }
        }
    }

    /// Returns the indices of the training samples in the shuffled order of one epoch: that of
    /// [`epoch_order`](crate::epoch_order), or, for tar shards, an order that reads them forward. It depends
    /// only on the names in the set, `seed` and `epoch`, so that a range of positions in it means the same
    /// samples to every worker.
    pub fn epoch_order(&self, seed: u64, epoch: u64) -> Vec<u32> {
        match &self.source {
            Source::Images(images) => images.epoch_order(seed, epoch),
            Source::Lent(lent) => lent.epoch_order(seed, epoch),
            Source::Synthetic(_) => epoch_order(self.len(Split::Train), seed, epoch),
        }
    }

    /// Reads training sample `index`, crops and distorts it as `sampling` says, and returns its label.
    ///
    /// `out` receives 3 x `size` x `size` values: planar R, G, B in 0..255 minus [`MEAN`](crate::MEAN),
    /// row-major. The random choices depend only on (`seed`, `epoch`, `index`).
    ///
    /// # Errors
    /// If the image cannot be read.
    ///
    /// # Panics
    /// If `index` is not in the training split, or `out` has another length.
    pub fn training_sample(
        &self,
        index: usize,
        epoch: u64,
        seed: u64,
        sampling: &Sampling,
        size: usize,
        out: &mut [f32],
    ) -> Result<u32, SampleError> {
        let label = self.label(Split::Train, index);
        let image = self.image(Split::Train, index)?;
        write_sample(sampling, &image, (seed, epoch, index as u64), size, out);
        Ok(label)
    }

    /// Reads validation sample `index`, writes its centre crop, and returns its label.
    ///
    /// `out` receives 3 x `size` x `size` values: planar R, G, B in 0..255 minus the mean of `preprocessing`,
    /// row-major.
    ///
    /// # Errors
    /// If the image cannot be read.
    ///
    /// # Panics
    /// If `index` is not in the validation split, or `out` has another length.
    pub fn validation_sample(
        &self,
        index: usize,
        preprocessing: &Preprocessing,
        size: usize,
        out: &mut [f32],
    ) -> Result<u32, SampleError> {
        let label = self.label(Split::Validation, index);
        write_centre(&self.image(Split::Validation, index)?, preprocessing, size, out);
        Ok(label)
    }

    /// Reads validation sample `index`, and returns its label and the views of it that are classified in an
    /// evaluation by so many crops at inputs of `size` x `size` pixels.
    ///
    /// # Errors
    /// If the image cannot be read.
    ///
    /// # Panics
    /// If `index` is not in the validation split.
    pub fn validation_views(
        &self,
        index: usize,
        crops: Crops,
        preprocessing: &Preprocessing,
        size: usize,
    ) -> Result<(u32, Views), SampleError> {
        let label = self.label(Split::Validation, index);
        let image = self.image(Split::Validation, index)?;
        Ok((label, Views::of(&image, crops, preprocessing, size)))
    }

    /// Reads the image of a sample.
    pub(crate) fn image(&self, split: Split, index: usize) -> Result<RgbImage, SampleError> {
        match &self.source {
            Source::Images(images) => images.read(&images.entries(split)[index]),
            Source::Lent(lent) => lent.read(split, index),
            Source::Synthetic(drawn) => Ok(drawn.picture(split, index)),
        }
    }

    /// Tells the holder of pictures that lie elsewhere which samples are going to be read, in which order.
    pub(crate) fn announce(&self, split: Split, indices: impl Iterator<Item = u32>) {
        if let Source::Lent(lent) = &self.source {
            lent.announce(split, indices.collect());
        }
    }

    /// Returns the number of training samples of each tar shard that has some, in the order of the samples;
    /// an empty list unless they lie in tar shards of a data folder.
    pub fn training_shards(&self) -> Vec<u32> {
        match &self.source {
            Source::Images(images) => images.training_shards(),
            Source::Lent(_) | Source::Synthetic(_) => Vec::new(),
        }
    }

    /// Reads at most `most` bytes of the file of a sample, undecoded, from position `offset` on; `None` unless
    /// the samples lie in a data folder.
    ///
    /// # Errors
    /// If the file cannot be read.
    ///
    /// # Panics
    /// If `index` is not in the split.
    pub fn piece(
        &self,
        split: Split,
        index: usize,
        offset: u64,
        most: usize,
    ) -> Option<Result<Piece, SampleError>> {
        match &self.source {
            Source::Images(images) => Some(images.piece(&images.entries(split)[index], offset, most)),
            Source::Lent(_) | Source::Synthetic(_) => None,
        }
    }
}

impl Images {
    fn entries(&self, split: Split) -> &[Entry] {
        match split {
            Split::Train => &self.index.train,
            Split::Validation => &self.index.validation,
        }
    }

    fn epoch_order(&self, seed: u64, epoch: u64) -> Vec<u32> {
        match &self.training_shards()[..] {
            [] => epoch_order(self.entries(Split::Train).len(), seed, epoch),
            shards => {
                merged_order(&shards.iter().map(|&images| images as usize).collect::<Vec<_>>(), seed, epoch)
            }
        }
    }

    fn training_shards(&self) -> Vec<u32> {
        let shard = |entry: &Entry| entry.part.map(|part| part.shard);
        let train = self.entries(Split::Train);
        if train.first().and_then(shard).is_none() {
            return Vec::new();
        }
        train.chunk_by(|a, b| shard(a) == shard(b)).map(|shard| shard.len() as u32).collect()
    }

    fn piece(&self, entry: &Entry, offset: u64, most: usize) -> Result<Piece, SampleError> {
        let path = self.index.folder.join(&entry.path);
        let piece = match &entry.part {
            None => piece::of_file(&path, offset, most),
            Some(part) => piece::of_part(&self.shards, part, offset, most),
        };
        piece.map_err(|reason| SampleError { path, reason })
    }

    fn is_away(&self) -> bool {
        let Index { folder, train, validation, shards, .. } = &self.index;
        let all = [train, validation].into_iter().filter(|entries| !entries.is_empty());
        let opens = |entry: &Entry| {
            let file = entry.part.map_or(&entry.path, |part| &shards[part.shard as usize]);
            let read = fs::File::open(folder.join(file)).and_then(|mut file| file.read(&mut [0]));
            read.is_ok()
        };
        let mut samples =
            all.flat_map(|entries| (0..PROBES).map(move |probe| &entries[probe * entries.len() / PROBES]));
        !samples.any(opens)
    }

    fn read(&self, entry: &Entry) -> Result<RgbImage, SampleError> {
        let path = self.index.folder.join(&entry.path);
        match &entry.part {
            None => decode::read(&path),
            Some(part) => {
                let pixels = self.shards.read(part).and_then(|bytes| decode::decode(&bytes));
                pixels.map_err(|reason| SampleError { path, reason })
            }
        }
    }
}
