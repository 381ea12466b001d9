//! The reader of an array of structures in a MATLAB 5 file, in which ILSVRC's development kit lists its
//! synsets.
//!
//! A file is a header of 128 bytes followed by elements: a type and a length of 32 bits each, then the data,
//! padded to a multiple of 8 bytes; if there are at most four bytes of data, they may take the place of the
//! second half of that tag. A compressed element contains another one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::ZlibDecoder;

/// Largest size in bytes of a file, and of a compressed element in it, which is more than any list of synsets
/// takes.
const MOST_BYTES: u64 = 1 << 24;
/// Largest number of structures of an array, and of fields of each; ILSVRC's list has fewer than 2,000
/// structures of eight fields.
const MOST_STRUCTURES: usize = 1 << 15;
const MOST_FIELDS: usize = 16;
const HEADER: usize = 128;

/// Types of elements.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Classes of arrays.
const STRUCTURES: u8 = 2;
const TEXT: u8 = 4;

/// A field of a structure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Text(String),
    Number(f64),
    /// An element of another type, or no element.
    Other,
}

/// Reads the bytes of a file, which must not be larger than a list of synsets can be.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    read_at_most(file, "the file").map_err(|error| error.to_string())
}

/// Reads a source to its end; fails if it is longer than any list of synsets.
fn read_at_most(source: impl Read, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("{name} has more than {} MiB", MOST_BYTES >> 20)));
    }
    Ok(bytes)
}

/// Parses a file and returns the structures of the array `name`, each as its fields by name.
pub(crate) fn structures(bytes: &[u8], name: &str) -> Result<Vec<BTreeMap<String, Field>>, String> {
    let start = bytes.get(..HEADER).ok_or("the file is shorter than its header")?;
    if &start[124..128] != b"\x00\x01IM" {
        return Err("expected a MATLAB 5 file in little-endian order".into());
    }
    let mut file = Elements(&bytes[HEADER..]);
    while !file.0.is_empty() {
        let (kind, data) = file.next()?;
        let inflated;
        let (kind, data) = if kind == COMPRESSED {
            inflated = inflate(data)?;
            Elements(&inflated).next()?
        } else {
            (kind, data)
        };
        if kind == MATRIX
            && let Some(found) = array(data, name)?
        {
            return Ok(found);
        }
    }
    Err(format!("it has no array of structures \"{name}\""))
}

fn inflate(data: &[u8]) -> Result<Vec<u8>, String> {
    read_at_most(ZlibDecoder::new(data), "it")
        .map_err(|error| format!("a compressed element cannot be read: {error}"))
}

/// A reader of a sequence of elements, which holds those that are still to be read.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// Reads the type and data of the next element.
    fn next(&mut self) -> Result<(u32, &'a [u8]), String> {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let tag = self.0.get(..8).ok_or("it ends in the middle of an element")?;
        let (kind, length) = (number(&tag[..4]), number(&tag[4..]) as usize);
        let (small, packed) = ((kind >> 16) as usize, kind & 0xFFFF);
        if small > 0 {
            let data = tag[4..].get(..small).ok_or("a small element has more than four bytes")?;
            self.0 = &self.0[8..];
            return Ok((packed, data));
        }
        let data = self.0[8..].get(..length).ok_or("it ends in the middle of an element")?;
        let padded = if kind == COMPRESSED { length } else { length.next_multiple_of(8) };
        self.0 = self.0.get(8 + padded..).unwrap_or_default();
        Ok((kind, data))
    }
}

/// Reads the head of an array: its class, its name, its number of values, and the elements that follow.
fn head<'a>(data: &'a [u8]) -> Result<(u8, &'a [u8], usize, Elements<'a>), String> {
    let mut elements = Elements(data);
    let class = *elements.next()?.1.first().ok_or("an array has no class")?;
    let sides = elements.next()?.1.chunks_exact(4);
    let side = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize;
    let count = sides.map(side).try_fold(1usize, usize::checked_mul).ok_or("an array is too large")?;
    let name = elements.next()?.1;
    Ok((class, name, count, elements))
}

fn array(data: &[u8], name: &str) -> Result<Option<Vec<BTreeMap<String, Field>>>, String> {
    let (class, found, count, mut elements) = head(data)?;
    if class != STRUCTURES || found != name.as_bytes() {
        return Ok(None);
    }
    let length = elements.next()?.1;
    let length = *length.first().filter(|&&length| length > 0).ok_or("its fields have no names")?;
    let names = elements.next()?.1.chunks_exact(length.into());
    if count > MOST_STRUCTURES || names.len() > MOST_FIELDS {
        return Err(format!(
            "expected at most {MOST_STRUCTURES} structures of at most {MOST_FIELDS} fields, found {count} of {}",
            names.len()
        ));
    }
    let names: Vec<String> =
        names.map(|name| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()).collect();
    let mut structures = Vec::new();
    for _ in 0..count {
        let mut fields = BTreeMap::new();
        for name in &names {
            let (_, data) = elements.next()?;
            fields.insert(name.clone(), if data.is_empty() { Field::Other } else { field(data)? });
        }
        structures.push(fields);
    }
    Ok(Some(structures))
}

fn field(data: &[u8]) -> Result<Field, String> {
    let (class, _, count, mut elements) = head(data)?;
    if count == 0 || class < TEXT {
        return Ok(Field::Other);
    }
    let (kind, data) = elements.next()?;
    Ok(match (class, kind) {
        (TEXT, 1 | 2 | 16) => Field::Text(String::from_utf8_lossy(data).into_owned()),
        (TEXT, 3 | 4 | 17) => {
            let units: Vec<u16> =
                data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            Field::Text(String::from_utf16_lossy(&units))
        }
        _ => number(kind, data).map_or(Field::Other, Field::Number),
    })
}

/// Reads the first number of numeric data.
fn number(kind: u32, data: &[u8]) -> Option<f64> {
    Some(match kind {
        1 => f64::from(i8::from_le_bytes([*data.first()?])),
        2 => f64::from(*data.first()?),
        3 => f64::from(i16::from_le_bytes(*data.first_chunk()?)),
        4 => f64::from(u16::from_le_bytes(*data.first_chunk()?)),
        5 => f64::from(i32::from_le_bytes(*data.first_chunk()?)),
        6 => f64::from(u32::from_le_bytes(*data.first_chunk()?)),
        7 => f64::from(f32::from_le_bytes(*data.first_chunk()?)),
        9 => f64::from_le_bytes(*data.first_chunk()?),
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    fn element(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if (1..=4).contains(&data.len()) {
            bytes.extend(((data.len() as u32) << 16 | kind).to_le_bytes());
            bytes.extend(data);
            bytes.resize(8, 0);
        } else {
            bytes.extend(kind.to_le_bytes());
            bytes.extend((data.len() as u32).to_le_bytes());
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes
    }

    fn matrix(class: u8, sides: [i32; 2], name: &str, rest: &[u8]) -> Vec<u8> {
        let sides: Vec<u8> = sides.iter().flat_map(|side| side.to_le_bytes()).collect();
        let flags = element(6, &[class, 0, 0, 0, 0, 0, 0, 0]);
        let data = [flags, element(5, &sides), element(1, name.as_bytes()), rest.to_vec()].concat();
        element(MATRIX, &data)
    }

    fn text(text: &str) -> Vec<u8> {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        matrix(TEXT, [1, text.len() as i32], "", &element(4, &units))
    }

    /// Makes a file as MATLAB writes it: another array in front, then `synsets`, compressed.
    pub(crate) fn synsets(list: &[(u8, &str, &str)]) -> Vec<u8> {
        let mut fields = element(5, &32i32.to_le_bytes());
        let names: Vec<u8> = ["ILSVRC2012_ID", "WNID", "words", "gloss"]
            .iter()
            .flat_map(|name| name.bytes().chain(std::iter::repeat(0)).take(32))
            .collect();
        fields.extend(element(1, &names));
        for (id, wnid, words) in list {
            fields.extend(matrix(6, [1, 1], "", &element(2, &[*id])));
            fields.extend(text(wnid));
            fields.extend(text(words));
            fields.extend(matrix(TEXT, [0, 0], "", &element(4, &[])));
        }
        let array = matrix(STRUCTURES, [list.len() as i32, 1], "synsets", &fields);
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&array).unwrap();
        let packed = packed.finish().unwrap();
        let mut file = vec![b' '; 124];
        file.extend(b"\x00\x01IM");
        file.extend(matrix(6, [1, 1], "year", &element(9, &2012f64.to_le_bytes())));
        file.extend(COMPRESSED.to_le_bytes());
        file.extend((packed.len() as u32).to_le_bytes());
        file.extend(packed);
        file
    }

    #[test]
    fn structures_come_out_with_their_fields() {
        let file =
            synsets(&[(1, "n02119789", "kit fox, Vulpes macrotis"), (200, "n02100735", "English setter")]);
        let found = structures(&file, "synsets").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0]["WNID"], Field::Text("n02119789".into()));
        assert_eq!(found[0]["gloss"], Field::Other);
        assert_eq!(found[1]["ILSVRC2012_ID"], Field::Number(200.0));
        assert_eq!(found[1]["words"], Field::Text("English setter".into()));
        let text = structures(&file, "classes").unwrap_err();
        assert_eq!(text, "it has no array of structures \"classes\"");
    }

    /// Makes a file of one array of structures without a field in front of its end.
    fn of_structures(sides: [i32; 2], names: &[u8], length: i32) -> Vec<u8> {
        let fields = [element(5, &length.to_le_bytes()), element(1, names)].concat();
        let mut file = vec![b' '; 124];
        file.extend(b"\x00\x01IM");
        file.extend(matrix(STRUCTURES, sides, "synsets", &fields));
        file
    }

    /// None of these says how large it is by being large.
    #[test]
    fn sizes_that_a_file_claims_are_bounded_before_memory_is_taken() {
        let limits = "expected at most 32768 structures of at most 16 fields, found";
        let refused = |file: &[u8]| structures(file, "synsets").unwrap_err();
        let many = of_structures([i32::MAX, i32::MAX], b"", 32);
        assert!(many.len() < 256);
        assert_eq!(refused(&many), format!("{limits} 4611686014132420609 of 0"));
        assert_eq!(structures(&of_structures([1 << 15, 1], b"", 32), "synsets").unwrap().len(), 1 << 15);
        assert_eq!(refused(&of_structures([-1, -1], b"", 32)), format!("{limits} 18446744065119617025 of 0"));
        assert_eq!(refused(&of_structures([-1, 2], b"", 32)), format!("{limits} 8589934590 of 0"));
        assert_eq!(refused(&of_structures([1, 1], &[b'x'; 99], 1)), format!("{limits} 1 of 99"));

        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&vec![0; MOST_BYTES as usize + 1]).unwrap();
        let packed = packed.finish().unwrap();
        let mut file = many[..HEADER].to_vec();
        file.extend([COMPRESSED.to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat());
        file.extend(packed);
        assert!(file.len() < 1 << 17);
        assert_eq!(refused(&file), "a compressed element cannot be read: it has more than 16 MiB");
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let home = tempfile::TempDir::new().unwrap();
        let path = home.path().join("meta.mat");
        std::fs::File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert_eq!(read(&path).unwrap_err(), "the file has more than 16 MiB");
        std::fs::write(&path, b"MATLAB").unwrap();
        assert_eq!(read(&path).unwrap(), b"MATLAB");
    }

    #[test]
    fn a_cut_or_damaged_file_is_refused_and_never_panics() {
        let file =
            synsets(&[(1, "n02119789", "kit fox, Vulpes macrotis"), (2, "n02100735", "English setter")]);
        for cut in 0..file.len() {
            assert!(structures(&file[..cut], "synsets").is_err(), "cut to {cut} bytes");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x5A;
            let _ = structures(&damaged, "synsets");
        }
        let text = structures(b"PK", "synsets").unwrap_err();
        assert_eq!(text, "the file is shorter than its header");
    }
}
