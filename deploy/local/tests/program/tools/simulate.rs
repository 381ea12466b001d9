//! `downpour simulate`.

use crate::support::{binary, run};

#[test]
fn what_is_not_simulated_is_refused_before_anything_is() {
    for (words, key) in [
        (["--precision", "bf16"], "run.precision"),
        (["--set", "run.precision=bf16"], "run.precision"),
        (["--patience-epochs", "5"], "run.patience_epochs"),
        (["--set", "run.patience_epochs=5"], "run.patience_epochs"),
        (["--set", "run.evaluate_last_iterate=true"], "run.evaluate_last_iterate"),
        (["--set", "run.lease_batches=3"], "run.lease_batches"),
    ] {
        let refused = run(binary().arg("simulate").args(words)).expect(2);
        assert_eq!(refused.stdout, "");
        refused.says(&[&format!("failed to simulate: configuration key {key}: found ")]);
    }
    let help = run(binary().args(["simulate", "--help"])).expect(0).stdout;
    assert!(
        help.contains("--data") && !help.contains("--precision") && !help.contains("--patience-epochs"),
        "{help}"
    );
}
