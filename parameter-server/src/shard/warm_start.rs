//! A warm start: tensors start with the values of a model file instead of random initial values.
//!
//! Every process of the server reads the file, which its own flags name, as it starts. No message carries a
//! model, and no worker has to send one. The update rule holds the hash of the file, so that all processes
//! start from the same one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use files::Digest;
use formats::folder;
use parameters::{Layout, Tensor, checkpoint::Checkpoint, pattern};
use protocol::UpdateRule;
use settings::RunConfiguration;

/// Content of the model file that a run starts from: its tensors, used in place of random initial values.
pub struct WarmStart {
    path: PathBuf,
    sha256: String,
    checkpoint: Checkpoint,
}

impl WarmStart {
    /// Reads a model: a file, either safetensors or a Caffe model, or that in the folder of a run or a snapshot.
    ///
    /// # Errors
    /// If the file cannot be read, is incomplete, or has a tensor with values that are not finite.
    pub fn read(path: &Path) -> anyhow::Result<Arc<WarmStart>> {
        let path = &*folder::named(path);
        let read = || {
            let bytes = formats::read_bytes(path)?;
            let (_, checkpoint) = formats::parse(&bytes, path)?;
            let sha256 = Digest::of(&bytes).to_string();
            anyhow::Ok(Arc::new(WarmStart { path: path.into(), sha256, checkpoint }))
        };
        read().context("start from a model (--init-from)")
    }

    /// Reads the model file that a configuration names in `run.init_from`, if any, and records the file's
    /// SHA-256 in `run.init_sha256`.
    ///
    /// # Errors
    /// If the model file cannot be used, as for [`Self::read`], or if `run.init_sha256` holds another SHA-256
    /// already.
    pub fn named_by(configuration: &mut RunConfiguration) -> anyhow::Result<Option<Arc<WarmStart>>> {
        let Some(file) = &configuration.run.init_from else { return Ok(None) };
        let warm = WarmStart::read(file.as_ref())?;
        let found = warm.sha256();
        let expected = configuration.run.init_sha256.get_or_insert_with(|| found.into());
        ensure!(
            expected == found,
            "configuration key run.init_sha256: expected {expected}, found {found} of the file run.init_from; give that \
             file, or leave the key out"
        );
        Ok(Some(warm))
    }

    /// SHA-256 of the model file, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the values of the file with which a tensor starts, or none if the tensor starts by its
    /// initialiser: because the rule says so, or because the file has no tensor of its name and shape.
    pub(crate) fn values(&self, rule: &UpdateRule, tensor: &Tensor) -> Option<&[f32]> {
        if rule.init_except.iter().any(|except| pattern::matches(except, &tensor.name)) {
            return None;
        }
        let found = self.checkpoint.tensors.get(&tensor.name)?;
        (found.shape() == tensor.shape)
            .then(|| found.as_slice().expect("tensors are read in standard layout"))
    }

    /// Describes in lines of the log which tensors start from the file and which do not.
    pub(crate) fn summary(&self, rule: &UpdateRule, layout: &Layout) -> Vec<String> {
        let (taken, anew): (Vec<_>, Vec<_>) =
            layout.tensors().iter().partition(|tensor| self.values(rule, tensor).is_some());
        let left = self.checkpoint.tensors.keys().filter(|name| layout.find(name).is_none());
        let mut lines = vec![format!(
            "starting from {}: {} of the network's {} tensors are taken, {} values",
            self.path.display(),
            taken.len(),
            layout.tensors().len(),
            taken.iter().map(|tensor| tensor.values()).sum::<usize>()
        )];
        let anew: Vec<_> = anew.into_iter().map(|tensor| self.why_not(tensor)).collect();
        let left: Vec<_> = left.map(String::as_str).collect();
        if !anew.is_empty() {
            lines.push(format!("made anew: {}", anew.join(", ")));
        }
        if !left.is_empty() {
            lines.push(format!("in the file, but not in the network: {}", left.join(", ")));
        }
        lines
    }

    /// Describes a tensor that does not start from the file: its name and shape, and the reason.
    fn why_not(&self, tensor: &Tensor) -> String {
        match self.checkpoint.tensors.get(&tensor.name) {
            None => format!("{tensor} (not in the file)"),
            Some(found) if found.shape() != tensor.shape => {
                format!("{tensor} (in the file {:?})", found.shape())
            }
            Some(_) => format!("{tensor} (by init_except)"),
        }
    }
}

/// Checks that this process was given the model file that the run starts from, and that the file fits the
/// network.
pub(crate) fn check(warm: Option<&WarmStart>, rule: &UpdateRule, layout: &Layout) -> Result<(), String> {
    match (&rule.init_sha256, warm) {
        (None, None) => Ok(()),
        (None, Some(warm)) => Err(format!(
            "the run starts from no model file, this process was given {}; leave out its --init-from",
            warm.path.display()
        )),
        (Some(expected), None) => Err(format!(
            "the run starts from a model file (SHA-256 {expected}) that this process was not given; start it with \
             --init-from FILE"
        )),
        (Some(expected), Some(warm)) if *expected != warm.sha256 => Err(format!(
            "the run starts from a model file with SHA-256 {expected}, this process was given {} with {}; give all the same",
            warm.path.display(),
            warm.sha256
        )),
        (Some(_), Some(warm)) => {
            let tensors = layout.tensors();
            let unused = |except: &&String| !tensors.iter().any(|t| pattern::matches(except, &t.name));
            if let Some(except) = rule.init_except.iter().find(unused) {
                return Err(format!(
                    "configuration key run.init_except: no tensor is named as the pattern {except:?} says; expected one \
                     that fits, as \"loss3/classifier/*\""
                ));
            }
            if tensors.iter().any(|tensor| warm.values(rule, tensor).is_some()) {
                return Ok(());
            }
            let example = tensors.first().map(|tensor| warm.why_not(tensor)).unwrap_or_default();
            Err(format!(
                "model file {} has no tensor that fits the network, as {example}; give a model of this network, or the \
                 network of that model",
                warm.path.display()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use kernels::Isa;
    use ndarray::{ArrayD, IxDyn};
    use protocol::Kind;

    use super::*;
    use crate::{
        Shard,
        testing::{layout, rule},
    };

    /// A model of the test layout, but with a classifier of 7 classes and one more tensor.
    fn warm(home: &Path) -> Arc<WarmStart> {
        let tensor = |shape: &[usize], start: f32| {
            let values = (0..shape.iter().product()).map(|i| start + i as f32).collect();
            ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
        };
        let mut checkpoint = Checkpoint::default();
        for (name, shape, start) in [
            ("fc/weights", [300, 1000].as_slice(), 0.5),
            ("fc/bias", &[300], 7.0),
            ("classifier/weights", &[7, 30], 0.0),
            ("loss1/fc/weights", &[2, 2], 0.0),
        ] {
            checkpoint.tensors.insert(name.into(), tensor(shape, start));
        }
        let path = home.join("model.safetensors");
        checkpoint.write(&path).unwrap();
        WarmStart::read(&path).unwrap()
    }

    fn shard(warm: Option<Arc<WarmStart>>) -> Shard {
        Shard::empty(0, 1, 1, Isa::scalar()).starting_from(warm)
    }

    #[test]
    fn matching_tensors_start_as_in_the_file_and_others_anew() {
        let home = tempfile::tempdir().unwrap();
        let warm = warm(home.path());
        let rule = UpdateRule {
            init_sha256: Some(warm.sha256().into()),
            init_except: vec!["*/bias".into()],
            ..rule()
        };
        let (mut warmed, mut cold) = (shard(Some(warm.clone())), shard(None));
        warmed.begin(&rule.clone()).unwrap();
        warmed.adopt(layout()).unwrap();
        cold.begin(&crate::testing::rule()).unwrap();
        cold.adopt(layout()).unwrap();
        let whole = layout();
        for block in whole.blocks() {
            let values = |shard: &mut Shard, kind| shard.fetch(block.index, kind).unwrap().values.to_vec();
            let found = values(&mut warmed, Kind::Parameters);
            assert_eq!(
                found,
                values(&mut warmed, Kind::Average { evaluation: 0 }),
                "the average starts there too"
            );
            if block.tensor == 0 {
                // Larger than a block: the second one goes on where the first ends.
                let first = 0.5 + block.range.start as f32;
                assert_eq!((found[0], found.len()), (first, block.range.len()));
                assert_eq!(found.last(), Some(&(first + (found.len() - 1) as f32)));
            } else {
                assert_eq!(found, values(&mut cold, Kind::Parameters));
            }
        }
        assert_eq!(
            warm.summary(&rule, &layout()),
            [
                format!(
                    "starting from {}: 1 of the network's 3 tensors are taken, 300000 values",
                    home.path().join("model.safetensors").display()
                ),
                "made anew: fc/bias [300] (by init_except), classifier/weights [10, 30] (in the file [7, 30])".into(),
                "in the file, but not in the network: loss1/fc/weights".into(),
            ]
        );
    }

    #[test]
    fn a_process_without_the_runs_file_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let warm = warm(home.path());
        let file = home.path().join("model.safetensors");
        let (file, sha256) = (file.display(), warm.sha256().to_string());
        let text = |warm: Option<Arc<WarmStart>>, rule: UpdateRule| {
            let mut shard = shard(warm);
            shard.begin(&rule).unwrap();
            shard.adopt(layout()).unwrap_err().to_string()
        };
        let from = |sha256: &str| UpdateRule { init_sha256: Some(sha256.into()), ..rule() };
        let cases = [
            (
                text(Some(warm.clone()), rule()),
                format!(
                    "shard 0: the run starts from no model file, this process was given {file}; leave out its --init-from"
                ),
            ),
            (
                text(None, from("5eed")),
                "shard 0: the run starts from a model file (SHA-256 5eed) that this process was not given; start it with \
                 --init-from FILE"
                    .into(),
            ),
            (
                text(Some(warm.clone()), from("5eed")),
                format!(
                    "shard 0: the run starts from a model file with SHA-256 5eed, this process was given {file} with \
                     {sha256}; give all the same"
                ),
            ),
            (
                text(Some(warm.clone()), UpdateRule { init_except: vec!["fc*".into()], ..from(&sha256) }),
                format!(
                    "shard 0: model file {file} has no tensor that fits the network, as fc/weights [300, 1000] (by \
                     init_except); give a model of this network, or the network of that model"
                ),
            ),
            (
                text(Some(warm), UpdateRule { init_except: vec!["loss3/*".into()], ..from(&sha256) }),
                "shard 0: configuration key run.init_except: no tensor is named as the pattern \"loss3/*\" says; expected \
                 one that fits, as \"loss3/classifier/*\""
                    .into(),
            ),
        ];
        for (found, expected) in cases {
            assert!(found.ends_with(&expected), "{found}\nexpected {expected}");
        }
    }

    #[test]
    fn a_model_with_one_nan_is_refused_by_tensor() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model.safetensors");
        let mut checkpoint = Checkpoint::default();
        let mut bias = ArrayD::zeros(IxDyn(&[300]));
        bias[[299]] = f32::NAN;
        checkpoint.tensors.insert("fc/bias".into(), bias);
        checkpoint.write(&path).unwrap();
        let text = format!("{:#}", WarmStart::read(&path).err().expect("an error"));
        let expected = format!(
            "start from a model (--init-from): {}: tensor fc/bias holds 1 value that is not finite (NaN or infinite), the \
             first at 299: NaN; ",
            path.display()
        );
        assert!(text.starts_with(&expected), "{text}");
    }

    #[test]
    fn a_file_that_is_no_model_says_so() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model.caffemodel");
        std::fs::write(&path, b"\x0a\x05half").unwrap();
        let text = format!("{:#}", WarmStart::read(&path).err().expect("an error"));
        let expected = format!(
            "start from a model (--init-from): model file {} (6 bytes) is neither a safetensors file nor a whole caffe \
             model: not a whole protocol buffer, at byte 2: a value of 5 bytes is announced, the data ends after 4; get \
             or write it again",
            path.display()
        );
        assert_eq!(text, expected);
    }
}
