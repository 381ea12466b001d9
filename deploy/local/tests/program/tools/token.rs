//! `downpour token`.

use crate::support::{binary, run, text};

#[test]
fn tokens_are_made_once_and_their_files_are_told() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("access");
    let made = run(binary().args(["token", "new", text(&folder), "--run", "roses"])).expect(0);
    let told: Vec<&str> = made.stdout.lines().collect();
    for (line, role) in told.iter().zip(["worker", "server", "reader", "operator"]) {
        let file = folder.join(role).join("token");
        assert_eq!(*line, format!("{role:<9} {}", file.display()));
        let token = std::fs::read_to_string(file).unwrap();
        assert!(token.starts_with(&format!("downpour1.{role}.")));
        assert!(!made.stdout.contains(token.trim()), "paths, and no token");
    }
    assert_eq!(told.len(), 4);
    let again = run(binary().args(["token", "new", text(&folder)])).expect(3);
    again.says(&["failed to make the tokens: folder ", "holds the tokens of a run already"]);
}

#[test]
fn what_is_no_token_is_refused_before_anything_is_called() {
    let wrong = run(binary().args(["fetch"]).env("DOWNPOUR_TOKEN", "secret")).expect(3);
    let wrong =
        wrong.says(&["DOWNPOUR_TOKEN: expected the text of a token, downpour1.ROLE.SECRET.AUTHORITY"]);
    assert!(!wrong.stderr.contains("\"secret\""));
    let missing = ["fetch", "--token-file", "/nowhere/token"];
    run(binary().args(missing)).expect(3).says(&["cannot read /nowhere/token"]);
}
