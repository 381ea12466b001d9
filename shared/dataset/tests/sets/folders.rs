//! Data folders: both layouts, what they mean, and every way in which they can be wrong.

use std::fs;

use dataset::{Dataset, Preprocessing, Rules, Scene, Split};
use tempfile::TempDir;

use crate::support::{counts, folder, refused};

#[test]
fn train_and_val_folders_are_taken_as_they_are() {
    let root = folder(&[
        "train/n02/a.JPEG",
        "train/n01/b.JPEG",
        "train/n01/more/c.JPEG",
        "train/n01/.hidden",
        "val/n01/d.JPEG",
        "val/n02/e.JPEG",
        "README.md",
    ]);
    let set = Dataset::open(root.path(), Rules::NEWEST).unwrap();
    assert_eq!(set.classes(), ["n01", "n02"]);
    assert_eq!(counts(&set), (3, 2));
    assert_eq!([0, 1, 2].map(|index| set.label(Split::Train, index)), [0, 0, 1]);
    assert_eq!([0, 1].map(|index| set.label(Split::Validation, index)), [0, 1]);
}

#[test]
fn what_is_measured_on_needs_no_training_images() {
    let both = folder(&["train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "val/b/4.jpg", "val/b/deep/5.jpg"]);
    let set = Dataset::open_validation(both.path(), Rules::NEWEST).unwrap();
    assert_eq!(counts(&set), (0, 3));
    let names: Vec<_> = (0..3).map(|index| set.name(Split::Validation, index)).collect();
    assert_eq!(names, ["val/a/3.jpg", "val/b/4.jpg", "val/b/deep/5.jpg"]);
    // The class folders alone give the same classes and images; one of them is enough.
    let alone = Dataset::open_validation(&both.path().join("val"), Rules::NEWEST).unwrap();
    assert_eq!((counts(&alone), alone.classes()), (counts(&set), set.classes()));
    assert_eq!(alone.fingerprint(), set.fingerprint());
    let one =
        Dataset::open_validation(folder(&["daisy/1.jpg", "daisy/2.jpg"]).path(), Rules::NEWEST).unwrap();
    assert_eq!((one.classes(), counts(&one)), (&["daisy".to_owned()][..], (0, 2)));
    let training = folder(&["train/a/1.jpg", "train/b/2.jpg"]);
    let text = Dataset::open_validation(training.path(), Rules::NEWEST).unwrap_err().to_string();
    assert!(text.contains("has train/ but no val/"), "{text}");
}

#[test]
fn the_synthetic_set_as_files_is_the_synthetic_set() {
    let home = TempDir::new().unwrap();
    let root = home.path().join("drawn");
    Dataset::write_synthetic(20, 10, 32, Scene::Object, &root).unwrap();
    let (files, drawn) = (Dataset::open(&root, Rules::NEWEST).unwrap(), Dataset::synthetic(20, 10, 32));
    assert_eq!(counts(&files), (20, 10));
    let sample = |set: &Dataset, index| {
        let mut out = vec![0.0; 3 * 32 * 32];
        let label = set.validation_sample(index, &Preprocessing::default(), 32, &mut out).unwrap();
        (set.classes()[label as usize].clone(), out)
    };
    // The files are sorted by class, and each class has one picture here.
    let mut expected: Vec<_> = (0..10).map(|index| sample(&drawn, index)).collect();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert!((0..10).map(|index| sample(&files, index)).eq(expected), "pictures differ");

    let text = Dataset::write_synthetic(20, 10, 32, Scene::Object, &root).unwrap_err().to_string();
    let shown = root.display();
    assert!(text.starts_with(&format!("cannot write {shown}: ")) && text.contains("name a new"), "{text}");
}

#[test]
fn plain_class_folders_are_split_by_a_hash() {
    let names: Vec<String> = (0..1000).map(|i| format!("{}/{i}.jpg", ["rose", "daisy"][i % 2])).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let root = folder(&names);
    // Part of what a trained model's accuracy means: it may not change between releases.
    for (rules, validation) in [(Rules::V1, 197), (Rules::V2, 200)] {
        let all = Dataset::open(root.path(), rules).unwrap();
        assert_eq!((all.classes(), all.held_out()), (&["daisy".to_owned(), "rose".to_owned()][..], true));
        assert_eq!(counts(&all), (1000 - validation, validation));
    }
}

#[test]
fn a_small_class_keeps_an_image_to_learn_from() {
    // "4.jpg" falls on the validation side by its hash.
    let root = folder(&["a/4.jpg", "b/0.jpg", "b/4.jpg"]);
    let set = Dataset::open(root.path(), Rules::NEWEST).unwrap();
    assert_eq!(counts(&set), (2, 1));
    assert_eq!([0, 1].map(|index| set.label(Split::Train, index)), [0, 1]);
    assert_eq!(set.label(Split::Validation, 0), 1);
}

#[test]
fn the_fingerprint_follows_names_and_split() {
    let files = ["train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg"];
    let print =
        |files: &[&str]| Dataset::open(folder(files).path(), Rules::NEWEST).unwrap().fingerprint().clone();
    let base = print(&files);
    assert_eq!((base.images, base.validation), (2, 1));
    assert_eq!(base, print(&files), "another folder with the same files");
    assert!(base.to_string().starts_with("2 training and 1 validation images, hash "), "{base}");
    for other in [
        ["train/a/1.jpg", "train/b/2.jpg", "val/a/4.jpg"],
        ["train/a/1.jpg", "train/b/2.jpg", "val/b/3.jpg"],
        ["train/a/1.jpg", "train/c/2.jpg", "val/a/3.jpg"],
    ] {
        assert_ne!(base.hash, print(&other).hash, "{other:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_class_folder_can_be_a_link_and_a_loop_of_links_ends() {
    let root = folder(&["train/a/1.jpg", "val/a/2.jpg", "val/b/2.jpg", "elsewhere/3.jpg"]);
    let at = |path: &str| root.path().join(path);
    std::os::unix::fs::symlink(at("elsewhere"), at("train/b")).unwrap();
    std::os::unix::fs::symlink(at("train/a"), at("train/a/loop")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("train/a/broken.jpg")).unwrap();
    let set = Dataset::open(root.path(), Rules::NEWEST).unwrap();
    assert_eq!(counts(&set), (3, 2), "1.jpg, the broken link, 3.jpg");
    let mut out = vec![0.0; 3 * 8 * 8];
    let error = set.training_sample(1, 0, 1, &Default::default(), 8, &mut out).unwrap_err().to_string();
    assert!(error.contains("train/a/broken.jpg: cannot be read: "), "{error}");
}

#[test]
fn every_wrong_folder_says_what_was_expected_and_found() {
    const EXPECTED: &str = "expected train/ and val/ with one folder per class, or one folder per class; or tar shards in their place";
    struct Case {
        files: &'static [&'static str],
        /// Folders without files.
        empty: &'static [&'static str],
        message: String,
    }
    let cases = [
        Case { files: &[], empty: &[], message: format!("data folder DATA is empty: {EXPECTED}") },
        Case { files: &[".DS_Store"], empty: &[], message: format!("data folder DATA is empty: {EXPECTED}") },
        Case {
            files: &["1.jpg", "2.jpg"],
            empty: &[],
            message: format!(
                "data folder DATA has no class folders, only 2 files: {EXPECTED}; put each image in the folder of its class"
            ),
        },
        Case {
            files: &["train/1.jpg", "val/a/1.jpg"],
            empty: &[],
            message: format!(
                "data folder DATA/train has no class folders, only 1 files: {EXPECTED}; put each image in the folder of its class"
            ),
        },
        Case {
            files: &["roses/1.jpg"],
            empty: &[],
            message: "data folder DATA has the one class \"roses\": expected at least two".into(),
        },
        Case {
            files: &["tulips/1.jpg"],
            empty: &["roses"],
            message: "class \"roses\" has no images in DATA/roses: expected at least one; add images or remove the folder".into(),
        },
        Case {
            files: &["train/tulips/1.jpg", "val/tulips/1.jpg", "val/roses/1.jpg"],
            empty: &["train/roses"],
            message:
                "class \"roses\" has no images in DATA/train/roses: expected at least one; add images or remove the folder".into(),
        },
        Case {
            files: &["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/c/1.jpg"],
            empty: &[],
            message: "class \"c\" is in DATA/val/c but not in train/: expected every validation class in train/; \
                      add training images or remove it".into(),
        },
        Case {
            files: &["train/a/1.jpg", "train/b/1.jpg"],
            empty: &[],
            message: "data folder DATA has train/ but no val/: expected both; add val/ with one folder per class, \
                      or give DATA/train itself to have a fifth of its images held out".into(),
        },
        Case {
            files: &["train/a/1.jpg", "train/b/1.jpg"],
            empty: &["val/a"],
            message: "data folder DATA has 2 training images but none for validation: expected at least one; \
                      add images, or a val/ folder".into(),
        },
    ];
    for case in cases {
        let root = folder(case.files);
        for path in case.empty {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        assert_eq!(refused(root.path()), case.message);
    }
    let root = folder(&["file"]);
    assert_eq!(
        refused(&root.path().join("nowhere")),
        format!("data folder DATA is not there: {EXPECTED}; check the path")
    );
    assert_eq!(refused(&root.path().join("file")), format!("data folder DATA is not a folder: {EXPECTED}"));
}

#[test]
fn a_class_missing_in_val_is_a_warning_only() {
    let root = folder(&["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"]);
    let set = Dataset::open(root.path(), Rules::NEWEST).unwrap();
    assert_eq!(set.classes(), ["a", "b"]);
    assert_eq!(counts(&set), (2, 1));
}
