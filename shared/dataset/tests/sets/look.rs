//! The look at a data folder before a run: every file is accounted for, and what cannot be trained on is
//! refused then.

use std::path::Path;

use dataset::{Dataset, FileKind, Look, Reason, Rules};
use image::ImageFormat;
use tempfile::TempDir;

use crate::support::{picture, put};

const RED: [u8; 3] = [200, 40, 40];

fn heic() -> Vec<u8> {
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x08meta".to_vec()
}

fn look(root: &TempDir) -> Look {
    Dataset::open(root.path(), Rules::NEWEST).unwrap().look().unwrap()
}

fn refused(root: &TempDir) -> String {
    look(root).check().unwrap_err().to_string().replace(&root.path().display().to_string(), "DATA")
}

/// 2,000 files as people have them: three languages of names, cameras, phones, downloads, a file server, two
/// systems; a tenth is of no use.
fn grown_folder(root: &Path) -> usize {
    let formats = [ImageFormat::Jpeg, ImageFormat::Png].map(|format| picture(RED, format));
    let classes = [
        "\u{43a}\u{43e}\u{448}\u{43a}\u{430}",
        "\u{72ac} \u{1f415}",
        "cafe\u{301}",
        "Caf\u{e9}",
        "e'toile, \"x\"",
    ];
    let mut files = 0;
    let mut add = |file: String, bytes: &[u8]| {
        put(root, &file, bytes);
        files += 1;
    };
    for i in 0..1800 {
        let class = classes[i % classes.len()];
        // Names say little: a PNG named .jpg, upper case, no extension at all, folders in folders.
        let name = match i % 7 {
            0 => format!("IMG_{i:04}.JPG"),
            1 => format!("\u{444}\u{43e}\u{442}\u{43e} {i}.jpeg"),
            2 => format!("\u{5199}\u{771f}{i}.png"),
            3 => format!("2019/\u{e9}t\u{e9}/{i}"),
            4 => format!("WhatsApp Image 2023-01-02 at 10.05.{i}.jpg"),
            5 => format!("a/b/c/{i}.jpg"),
            _ => format!("{i} (1).jpg"),
        };
        add(format!("{class}/{name}"), &formats[i % 2]);
    }
    for i in 0..20 {
        let class = classes[i % classes.len()];
        let text = b"<!DOCTYPE html><html>not found";
        match i % 4 {
            0 => add(format!("{class}/IMG_9{i:03}.HEIC"), &heic()),
            1 => add(format!("{class}/download{i}.jpg"), text),
            2 => add(format!("{class}/empty{i}.jpg"), b""),
            _ => add(format!("{class}/{i}.webp"), b"\x01\x02\x03"),
        }
    }
    for i in 0..60 {
        let class = classes[i % classes.len()];
        let extension = ["txt", "json", "xml", "csv"][i % 4];
        add(format!("{class}/boxes{i}.{extension}"), b"0 .5 .5 .2 .2");
    }
    for i in 0..60 {
        let class = classes[i % classes.len()];
        add(format!("{class}/@eaDir/{i}.jpg/SYNOPHOTO_THUMB_M.jpg"), &formats[0]);
    }
    for i in 0..40 {
        add(format!("__MACOSX/{}/._{i}.jpg", classes[i % classes.len()]), b"\0\x05\x16\x07");
    }
    for (i, class) in (0..18).map(|i| (i, classes[i % classes.len()])) {
        let name = [".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg"][i / classes.len()];
        add(format!("{class}/{name}"), b"x");
    }
    add("README.md".into(), b"mine");
    add("photo of nobody.jpg".into(), &formats[0]);
    files
}

#[test]
fn a_look_accounts_for_every_file() {
    let root = TempDir::new().unwrap();
    assert_eq!(grown_folder(root.path()), 2000);
    let look = look(&root);
    assert_eq!(look.classes.len(), 5);
    assert_eq!((look.train.all() + look.validation.all(), look.held_out), (1820, true));
    let kinds =
        |kind| [&look.train, &look.validation].map(|split| split.kinds.get(&kind).unwrap_or(&0)).into_iter();
    let counts =
        [FileKind::Jpeg, FileKind::Png, FileKind::Heic, FileKind::Html, FileKind::Empty, FileKind::Unknown];
    assert_eq!(counts.map(|kind| kinds(kind).sum::<u64>()), [900, 900, 5, 5, 5, 5]);
    assert_eq!(look.train.all_left_out() + look.validation.all_left_out(), 20);
    assert_eq!(look.train.reasons.len() + look.validation.reasons.len(), 20);
    assert_eq!(look.passed.files(Reason::Other).len(), 60);
    let passed = look.passed.all_files().count() as u64 + look.files_in_passed_folders;
    assert_eq!(look.train.all() + look.validation.all() + passed, 2000);
    // Of every class a fifth is held out.
    for label in 0..5 {
        assert_eq!(look.validation.pictures[label] + look.validation.left_out[label], 73, "364 of a class");
    }
    assert_eq!(
        look.summary(),
        "900 JPEG images, 900 PNG images, 5 HEIC photographs (not read), 5 HTML pages (not read), 5 empty files (not read), \
         5 unknown files (not read), 60 other files (csv, json, txt, xml)"
    );
    look.check().unwrap();
}

#[test]
fn more_than_a_twentieth_that_cannot_be_read_is_refused() {
    for (broken, fits) in [(5, true), (6, false)] {
        let root = TempDir::new().unwrap();
        for i in 0..50 {
            for class in ["a", "b"] {
                put(root.path(), &format!("val/{class}/{i}.jpg"), picture(RED, ImageFormat::Jpeg));
                let bytes = if class == "b" && i < broken { heic() } else { picture(RED, ImageFormat::Png) };
                put(root.path(), &format!("train/{class}/{i}.jpg"), &bytes);
            }
        }
        assert_eq!(look(&root).check().is_ok(), fits);
        if !fits {
            assert_eq!(
                refused(&root),
                "6 of 100 training pictures in DATA cannot be read, expected at most 5 %: train/b/0.jpg is a HEIC \
                 photograph, convert it to JPEG; train/b/1.jpg is a HEIC photograph, convert it to JPEG; train/b/2.jpg is \
                 a HEIC photograph, convert it to JPEG"
            );
        }
    }
}

/// What is measured on counts as what is learnt from does.
#[test]
fn validation_pictures_that_cannot_be_read_are_refused() {
    let root = TempDir::new().unwrap();
    for class in ["a", "b"] {
        for i in 0..10 {
            put(root.path(), &format!("train/{class}/{i}.jpg"), picture(RED, ImageFormat::Jpeg));
        }
        put(root.path(), &format!("val/{class}/1.avif"), b"\0\0\0\x14ftypavif\0\0\0\0avif");
    }
    assert!(
        refused(&root).starts_with("2 of 2 validation pictures in DATA cannot be read, "),
        "{}",
        refused(&root)
    );
}

#[test]
fn a_class_without_a_readable_picture_is_refused_however_rare() {
    let root = TempDir::new().unwrap();
    for i in 0..200 {
        for class in ["cat", "dog"] {
            put(root.path(), &format!("{class}/{i}.jpg"), picture(RED, ImageFormat::Jpeg));
        }
    }
    put(root.path(), "yak/1.jpg", heic());
    put(root.path(), "yak/2.jpg", b"");
    let text = refused(&root);
    assert!(
        text.starts_with("class \"yak\" in DATA has no training picture that can be read: yak/"),
        "{text}"
    );
    assert!(!text.contains("cat/"), "{text}");
}

/// Pictures and samples of shards count as files do.
#[test]
fn one_limit_holds_for_shards_too() {
    fn member(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(bytes.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        let mut member = [header.as_bytes(), bytes].concat();
        member.resize(member.len().next_multiple_of(512), 0);
        member
    }
    let shard = |broken: usize, unlabelled: usize| {
        let mut bytes = Vec::new();
        for i in 0..100 {
            let content = if i < broken { b"<html>".to_vec() } else { picture(RED, ImageFormat::Jpeg) };
            bytes.extend(member(&format!("{i:03}.jpg"), &content));
            if i < 100 - unlabelled {
                bytes.extend(member(&format!("{i:03}.cls"), if i % 2 == 0 { b"0" } else { b"1" }));
            }
        }
        bytes.extend([0; 1024]);
        bytes
    };
    for (broken, unlabelled, fits) in [(2, 2, true), (4, 4, false), (0, 6, false), (7, 0, false)] {
        let root = TempDir::new().unwrap();
        put(root.path(), "train/a.tar", shard(broken, unlabelled));
        put(root.path(), "val/a.tar", shard(0, 0));
        let look = look(&root);
        assert_eq!(look.train.all(), 100);
        assert_eq!(look.train.all_left_out(), (broken + unlabelled) as u64);
        assert_eq!(look.check().is_ok(), fits, "{broken} broken, {unlabelled} without a class");
    }
}
