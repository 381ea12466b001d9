//! `downpour samples` and `downpour draw`; `downpour data` is tested with the runs that it comes before.

use crate::support::{binary, run};

#[test]
fn samples_writes_a_sheet_and_names_its_rows() {
    let home = tempfile::tempdir().unwrap();
    let sheet = home.path().join("sheet.png");
    let words = ["samples", "--rows", "2", "--columns", "3", "--input-size", "32", "--output"];
    let text = run(binary().args(words).arg(&sheet)).expect(0).stdout;
    assert!(text.starts_with("drawn/0\ndrawn/10000\n") && text.contains("samples a second"), "{text}");
    assert!(std::fs::read(sheet).unwrap().starts_with(b"\x89PNG"));
    let nowhere = home.path().join("nowhere/sheet.png");
    run(binary().args(words).arg(nowhere))
        .expect(3)
        .says(&["expected a folder that is there, found none at "]);
}

#[test]
fn draw_writes_folders_of_pictures_into_a_new_folder_only() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("shapes");
    let draw = || {
        let mut command = binary();
        command
            .args(["draw", "--images", "20", "--validation", "10", "--input-size", "32", "--output"])
            .arg(&folder);
        run(&mut command)
    };
    let text = draw().expect(0).stdout;
    assert_eq!(text, format!("20 training and 10 validation pictures in {}\n", folder.display()));
    for (split, pictures) in [("train", 2), ("val", 1)] {
        let classes: Vec<_> =
            std::fs::read_dir(folder.join(split)).unwrap().map(|class| class.unwrap().path()).collect();
        assert_eq!(classes.len(), 10);
        assert!(classes.iter().all(|class| std::fs::read_dir(class).unwrap().count() == pictures));
    }
    draw().expect(3).says(&["failed to draw: ", folder.to_str().unwrap()]);
}
