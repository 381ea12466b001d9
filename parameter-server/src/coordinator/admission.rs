//! Admission checks: a process may take part if it speaks this release's protocol, and a worker only if it
//! also has the run's data.

use protocol::{DataDescription, PROTOCOL_VERSION, Refusal};
use settings::RunConfiguration;

/// Largest number of training images, which workers number in 32 bits.
const MOST_IMAGES: u64 = u32::MAX as u64;

/// Checks that a process, called `who` in the refusal, speaks the protocol version of this release.
pub(crate) fn protocol_version(who: &str, found: u32) -> Result<(), Refusal> {
    if found == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(Refusal::Mismatch(format!(
        "protocol version: expected {PROTOCOL_VERSION}, found {found}; start the {who} from the server's release"
    )))
}

/// Completes the configuration of a run that begins with a worker's data: the number of classes is that of
/// the data.
pub(crate) fn complete(
    configuration: &RunConfiguration,
    data: &DataDescription,
) -> Result<RunConfiguration, Refusal> {
    let classes = data.classes.len();
    if data.images == 0 {
        return Err(Refusal::Mismatch("the data has no training images, expected at least 1".into()));
    }
    if let Some(expected) = configuration.network.classes.filter(|expected| *expected != classes) {
        return Err(Refusal::Mismatch(format!(
            "configuration key network.classes is {expected}, the data has {classes} classes; leave --classes out or give \
             other data"
        )));
    }
    if data.images > MOST_IMAGES {
        return Err(Refusal::Mismatch(format!(
            "the data has {} training images, expected at most {MOST_IMAGES}",
            data.images
        )));
    }
    let mut configuration = configuration.clone();
    configuration.network.classes = Some(classes);
    configuration.validate().map_err(|error| Refusal::Mismatch(format!("the data's classes: {error}")))?;
    Ok(configuration)
}

/// Splits a data set's hash into its parts. The first form of the hash is a single part; the second is the
/// version of the rules, followed by the hashes that are compared one after the other.
fn parts(hash: &str) -> Vec<&str> {
    hash.split(':').collect()
}

/// Checks that a worker's data is the run's; the refusal names the first difference.
pub(crate) fn data(run: &DataDescription, found: &DataDescription) -> Result<(), Refusal> {
    let differs = |what: &str, expected: String, found: String| {
        Err(Refusal::Mismatch(format!(
            "the data is not the run's: {what}: expected {expected}, found {found}; give every worker the same data"
        )))
    };
    if run.images != found.images {
        return differs("training images", run.images.to_string(), found.images.to_string());
    }
    if run.validation != found.validation {
        return differs("validation images", run.validation.to_string(), found.validation.to_string());
    }
    if run.classes.len() != found.classes.len() {
        return differs("classes", run.classes.len().to_string(), found.classes.len().to_string());
    }
    let names = run.classes.iter().zip(&found.classes);
    if let Some((label, (expected, found))) =
        names.enumerate().find(|(_, (expected, found))| expected != found)
    {
        return differs(&format!("class {label}"), expected.clone(), found.clone());
    }
    let (parts, found_parts) = (parts(&run.hash), parts(&found.hash));
    if parts.len() != found_parts.len() {
        return differs("form of the hash", run.hash.clone(), found.hash.clone());
    }
    let mut pairs = parts.iter().zip(&found_parts).enumerate();
    if let Some((part, (expected, found))) = pairs.find(|(_, (expected, found))| expected != found) {
        let what = match (parts.len(), part) {
            (5, 0) => "version of the rules by which it is read",
            (5, 1) => "hash of the names of the training files",
            (5, 2) => "hash of the names of the validation files",
            (5, 3) => "names are the same, sizes of files are not: their hash",
            (5, 4) => "names and sizes are the same, the content of files is not: the hash of a sample",
            _ => "hash of the file names",
        };
        return differs(what, (*expected).to_owned(), (*found).to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_of(hash: &str) -> DataDescription {
        DataDescription { images: 3, validation: 1, hash: hash.into(), classes: vec!["a".into(), "b".into()] }
    }

    #[test]
    fn a_refusal_says_what_of_the_data_differs() {
        let run = data_of("2:aa:bb:cc:dd");
        let refused = |hash: &str| match data(&run, &data_of(hash)) {
            Err(Refusal::Mismatch(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(data(&run, &run), Ok(()));
        for (hash, what) in [
            ("2:a0:bb:c0:d0", "hash of the names of the training files: expected aa, found a0"),
            ("2:aa:b0:cc:dd", "hash of the names of the validation files: expected bb, found b0"),
            (
                "2:aa:bb:c0:d0",
                "names are the same, sizes of files are not: their hash: expected cc, found c0",
            ),
            ("2:aa:bb:cc:d0", "the content of files is not: the hash of a sample: expected dd, found d0"),
            ("3:aa:bb:cc:dd", "version of the rules by which it is read: expected 2, found 3"),
            ("5eed", "form of the hash: expected 2:aa:bb:cc:dd, found 5eed"),
        ] {
            assert!(refused(hash).contains(what), "{}", refused(hash));
        }
        // A hash of the first form is still compared as a whole.
        assert_eq!(data(&data_of("5eed"), &data_of("5eed")), Ok(()));
        assert!(data(&data_of("5eed"), &data_of("beef")).is_err());
    }
}
