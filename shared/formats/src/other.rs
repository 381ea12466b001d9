//! The kinds of files that are given for a model and are none, told by their content: downloads that a
//! server answered with a page, and files that lie beside models or hold models of other programs.

use crate::protobuf::{Reader, Value};

/// A kind of file that holds no model that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// The kind of the file, with an article: "an HTML page".
    pub what: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

/// Largest part of a file, in bytes from its start, that is looked at as text.
const MOST_TEXT: usize = 64 << 10;

/// Starts of files, and the kinds that have them.
const STARTS: [(&[u8], Other); 9] = [
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"\x1f\x8b", other("a gzip archive", "unpack it")),
    (b"\x89PNG", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", PYTORCH),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
];

const HDF5: Other = other(
    "an HDF5 file, as Keras writes it, and Caffe for .caffemodel.h5",
    "let Caffe write it with snapshot_format: BINARYPROTO",
);
const PICTURE: Other = other("a picture", "give a model");
const PICKLE: Other = other("a pickle of Python", "write its tensors as safetensors, as the guide says");
const PYTORCH: Other =
    other("a file of PyTorch (.pth, .pt)", "write its tensors as safetensors, as the guide says");

const fn other(what: &'static str, advice: &'static str) -> Other {
    Other { what, advice }
}

impl Other {
    /// Recognises the kind of a file by its content `bytes`, which no reader of models takes. Returns `None`
    /// for a kind that is not known, such as a model that is cut.
    pub fn of(bytes: &[u8]) -> Option<Other> {
        if bytes.is_empty() {
            return Some(other("empty", "get or write it again"));
        }
        if bytes.starts_with(b"PK\x03\x04") {
            // A file of PyTorch is an archive whose first entry is NAME/data.pkl.
            let first = &bytes[..bytes.len().min(4096)];
            return match first.windows(8).any(|part| part == b"data.pkl") {
                true => Some(PYTORCH),
                false => Some(other("a ZIP archive", "unpack it")),
            };
        }
        if bytes.get(257..262) == Some(b"ustar") {
            return Some(other("a tar archive", "unpack it"));
        }
        let start = STARTS.iter().find(|(start, _)| bytes.starts_with(start));
        start.map(|(_, other)| *other).or_else(|| of_text(bytes)).or_else(|| of_message(bytes))
    }
}

/// The kind of a text.
fn of_text(bytes: &[u8]) -> Option<Other> {
    let start = &bytes[..bytes.len().min(MOST_TEXT)];
    let text = match str::from_utf8(start) {
        Ok(text) => text,
        // The end of what is looked at may lie inside a character.
        Err(error) if error.error_len().is_none() => str::from_utf8(&start[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if text.contains(|letter: char| letter.is_ascii_control() && !letter.is_ascii_whitespace()) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('<') {
        let what = if text.starts_with("<?xml") { "an XML document" } else { "an HTML page" };
        return Some(other(what, "a server sends such in place of a file: get the file itself"));
    }
    if text.starts_with("version https://git-lfs") {
        return Some(other("a pointer of Git LFS", "get the file itself with `git lfs pull`"));
    }
    let has = |key: &str| {
        text.lines().any(|line| {
            line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['{', ':']))
        })
    };
    Some(if has("layer") || has("layers") {
        other(
            "a prototxt, which describes a network without its weights",
            "give the .caffemodel of that network",
        )
    } else if has("base_lr") || has("solver_mode") {
        other("the prototxt of a solver", "give the .caffemodel that the solver wrote")
    } else {
        other("a text", "give a model")
    })
}

/// The kind of a protocol buffer that is whole, by the numbers and types of its fields.
fn of_message(bytes: &[u8]) -> Option<Other> {
    let mut message = Reader::new(bytes);
    // By field number: how often it is there as an integer, and as bytes.
    let (mut integers, mut strings) = ([0u64; 8], [0u64; 8]);
    while let Some((number, value)) = message.field().ok()? {
        let number = usize::try_from(number).ok().filter(|&number| number < 8).unwrap_or(0);
        match value {
            Value::Varint(_) => integers[number] += 1,
            Value::Bytes(_) => strings[number] += 1,
            _ => {}
        }
    }
    if integers[1..=4].iter().all(|&times| times == 1) && strings[5] > 0 {
        return Some(other("a single blob of Caffe (.binaryproto), such as a mean", "give the .caffemodel"));
    }
    if integers[1] == 1 && strings[7] == 1 {
        return Some(other("an ONNX model", "give the file that it was made from"));
    }
    // Iteration, name of the model, history, step.
    if integers[1] == 1 && strings[3] > 0 {
        return Some(other("the state of Caffe's solver (.solverstate)", "give the .caffemodel beside it"));
    }
    (strings[1] > 1).then_some(other("a graph of TensorFlow (.pb)", "give a caffe model of GoogLeNet"))
}
