//! Data folders as people have them: splits under other names, files that are no pictures, links, and names
//! of all kinds.

use std::fs;
use std::path::Path;

use dataset::{Dataset, Reason, Rules, Split};
use tempfile::TempDir;

use crate::support::{counts, folder, put, refused};

fn open(root: &TempDir) -> Dataset {
    Dataset::open(root.path(), Rules::NEWEST).unwrap()
}

fn names(set: &Dataset, split: Split) -> Vec<String> {
    (0..set.len(split)).map(|index| set.name(split, index)).collect()
}

#[test]
fn the_validation_split_has_three_names_in_any_case() {
    let base = folder(&["train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "val/b/4.jpg"]);
    for name in ["Val", "valid", "VALID", "validation", "Validation"] {
        let root = folder(&["train/a/1.jpg", "train/b/2.jpg"]);
        ["a/3.jpg", "b/4.jpg"].iter().for_each(|file| {
            let path = root.path().join(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("val/{file}")).unwrap();
        });
        let set = open(&root);
        assert_eq!(counts(&set), (2, 2), "{name}");
        assert!(!set.held_out());
        assert_eq!(set.fingerprint(), open(&base).fingerprint(), "{name}");
        let measured = Dataset::open_validation(root.path(), Rules::NEWEST).unwrap();
        assert_eq!(counts(&measured), (0, 2), "{name}");
    }
    let both = folder(&["train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "valid/a/3.jpg"]);
    assert_eq!(
        refused(both.path()),
        "data folder DATA has both val/ and valid/: expected one validation split; move one of them elsewhere"
    );
}

#[test]
fn a_class_may_be_called_valid() {
    let root = folder(&["valid/1.jpg", "valid/2.jpg", "invalid/1.jpg", "invalid/2.jpg"]);
    assert_eq!(open(&root).classes(), ["invalid", "valid"]);
    let measured = Dataset::open_validation(root.path(), Rules::NEWEST).unwrap();
    assert_eq!((measured.classes().len(), counts(&measured)), (2, (0, 4)));
}

#[test]
fn a_test_split_is_named_and_left_alone() {
    let root = folder(&[
        "train/a/1.jpg",
        "train/b/1.jpg",
        "valid/a/2.jpg",
        "test/a/3.jpg",
        "test/4.jpg",
        "README.md",
    ]);
    let set = open(&root);
    assert_eq!((set.classes(), counts(&set)), (&["a".to_owned(), "b".to_owned()][..], (2, 1)));
    let line = "left alone beside the classes: test/, README.md".to_owned();
    assert!(set.passed().unwrap().lines().contains(&line), "{:?}", set.passed());
}

/// What is used is not passed over: the split that is not asked for, and the lists of names.
#[test]
fn nothing_that_is_used_is_said_to_be_passed_over() {
    let lines = |set: Dataset| set.passed().unwrap().lines();
    let measured = |root: &TempDir| lines(Dataset::open_validation(root.path(), Rules::NEWEST).unwrap());
    let root = folder(&["train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg"]);
    put(root.path(), "synset_words.txt", "a first letter\n");
    assert_eq!(Dataset::open_validation(root.path(), Rules::NEWEST).unwrap().classes(), ["a first letter"]);
    assert_eq!((lines(open(&root)), measured(&root)), (Vec::new(), Vec::new()));
    put(root.path(), "test/a/3.jpg", "");
    assert_eq!(measured(&root), ["left alone beside the classes: test/"]);
    // The list of the classes of shards names none of folders.
    put(root.path(), "classes.txt", "a\nb\n");
    assert_eq!(measured(&root), ["left alone beside the classes: test/, classes.txt"]);
}

#[test]
fn splits_are_not_taken_for_classes() {
    let cases: [(&[&str], &str); 6] = [
        (
            &["Train/cat/1.jpg", "Train/dog/1.jpg", "Val/cat/1.jpg", "Val/dog/1.jpg"],
            "\"Train\", \"Val\"; rename \"Train\" to \"train\", \"Val\" is taken as it is, or give DATA/Train itself to \
             have a fifth of its images held out",
        ),
        (
            &["training/cat/1.jpg", "training/dog/1.jpg", "validation/cat/1.jpg", "LICENSE"],
            "\"training\", \"validation\"; rename \"training\" to \"train\", \"validation\" is taken as it is, or give \
             DATA/training itself to have a fifth of its images held out",
        ),
        (
            &["seg_train/cat/1.jpg", "seg_train/dog/1.jpg", "seg_test/cat/1.jpg", "seg_pred/1.jpg"],
            "\"seg_test\", \"seg_train\"; rename \"seg_train\" to \"train\", add \"val\" with one folder per class, or \
             give DATA/seg_train itself to have a fifth of its images held out",
        ),
        (
            &["training_set/cat/1.jpg", "training_set/dog/1.jpg", "flowers-val/dog/1.jpg"],
            "\"flowers-val\", \"training_set\"; rename \"training_set\" to \"train\", rename \"flowers-val\" to \"val\", or give \
             DATA/training_set itself to have a fifth of its images held out",
        ),
        (
            &["training/cat/1.jpg", "training/dog/1.jpg"],
            "\"training\"; rename \"training\" to \"train\", add \"val\" with one folder per class, or give \
             DATA/training itself to have a fifth of its images held out",
        ),
        (
            &["val/cat/1.jpg", "val/dog/1.jpg"],
            "\"val\"; add \"train\" with one folder per class, \"val\" is taken as it is",
        ),
    ];
    for (files, rest) in cases {
        assert_eq!(
            refused(folder(files).path()),
            format!("data folder DATA has splits in place of class folders: {rest}"),
            "{files:?}"
        );
    }
    // Classes that are only called so, or whose pictures lie in folders of one name.
    let classes = folder(&[
        "training shoes/1.jpg",
        "training shoes/2.jpg",
        "test tubes/round/1.jpg",
        "test tubes/flat/2.jpg",
        "valid tickets/2024/1.jpg",
        "objects/round/photo.jpg",
    ]);
    assert_eq!(open(&classes).classes().len(), 4);
}

#[test]
fn the_folder_above_the_classes_names_the_one_to_give() {
    let root = folder(&["flowers/rose/1.jpg", "flowers/daisy/1.jpg", "LICENSE.txt", "flowers/README"]);
    assert_eq!(
        refused(root.path()),
        "data folder DATA has no classes of its own: DATA/flowers has 2 class folders: give that"
    );
    let root = folder(&["a/b/rose/1.jpg", "a/b/daisy/1.jpg"]);
    assert!(refused(root.path()).contains("DATA/a/b has 2 class folders: give that"));
    let root = folder(&["photos/train/a/1.jpg", "photos/val/a/1.jpg"]);
    assert!(refused(root.path()).contains("DATA/photos has train/: give that"));
    // A class whose pictures lie in folders of their own is enough to measure on.
    let root = folder(&["daisy/monday/1.jpg", "daisy/tuesday/1.jpg"]);
    assert_eq!(counts(&Dataset::open_validation(root.path(), Rules::NEWEST).unwrap()), (0, 2));
}

#[test]
fn a_folder_without_pictures_says_what_it_holds() {
    let root = folder(&["a/1.txt", "b/2.pdf"]);
    assert_eq!(
        refused(root.path()),
        "data folder DATA has no pictures: 2 other files (pdf, txt) in 2 class folders; expected image files in each"
    );
    let root = folder(&["a/1.jpg", "b/2.pdf"]);
    assert!(
        refused(root.path()).starts_with("class \"b\" has no images in DATA/b, only 1 other file (pdf): ")
    );
}

/// What file servers, archives, disks and programs leave in people's folders.
#[test]
fn system_folders_and_other_files_are_passed_over() {
    let clean = ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg", "dog/deep/3.jpg"];
    let junk = [
        "@eaDir/cat@SynoEAStream",
        "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg",
        "__MACOSX/cat/._1.jpg",
        "lost+found/1",
        ".ipynb_checkpoints/x.jpg",
        "dog/.ipynb_checkpoints/1-checkpoint.jpg",
        "cat/.DS_Store",
        "cat/._1.jpg",
        "cat/Thumbs.db",
        "dog/desktop.ini",
        "cat/1.txt",
        "cat/2.json",
        "dog/labels.CSV",
        "dog/shard.tar",
        "classes.xlsx",
    ];
    let (plain, dirty) = (folder(&clean), folder(&clean));
    junk.iter().for_each(|file| put(dirty.path(), file, file));
    let (plain, set) = (open(&plain), open(&dirty));
    assert_eq!((set.classes(), set.fingerprint()), (plain.classes(), plain.fingerprint()));
    let passed = set.passed().unwrap();
    assert_eq!(passed.files(Reason::Other).len(), 4);
    assert_eq!(passed.files(Reason::System).len(), 2);
    assert_eq!(passed.folders(Reason::System).len(), 4);
    assert_eq!((passed.files(Reason::Hidden).len(), passed.folders(Reason::Hidden).len()), (2, 2));
    assert_eq!(passed.files(Reason::Beside), [Path::new("classes.xlsx")]);
    // An old run keeps the samples that it began with.
    let old = Dataset::open(dirty.path(), Rules::V1);
    assert!(old.unwrap_err().to_string().contains("class \"__MACOSX\" has no images"));
}

#[test]
fn both_unicode_forms_of_a_class_are_one_class() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let files = |train: &str, val: &str| {
        [
            format!("train/{train}/1.jpg"),
            "train/tea/1.jpg".into(),
            format!("val/{val}/1.jpg"),
            "val/tea/2.jpg".into(),
        ]
    };
    let open = |files: [String; 4]| open(&folder(&files.each_ref().map(String::as_str)));
    let mixed = open(files(composed, decomposed));
    assert_eq!((mixed.classes(), counts(&mixed)), (&[composed.to_owned(), "tea".to_owned()][..], (2, 2)));
    // The same folder on a Mac.
    let mac = Dataset::open(
        folder(&files(decomposed, decomposed).each_ref().map(String::as_str)).path(),
        Rules::NEWEST,
    )
    .unwrap();
    assert_eq!(mac.classes(), mixed.classes());
    // Both forms side by side are one class too, with the pictures of both.
    let root = folder(&["a/1.jpg", "a/2.jpg"]);
    [composed, decomposed]
        .iter()
        .enumerate()
        .for_each(|(i, name)| put(root.path(), &format!("{name}/{i}.jpg"), name));
    let both = Dataset::open(root.path(), Rules::NEWEST).unwrap();
    assert_eq!((both.classes().len(), counts(&both)), (2, (2, 2)));
    // Classes that differ in case are two.
    let cases =
        Dataset::open(folder(&["A/1.jpg", "A/2.jpg", "a/3.jpg", "a/4.jpg"]).path(), Rules::NEWEST).unwrap();
    assert_eq!(cases.classes(), ["A", "a"]);
}

#[cfg(target_os = "linux")]
#[test]
fn no_class_and_no_picture_disappears_for_its_name() {
    use std::os::unix::ffi::OsStrExt;
    let root = TempDir::new().unwrap();
    let odd: [&[u8]; 9] = [
        b"caf\xe9",
        b"caf\xe8",
        b"line\nbreak",
        b"tab\there",
        "\u{732b}".as_bytes(),
        "\u{43a}\u{43e}\u{442}".as_bytes(),
        b" space ",
        b"quote\"s",
        b"back\\slash",
    ];
    for class in odd {
        for picture in
            [&b"1.jpg"[..], b"\xff\xfe.jpg", b"a b\n.jpg", "\u{43a}.png".as_bytes(), b"no extension"]
        {
            let folder = root.path().join(std::ffi::OsStr::from_bytes(class));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(std::ffi::OsStr::from_bytes(picture)), "").unwrap();
        }
    }
    let set = open(&root);
    assert_eq!((set.classes().len(), counts(&set)), (9, (36, 9)));
    assert!(set.classes().contains(&"caf\\xE9".to_owned()), "{:?}", set.classes());
    // Two names that would be written alike are refused, not merged.
    put(root.path(), "caf\\xE9/1.jpg", "1");
    assert!(refused(root.path()).contains("are both written \"caf\\xE9\""), "{}", refused(root.path()));
}

#[cfg(unix)]
#[test]
fn a_linked_folder_is_followed_once_and_loops_are_named() {
    use std::os::unix::fs::symlink;
    let root = folder(&["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"]);
    let elsewhere = folder(&["more/3.jpg", "more/deep/4.jpg"]);
    let at = |path: &str| root.path().join(path);
    symlink(elsewhere.path().join("more"), at("cat/more")).unwrap();
    symlink(elsewhere.path().join("more"), at("cat/again")).unwrap();
    symlink(at("cat"), elsewhere.path().join("more/back")).unwrap();
    symlink(at("dog"), at("cat/loop")).unwrap();
    symlink(root.path(), at("dog/up")).unwrap();
    symlink(at("dog/self"), at("dog/self")).unwrap();
    let set = open(&root);
    let mut found = [names(&set, Split::Train), names(&set, Split::Validation)].concat();
    found.sort();
    // The link to itself is no folder: it is a sample that cannot be read.
    assert_eq!(
        found,
        [
            "cat/1.jpg",
            "cat/2.jpg",
            "cat/again/3.jpg",
            "cat/again/deep/4.jpg",
            "dog/1.jpg",
            "dog/2.jpg",
            "dog/self"
        ]
    );
    let mut named: Vec<_> = set.passed().unwrap().folders(Reason::Link).to_vec();
    named.sort();
    assert_eq!(named, ["cat/again/back", "cat/loop", "cat/more", "dog/up"].map(std::path::PathBuf::from));
}

/// A link to a class is no class of its own, with the same pictures under another name; a link to pictures
/// elsewhere is.
#[cfg(unix)]
#[test]
fn a_class_that_is_a_link_to_another_class_is_named() {
    use std::os::unix::fs::symlink;
    let root = folder(&["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"]);
    let elsewhere = folder(&["hens/1.jpg", "hens/2.jpg"]);
    symlink(root.path().join("dog"), root.path().join("again")).unwrap();
    symlink(elsewhere.path().join("hens"), root.path().join("hen")).unwrap();
    symlink(elsewhere.path().join("hens"), root.path().join("hen too")).unwrap();
    let set = open(&root);
    assert_eq!(set.classes(), ["cat", "dog", "hen"]);
    assert_eq!(set.passed().unwrap().folders(Reason::Link), ["again", "hen too"].map(std::path::Path::new));
}

/// What `lost+found` is for one who may not read it must not be the end.
#[test]
fn what_is_passed_over_is_not_even_listed() {
    let root = folder(&["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "lost+found/x"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(root.path().join("lost+found"), fs::Permissions::from_mode(0o000)).unwrap();
    }
    assert_eq!(counts(&open(&root)), (2, 2));
}

#[test]
fn the_fingerprint_follows_sizes_and_content() {
    let files = ["train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg"];
    let print = |change: &dyn Fn(&Path)| {
        let root = folder(&files);
        change(root.path());
        open(&root).fingerprint().hash.clone()
    };
    let base = print(&|_| {});
    let parts = |hash: &str| hash.split(':').map(str::to_owned).collect::<Vec<_>>();
    let differs = |hash: &str| -> Vec<usize> {
        (0..5).filter(|&part| parts(&base)[part] != parts(hash)[part]).collect()
    };
    assert_eq!(parts(&base)[0], "2");
    assert_eq!(print(&|_| {}), base);
    let longer = print(&|root| fs::write(root.join("train/a/1.jpg"), "train/a/1.jpg ").unwrap());
    assert_eq!(differs(&longer), [3, 4], "sizes and content");
    let other = print(&|root| fs::write(root.join("train/a/1.jpg"), "TRAIN/a/1.jpg").unwrap());
    assert_eq!(differs(&other), [4], "content alone");
    let renamed = print(&|root| fs::rename(root.join("train/a/1.jpg"), root.join("train/a/0.jpg")).unwrap());
    assert_eq!(differs(&renamed), [1], "names alone");
}

/// Old snapshots hold this form; it may not change.
#[test]
fn old_runs_keep_their_fingerprint_and_their_fifth() {
    let files: Vec<String> = (0..20).map(|i| format!("{}/{i}.jpg", ["rose", "daisy"][i % 2])).collect();
    let root = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let old = Dataset::open(root.path(), Rules::V1).unwrap();
    assert_eq!(old.fingerprint().hash, "25c085708cff77cd997ba5194dd1de20dfc9ddd300b70a0f17b510147b3cefb6");
    assert_eq!(names(&old, Split::Validation), ["daisy/1.jpg", "daisy/19.jpg", "rose/4.jpg"]);
    assert_eq!((Rules::V1.number(), Rules::of(1), Rules::of(3)), (1, Some(Rules::V1), None));
}
