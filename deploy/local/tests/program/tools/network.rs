//! `downpour describe` and `downpour bench`.

use crate::support::{binary, run};

#[test]
fn describe_prints_one_object_with_the_known_numbers() {
    for (words, parameters, multiply_adds) in [
        ("describe --json", 13_378_280, 1_591_044_096),
        ("describe --json --no-aux", 6_998_552, 1_582_671_872u64),
    ] {
        let object = run(binary().args(words.split(' '))).expect(0).json();
        assert_eq!(object["parameters"].as_u64(), Some(parameters));
        assert_eq!(object["multiply_adds"].as_u64(), Some(multiply_adds));
        assert!(object["layers"].as_array().unwrap().len() > 60);
    }
}

#[test]
fn describe_prints_tables_for_people() {
    let layers = run(binary().args(["describe", "--variant", "operations"])).expect(0).stdout;
    assert!(
        layers.starts_with("layer ") && layers.trim_end().lines().last().unwrap().starts_with("all "),
        "{layers}"
    );
    let modules = run(binary().args(["describe", "--modules"])).expect(0).stdout;
    assert!(
        modules.contains("with reduction (Figure 2b)") && modules.contains("\ninception_5b "),
        "{modules}"
    );
}

#[test]
fn bench_prints_one_object_with_its_numbers_and_draws_the_roofline() {
    let home = tempfile::tempdir().unwrap();
    let picture = home.path().join("roofline.svg");
    let words =
        "bench --json --batch 2 --threads 1 --width 0.05 --input-size 80 --classes 10 --steps 1 --roofline";
    let object = run(binary().args(words.split(' ')).arg(&picture)).expect(0).json();
    for number in ["images_per_second", "gflops"] {
        assert!(object[number].as_f64().unwrap() > 0.0, "{number} in {object}");
    }
    assert!(object["layers"].as_array().unwrap().len() > 60);
    assert!(std::fs::read_to_string(picture).unwrap().starts_with("<svg"));
}
