//! The lending of a data folder's photographs to the workers of a run that have none.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use dataset::{Dataset, DatasetError, Piece, Rules, SampleError, Split};
use protocol::{
    DataDescription, LabelsRequest, LentData, PIECE, PictureEnd, PicturePiece, Pictures, Refusal,
    page_of_labels,
};

/// A data folder whose photographs a server lends. It is opened on a thread of its own, since that takes a while
/// for many files; whoever asks before is told to ask again.
pub struct Lender {
    folder: PathBuf,
    opened: Arc<OnceLock<Result<Dataset, String>>>,
}

impl Lender {
    /// Begins to open a data folder, which is read by `rules`.
    pub fn start(folder: &Path, rules: Rules) -> Lender {
        let lender = Lender { folder: folder.to_owned(), opened: Arc::default() };
        let (folder, opened) = (lender.folder.clone(), lender.opened.clone());
        thread::spawn(move || {
            let dataset = Dataset::open(&folder, rules);
            match &dataset {
                Ok(dataset) => tracing::info!(
                    "lends the photographs in {} to workers that have none: {} training and {} validation images",
                    folder.display(),
                    dataset.len(Split::Train),
                    dataset.len(Split::Validation)
                ),
                Err(error) => tracing::warn!("lends no photographs: {error}"),
            }
            // Nobody else sets it.
            let _ = opened.set(dataset.map_err(|error: DatasetError| error.to_string()));
        });
        lender
    }

    fn dataset(&self) -> Result<&Dataset, Refusal> {
        match self.opened.get() {
            Some(Ok(dataset)) => Ok(dataset),
            Some(Err(reason)) => {
                Err(Refusal::Internal(format!("the server cannot lend its photographs: {reason}")))
            }
            None => {
                let text = format!("the server still looks at its photographs in {}", self.folder.display());
                Err(Refusal::NotReady(text))
            }
        }
    }
}

impl Pictures for Lender {
    fn describe(&self) -> Result<LentData, Refusal> {
        let dataset = self.dataset()?;
        let dataset::Fingerprint { images, validation, hash } = dataset.fingerprint().clone();
        let data = DataDescription { images, validation, hash, classes: dataset.classes().to_vec() };
        Ok(LentData { data, shards: dataset.training_shards() })
    }

    fn labels(&self, request: LabelsRequest) -> Result<Vec<u32>, Refusal> {
        let dataset = self.dataset()?;
        let (split, start) = picture(dataset, request.validation, request.start)?;
        Ok(page_of_labels(dataset.len(split), start).map(|index| dataset.label(split, index)).collect())
    }

    fn read(&self, validation: bool, image: u32, offset: u64) -> Result<PicturePiece, Refusal> {
        let dataset = self.dataset()?;
        let (split, index) = picture(dataset, validation, image)?;
        // As a worker of this machine names it: an image that several workers cannot read counts once.
        let name = self.folder.join(dataset.name(split, index)).display().to_string();
        let end = |failure| Some(PictureEnd { name, failure });
        match dataset.piece(split, index, offset, PIECE).expect("the pictures lie in a data folder") {
            Ok(Piece { bytes, is_last }) => {
                Ok(PicturePiece { bytes, end: if is_last { end(None) } else { None } })
            }
            Err(error) if error.is_of_the_file_system() && dataset.is_away() => {
                Err(Refusal::NotReady(format!("the data folder of the server is away: {error}")))
            }
            Err(SampleError { reason, .. }) => {
                Ok(PicturePiece { bytes: Vec::new(), end: end(Some(reason.to_string())) })
            }
        }
    }
}

/// Returns the split and the index of a picture that somebody asks for.
fn picture(dataset: &Dataset, validation: bool, image: u32) -> Result<(Split, usize), Refusal> {
    let split = if validation { Split::Validation } else { Split::Train };
    let (images, index) = (dataset.len(split), image as usize);
    if index < images {
        return Ok((split, index));
    }
    Err(Refusal::Invalid(format!("picture {image} of {split:?}: expected one of {images}")))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant};

    use super::*;

    /// Waits until the folder is open.
    fn lent(lender: &Lender) -> Result<LentData, Refusal> {
        let begun = Instant::now();
        loop {
            match lender.describe() {
                Err(Refusal::NotReady(_)) if begun.elapsed() < Duration::from_secs(60) => {
                    thread::sleep(Duration::from_millis(1));
                }
                answer => return answer,
            }
        }
    }

    fn folder(files: &[(&str, usize)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for &(name, bytes) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let content: Vec<u8> = (0..bytes).map(|byte| (byte % 251) as u8).collect();
            fs::write(path, content).unwrap();
        }
        home
    }

    #[test]
    fn what_is_lent_is_what_a_worker_with_the_folder_has() {
        let home =
            folder(&[("train/a/1.jpg", 9), ("train/b/1.jpg", 8), ("train/b/2.jpg", 7), ("val/b/1.jpg", 6)]);
        let lender = Lender::start(home.path(), Rules::NEWEST);
        let LentData { data, shards } = lent(&lender).unwrap();
        let own = Dataset::open(home.path(), Rules::NEWEST).unwrap();
        assert_eq!((data.hash, data.images, data.validation), (own.fingerprint().hash.clone(), 3, 1));
        assert_eq!((data.classes, shards), (vec!["a".to_owned(), "b".to_owned()], vec![]));
        let labels = |validation, start| lender.labels(LabelsRequest { validation, start });
        assert_eq!(labels(false, 0), Ok(vec![0, 1, 1]));
        assert_eq!(labels(false, 2), Ok(vec![1]));
        assert_eq!(labels(true, 0), Ok(vec![1]));
        assert!(matches!(labels(true, 1), Err(Refusal::Invalid(_))));
    }

    #[test]
    fn a_file_comes_in_pieces_and_one_that_cannot_be_read_is_said_to_be_so() {
        let long = 2 * PIECE;
        let home = folder(&[("train/a/1.jpg", long), ("train/b/1.jpg", 8), ("val/b/1.jpg", 0)]);
        let named = |file: &str| home.path().join(file).display().to_string();
        let lender = Lender::start(home.path(), Rules::NEWEST);
        lent(&lender).unwrap();
        let (first, second) =
            (lender.read(false, 0, 0).unwrap(), lender.read(false, 0, PIECE as u64).unwrap());
        assert_eq!((first.end.is_none(), second.end.unwrap().name), (true, named("train/a/1.jpg")));
        let whole = [first.bytes, second.bytes].concat();
        assert_eq!(whole, fs::read(home.path().join("train/a/1.jpg")).unwrap());
        let empty = PictureEnd { name: named("val/b/1.jpg"), failure: None };
        assert_eq!(lender.read(true, 0, 0), Ok(PicturePiece { bytes: vec![], end: Some(empty) }));

        fs::remove_file(home.path().join("train/b/1.jpg")).unwrap();
        let end = lender.read(false, 1, 0).unwrap().end.unwrap();
        assert!(end.failure.unwrap().starts_with("cannot be read: "), "as of a file of a worker's own");
        fs::remove_dir_all(home.path().join("train")).unwrap();
        fs::remove_dir_all(home.path().join("val")).unwrap();
        let away = lender.read(false, 1, 0);
        assert!(matches!(&away, Err(Refusal::NotReady(text)) if text.contains("is away")), "{away:?}");
        assert!(matches!(lender.read(false, 2, 0), Err(Refusal::Invalid(_))));
    }

    #[test]
    fn a_folder_that_is_no_data_set_is_not_lent() {
        let lender = Lender::start(Path::new("/does/not/exist"), Rules::NEWEST);
        let refused = lent(&lender);
        assert!(
            matches!(&refused, Err(Refusal::Internal(text)) if text.contains("/does/not/exist")),
            "{refused:?}"
        );
    }
}
