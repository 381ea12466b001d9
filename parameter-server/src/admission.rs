//! Who may take part: the same protocol, the same data.

use protocol::{DataDescription, PROTOCOL_VERSION, Refusal};

/// The protocol must be this release's.
pub(crate) fn protocol_version(who: &str, found: u32) -> Result<(), Refusal> {
    if found == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(Refusal::Mismatch(format!(
        "protocol version: expected {PROTOCOL_VERSION}, found {found}; start the {who} from the server's release"
    )))
}

/// The first way in which a worker's data differs from the run's.
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
    if run.hash != found.hash {
        return differs("hash of the file names", run.hash.clone(), found.hash.clone());
    }
    Ok(())
}
