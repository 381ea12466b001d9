//! The contents of one tar shard in the WebDataset layout: consecutive members that share their name up to
//! the first dot are a sample, of which the member with the extension `jpg`, `jpeg` or `png` is the image and
//! the one with `cls` its class, a number from 0 in ASCII. Other extensions, other kinds of members, hidden
//! files and names longer than any path are passed over.
//!
//! Only headers and `cls` members are read. A shard that is truncated or damaged gives the samples before the
//! fault: a tar has no table of contents, and what follows could be anything.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use tar::{Archive, Entry};

/// Size of the blocks of a tar, in bytes.
const BLOCK: u64 = 512;
/// Largest length of the text of a class, in bytes.
const MOST_DIGITS: u64 = 32;
/// Largest number of bytes of headers that are read of one member: its own header and those before it, with a
/// long name and extended attributes, which systems limit to 64 KiB.
const MOST_HEADERS: u64 = 1 << 20;
/// Largest length of a sample's name in bytes, which is that of the longest path of any system.
const MOST_NAME: usize = 4096;

/// The contents of a tar shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Samples of the shard, in the order of the shard.
    pub(crate) samples: Vec<Sample>,
    /// Number of samples that are left out because they have no image or no class.
    pub(crate) left_out: u64,
    /// Lines for the log about the parts of the shard that cannot be used, with the reasons.
    pub(crate) faults: Vec<String>,
}

/// A sample of a tar shard: the place of an image, and its class.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The image's name in the shard.
    pub(crate) name: String,
    /// Index of its class.
    pub(crate) label: u32,
    /// Position of the image's first byte in the shard.
    pub(crate) offset: u64,
    /// Length of the image in bytes.
    pub(crate) length: u64,
}

/// Lists the contents of a tar shard.
///
/// # Errors
/// If the file cannot be read. Bytes that are not a tar are no error but among the faults.
pub(crate) fn list(path: &Path) -> io::Result<Contents> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut start = Vec::new();
    file.by_ref().take(BLOCK).read_to_end(&mut start)?;
    file.rewind()?;
    if let Some(compression) = compression(&start) {
        let faults = vec![format!("it is compressed by {compression}: unpack it")];
        return Ok(Contents { faults, ..Contents::default() });
    }
    let left = Cell::new(MOST_HEADERS);
    let mut archive = Archive::new(Shard { file, left: &left });
    let mut groups: Vec<Group> = Vec::new();
    // Where the members that are whole end.
    let mut end = 0;
    let mut fault = None;
    for entry in archive.entries_with_seek()? {
        left.set(MOST_HEADERS);
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(error) => {
                fault = Some(error.to_string());
                break;
            }
        };
        let stop = entry.raw_file_position().saturating_add(entry.size());
        if stop > length {
            fault = Some(format!("a member ends at byte {stop}, the file at {length}"));
            break;
        }
        end = stop.next_multiple_of(BLOCK);
        add(&mut groups, &mut entry)?;
    }
    if fault.is_none() && length < end + BLOCK {
        fault = Some("the empty blocks that end a tar are missing".to_owned());
    }
    Ok(contents(groups, fault.map(|fault| (end, fault))))
}

/// The file of a shard, of which only a limited number of bytes are read for one member: otherwise a name of
/// gigabytes, which a sparse file can hold at no cost, would be read into memory whole.
struct Shard<'a> {
    file: File,
    /// Number of bytes that may still be read for the current member.
    left: &'a Cell<u64>,
}

impl Read for Shard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            let text = format!("a member's name and attributes have more than {MOST_HEADERS} bytes");
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        let read = self.file.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - read as u64);
        Ok(read)
    }
}

impl Seek for Shard<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Returns the name of the compression that a file's first bytes indicate, if any.
fn compression(start: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 5] = [
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"PK\x03\x04", "zip"),
    ];
    known.iter().find(|(bytes, _)| start.starts_with(bytes)).map(|(_, name)| *name)
}

/// A group of consecutive members that share their name up to the first dot.
struct Group {
    key: String,
    /// Name, offset and length of each image.
    images: Vec<(String, u64, u64)>,
    class: Option<String>,
    /// Whether a member's name has an image's or a class's extension after a second dot.
    dotted: bool,
}

/// Adds a member to the group of its key, which is the last group or a new one.
fn add(groups: &mut Vec<Group>, entry: &mut Entry<Shard>) -> io::Result<()> {
    if entry.path_bytes().len() > MOST_NAME {
        return Ok(());
    }
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let name = name.trim_start_matches("./").trim_start_matches('/');
    let Some((key, extension)) = split(name).filter(|_| entry.header().entry_type().is_file()) else {
        return Ok(());
    };
    if groups.last().is_none_or(|group| group.key != key) {
        groups.push(Group { key: key.to_owned(), images: Vec::new(), class: None, dotted: false });
    }
    let group = groups.last_mut().expect("one was pushed if there was none");
    match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "png" => {
            group.images.push((name.to_owned(), entry.raw_file_position(), entry.size()));
        }
        "cls" => {
            let mut class = Vec::new();
            entry.take(MOST_DIGITS).read_to_end(&mut class)?;
            group.class = Some(String::from_utf8_lossy(&class).trim().to_owned());
        }
        other => {
            let last = other.rsplit_once('.').map(|(_, last)| last);
            group.dotted |= last.is_some_and(|last| matches!(last, "jpg" | "jpeg" | "png" | "cls"));
        }
    }
    Ok(())
}

/// Splits a name at the first dot after its folders; returns the key before the dot and the rest after it, or
/// `None` if there is no such dot or nothing before it.
fn split(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name[start..].find('.')?;
    (dot > start).then(|| (&name[..dot], &name[dot + 1..]))
}

/// Returns the contents of a shard from its groups. If the shard ends too early, its last group may be half a
/// sample; the fault names the position.
fn contents(groups: Vec<Group>, fault: Option<(u64, String)>) -> Contents {
    let mut contents = Contents::default();
    let mut first = None;
    let last = groups.len();
    for (group, number) in groups.into_iter().zip(1..) {
        match sample(group) {
            Ok(sample) => contents.samples.push(sample),
            Err(_) if fault.is_some() && number == last => {}
            Err(reason) => {
                contents.left_out += 1;
                first.get_or_insert(reason);
            }
        }
    }
    let used = contents.samples.len();
    if let Some(reason) = first {
        let left_out = contents.left_out;
        contents
            .faults
            .push(format!("{left_out} of {} samples left out: {reason}", left_out as usize + used));
    }
    if let Some((end, reason)) = fault {
        let text =
            format!("cut off or damaged at byte {end} ({reason}); samples before it, which are used: {used}");
        contents.faults.push(text);
    }
    if contents == Contents::default() {
        contents.faults.push("no samples in it".to_owned());
    }
    contents
}

fn sample(Group { key, mut images, class, dotted }: Group) -> Result<Sample, String> {
    let found = images.len();
    let (Some((name, offset, length)), 1) = (images.pop(), found) else {
        let cut = if dotted {
            "; a key ends at the first dot of a name, so that names with more dots are cut"
        } else {
            ""
        };
        return Err(format!("\"{key}\" has {found} images (.jpg, .jpeg, .png), expected one{cut}"));
    };
    let class = class.ok_or_else(|| format!("\"{key}\" has no .cls beside its image"))?;
    let label = class
        .parse()
        .map_err(|_| format!("\"{key}\" has the class {class:?} in its .cls, expected a number from 0"))?;
    Ok(Sample { name, label, offset, length })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// The two empty blocks behind the last member.
    const END: [u8; 1024] = [0; 1024];

    /// Makes a tar of files.
    pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let members = files.iter().map(|(name, bytes)| member(b'0', name, bytes));
        [members.collect::<Vec<_>>().concat(), END.to_vec()].concat()
    }

    /// Makes a member of a kind, in the ustar form: its header, then its bytes in whole blocks. A name of
    /// more than 100 bytes is cut in two at a slash.
    fn member(kind: u8, name: &str, bytes: &[u8]) -> Vec<u8> {
        let slash = if name.len() > 100 { name[..156].rfind('/').unwrap() } else { 0 };
        let mut header = [0; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, if slash > 0 { &name[slash + 1..] } else { name });
        put(100, "0000644\0");
        put(124, &format!("{:011o}", bytes.len()));
        put(148, "        ");
        put(257, "ustar\x0000");
        put(345, &name[..slash]);
        header[156] = kind;
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut member = [&header, bytes].concat();
        member.resize(member.len().next_multiple_of(512), 0);
        member
    }

    fn listed(shard: &[u8]) -> Contents {
        let home = TempDir::new().unwrap();
        let path = home.path().join("a.tar");
        fs::write(&path, shard).unwrap();
        list(&path).unwrap()
    }

    fn sample(name: &str, label: u32, offset: u64, length: u64) -> Sample {
        Sample { name: name.to_owned(), label, offset, length }
    }

    #[test]
    fn members_of_one_name_are_a_sample_in_any_order() {
        let shard = [
            member(b'5', "./", b""),
            member(b'0', "./deep.er/7.jpg", b"seven"),
            member(b'0', "./deep.er/7.json", b"{}"),
            member(b'0', "./deep.er/7.cls", b"12\n"),
            member(b'0', "./deep.er/._8.jpg", b"hidden"),
            member(b'0', "/8.cls", b"0"),
            member(b'0', "8.seg.png", b"mask"),
            member(b'0', "/8.JPEG", b"eight"),
            member(b'0', "README", b"none"),
            END.to_vec(),
        ];
        let samples = vec![sample("deep.er/7.jpg", 12, 1024, 5), sample("8.JPEG", 0, 7168, 5)];
        assert_eq!(listed(&shard.concat()), Contents { samples, ..Contents::default() });
    }

    #[test]
    fn long_names_are_read_in_all_three_forms() {
        let name = format!("{}/{}/key", "folder".repeat(15), "deeper".repeat(15));
        let (jpg, cls) = (format!("{name}.jpg"), format!("{name}.cls"));
        let gnu = |name: &str, bytes: &[u8]| {
            [member(b'L', "././@LongLink", format!("{name}\0").as_bytes()), member(b'0', "cut", bytes)]
                .concat()
        };
        let pax = |name: &str, bytes: &[u8]| {
            let length = name.len() + "123 path=\n".len();
            let record = format!("{length} path={name}\n");
            [member(b'x', "PaxHeaders/key", record.as_bytes()), member(b'0', "cut", bytes)].concat()
        };
        let ustar = |name: &str, bytes: &[u8]| member(b'0', name, bytes);
        for (form, offset) in
            [(&ustar as &dyn Fn(&str, &[u8]) -> Vec<u8>, 512), (&gnu, 512 * 3), (&pax, 512 * 3)]
        {
            let shard = [form(&jpg, b"image"), form(&cls, b"3"), END.to_vec()].concat();
            let samples = vec![sample(&jpg, 3, offset, 5)];
            assert_eq!(listed(&shard), Contents { samples, ..Contents::default() });
        }
    }

    /// Wherever a shard is cut off, the samples that are whole are found, and the place is named.
    #[test]
    fn a_shard_that_is_cut_off_gives_the_samples_before_it() {
        let bytes = [7; 600];
        let names: Vec<String> = (0..3).map(|key| format!("{key}.png")).collect();
        let classes: Vec<String> = (0..3).map(|key| format!("{key}.cls")).collect();
        let files = names
            .iter()
            .zip(&classes)
            .flat_map(|(image, class)| [(image.as_str(), &bytes[..]), (class.as_str(), &b"1"[..])]);
        let shard = tar(&files.collect::<Vec<_>>());
        assert_eq!(listed(&shard).samples.len(), 3);
        // A sample is the image's header, two blocks, the class's header, and its one byte.
        let sample_length = 512 * 5;
        for cut in 0..3 * sample_length + 511 {
            let Contents { samples, faults, .. } = listed(&shard[..cut]);
            let whole = (cut + 511) / sample_length;
            assert_eq!((samples.len(), faults.len()), (whole, 1), "cut at {cut}");
            assert!(faults[0].ends_with(&format!("which are used: {whole}")), "{faults:?}");
        }
        let fault = |cut| listed(&shard[..cut]).faults.concat();
        assert_eq!(
            fault(2 * sample_length + 900),
            "cut off or damaged at byte 5120 (a member ends at byte 6232, the file at 6020); samples before it, which are used: 2"
        );
        assert_eq!(
            fault(sample_length + 100),
            "cut off or damaged at byte 2560 (failed to read entire block); samples before it, which are used: 1"
        );
        assert_eq!(
            fault(0),
            "cut off or damaged at byte 0 (the empty blocks that end a tar are missing); samples before it, which are used: 0"
        );
    }

    #[test]
    fn a_damaged_header_ends_a_shard() {
        let mut shard =
            tar(&[("1.jpg", b"one"), ("1.cls", b"1"), ("2.jpg", b"two"), ("2.cls", b"2"), ("3.cls", b"3")]);
        shard[3 * 1024 + 5] ^= 1;
        assert_eq!(
            listed(&shard),
            Contents {
                samples: vec![sample("1.jpg", 1, 512, 3)],
                faults: vec![
                    "cut off or damaged at byte 3072 (archive header checksum mismatch); samples before it, which are used: 1"
                        .to_owned()
                ],
                left_out: 0,
            }
        );
        let text = listed(&b"<!DOCTYPE html>".repeat(100)).faults.concat();
        assert!(text.starts_with("cut off or damaged at byte 0 (") && text.ends_with(" 0"), "{text}");
    }

    /// GNU's long names and links, and POSIX's extended headers, each announced with 3 GiB of which none is
    /// on the disk.
    #[test]
    fn a_name_of_gigabytes_is_not_read() {
        let good = [member(b'0', "1.jpg", b"one"), member(b'0', "1.cls", b"1")].concat();
        for kind in [b'L', b'K', b'x'] {
            let home = TempDir::new().unwrap();
            let path = home.path().join("shard.tar");
            let mut announced = member(kind, "././@LongLink", b"");
            announced[124..136].copy_from_slice(b"30000000000\0");
            announced[148..156].copy_from_slice(b"        ");
            let sum: u32 = announced.iter().map(|&byte| u32::from(byte)).sum();
            announced[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            fs::write(&path, [&good[..], &announced].concat()).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            if file.set_len((3 << 30) + 8192).is_err() {
                return; // this file system has no holes
            }
            let Contents { samples, faults, .. } = list(&path).unwrap();
            assert_eq!(samples.len(), 1, "{}", kind as char);
            assert_eq!(
                faults,
                [
                    "cut off or damaged at byte 2048 (a member's name and attributes have more than 1048576 bytes); samples \
                     before it, which are used: 1"
                ]
            );
        }
    }

    #[test]
    fn a_name_longer_than_any_path_is_passed_over() {
        let long = |length: usize, extension: &str| {
            let name = format!("{}{extension}", "k".repeat(length - extension.len()));
            [member(b'L', "././@LongLink", name.as_bytes()), member(b'0', "cut", b"1")].concat()
        };
        let shard = |length| listed(&[long(length, ".jpg"), long(length, ".cls"), END.to_vec()].concat());
        assert_eq!(shard(MOST_NAME).samples.len(), 1);
        assert_eq!(shard(MOST_NAME + 1).faults, ["no samples in it"]);
    }

    #[test]
    fn a_sample_without_an_image_or_a_class_is_left_out() {
        struct Case {
            files: &'static [(&'static str, &'static [u8])],
            fault: &'static str,
        }
        let cases = [
            Case { files: &[("k.jpg", b"")], fault: "\"k\" has no .cls beside its image" },
            Case {
                files: &[("k.json", b""), ("k.cls", b"1")],
                fault: "\"k\" has 0 images (.jpg, .jpeg, .png), expected one",
            },
            Case {
                files: &[("k.jpg", b""), ("k.png", b""), ("k.cls", b"1")],
                fault: "\"k\" has 2 images (.jpg, .jpeg, .png), expected one",
            },
            Case {
                files: &[("k.jpg", b""), ("k.cls", b"rose\n")],
                fault: "\"k\" has the class \"rose\" in its .cls, expected a number from 0",
            },
            Case {
                files: &[("k.jpg", b""), ("k.cls", b"-1")],
                fault: "\"k\" has the class \"-1\" in its .cls, expected a number from 0",
            },
        ];
        for Case { files, fault } in cases {
            let good: [(&str, &[u8]); 2] = [("good.jpg", b"good"), ("good.cls", b"5")];
            let Contents { samples, faults, .. } = listed(&tar(&[files, &good].concat()));
            assert_eq!(samples.len(), 1);
            assert_eq!(faults, [format!("1 of 2 samples left out: {fault}")]);
        }
        // One line, however many they are.
        let faults = listed(&tar(&[("1.cls", b"1"), ("2.cls", b"1"), ("3.cls", b"1")])).faults;
        assert_eq!(faults, ["3 of 3 samples left out: \"1\" has 0 images (.jpg, .jpeg, .png), expected one"]);
    }

    #[test]
    fn a_name_with_more_dots_says_that_a_key_ends_at_the_first() {
        let shard = tar(&[("Screenshot at 10.05.jpg", b"one"), ("Screenshot at 10.05.cls", b"1")]);
        assert_eq!(
            listed(&shard).faults,
            [
                "1 of 1 samples left out: \"Screenshot at 10\" has 0 images (.jpg, .jpeg, .png), expected one; a key ends \
              at the first dot of a name, so that names with more dots are cut"
            ]
        );
    }

    #[test]
    fn a_compressed_shard_is_told_what_it_is() {
        for (bytes, name) in [(&b"\x1f\x8b\x08\0\n\r"[..], "gzip"), (b"\x28\xb5\x2f\xfd\0", "zstd")] {
            assert_eq!(listed(bytes).faults, [format!("it is compressed by {name}: unpack it")]);
        }
    }

    #[test]
    fn an_empty_shard_says_so() {
        for files in [&[][..], &[("README", &b"none"[..])]] {
            let faults = vec!["no samples in it".to_owned()];
            assert_eq!(listed(&tar(files)), Contents { faults, ..Contents::default() });
        }
    }
}
