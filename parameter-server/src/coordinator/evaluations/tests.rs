//! Tests of the evaluations of a run, without a coordinator.

use protocol::Mistake;

use super::*;

/// A schedule over a validation split of 100 images, which is one part.
fn schedule(every: u64, total: u64) -> Schedule {
    Schedule { every, total, validation: 100, batch: 16, last_iterate: false }
}

fn evaluations(every: u64, total: u64, consumed: u64) -> Evaluations {
    Evaluations::new(schedule(every, total), consumed, 1, Vec::new())
}

/// Sums of a part of which two images cannot be read, with a loss of 1 for each image.
fn sums(order: &EvaluationOrder) -> EvaluationPart {
    let images = order.end - order.start - 2;
    let loss = Scores::new([("loss", images as f64)]);
    EvaluationPart {
        id: order.id,
        start: order.start,
        images,
        unreadable: 2,
        average: loss.clone(),
        last_iterate: order.last_iterate.then_some(loss),
        skipped: Some("a.jpg: empty".into()),
        mistakes: vec![mistake(order.start, 0.9), mistake(order.start + 1, 0.5)],
    }
}

fn mistake(image: u64, probability_said: f32) -> Mistake {
    Mistake { image, right: 1, said: 0, probability_right: 0.0, probability_said, picture: vec![0xff, 0xd8] }
}

/// Records the sums of a part some of whose images can be read.
fn record(evaluations: &mut Evaluations, holder: u64, sums: EvaluationPart) -> Option<Evaluation> {
    evaluations.record(holder, sums).unwrap()
}

#[test]
fn due_ones_go_to_one_worker_and_again_if_it_is_lost() {
    let mut evaluations = evaluations(100, 250, 0);
    assert_eq!(evaluations.order(1, 2, 99, 99), None);
    let first = evaluations.order(1, 2, 100, 100).unwrap();
    let expected =
        EvaluationOrder { id: 1, samples: 100, last: false, start: 0, end: 100, last_iterate: false };
    assert_eq!(first, expected);
    assert_eq!(evaluations.order(2, 2, 120, 120), None);
    evaluations.take_back(1);
    assert_eq!(evaluations.order(2, 2, 130, 130), Some(first.clone()));
    assert_eq!(record(&mut evaluations, 1, sums(&first)), None);
    assert!(record(&mut evaluations, 2, sums(&first)).is_some());
    evaluations.written(first.id);
    assert_eq!(evaluations.order(2, 2, 199, 199), None);
    let second = evaluations.order(2, 2, 230, 230).unwrap();
    let last = evaluations.order(1, 2, 250, 249).unwrap();
    assert_eq!(last, EvaluationOrder { id: 3, samples: 249, last: true, last_iterate: true, ..expected });
    assert!(record(&mut evaluations, 2, sums(&second)).is_some() && evaluations.last().is_none());
    evaluations.take_back(1);
    assert_eq!(evaluations.order(2, 1, 250, 249), Some(last.clone()));
    let result = record(&mut evaluations, 2, sums(&last)).unwrap();
    assert_eq!(evaluations.last(), Some(&result));
    assert_eq!(result.last_iterate, Some(Scores::new([("loss", 1.0)])));
    assert_eq!(evaluations.order(2, 1, 250, 249), None);
    assert_eq!(evaluations.done().len(), 3);
}

/// Whoever asks gets the next part, however fast it is; lost ones are done by others; the result is that of
/// the whole, whoever did what.
#[test]
fn the_parts_of_one_go_to_all_workers() {
    let top1 = |image: u64| image.is_multiple_of(3);
    let mut results = Vec::new();
    for (members, lost) in [(1, None), (2, None), (3, Some(2)), (40, Some(5))] {
        let schedule = Schedule { validation: 1000, ..schedule(100, 250) };
        let mut evaluations = Evaluations::new(schedule, 0, 1, Vec::new());
        let (mut held, mut order_of) = (Vec::new(), |holder| evaluations.order(holder, members, 100, 100));
        for holder in (0..members as u64).cycle().take(2 * members) {
            held.extend(order_of(holder).map(|order| (holder, order)));
        }
        let workers: BTreeSet<u64> = held.iter().map(|(holder, _)| *holder).collect();
        assert_eq!(workers.len(), members.min(7), "as many as have 128 images each");
        if let Some(lost) = lost {
            evaluations.take_back(lost);
        }
        let mut result = None;
        while let Some((holder, order)) = held.pop() {
            let images = order.end - order.start;
            assert!((32..=256).contains(&images) || order.end == 1000, "{order:?}");
            assert!(images.is_multiple_of(16) || order.end == 1000, "{order:?}");
            let right = (order.start..order.end).filter(|&image| top1(image)).count() as f64;
            let part = EvaluationPart {
                id: order.id,
                start: order.start,
                images,
                average: Scores::new([("top1", right), ("loss", images as f64 / 2.0)]),
                ..Default::default()
            };
            evaluations.check(holder, &part).unwrap();
            assert!(result.is_none());
            result = record(&mut evaluations, holder, part.clone());
            assert_eq!(record(&mut evaluations, holder, part), None, "once");
            if Some(holder) != lost
                && let Some(next) = evaluations.order(holder, members, 100, 100)
            {
                held.push((holder, next));
            }
        }
        let result = result.expect("all parts are done");
        assert_eq!((result.images, result.average.get("top1")), (1000, Some(0.334)));
        results.push(result);
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:?}");
}

#[test]
fn images_none_of_which_can_be_read_are_no_result() {
    let mut evaluations = evaluations(100, 250, 0);
    let order = evaluations.order(1, 1, 100, 100).unwrap();
    let skipped = Some("a.jpg: empty".into());
    let none = EvaluationPart { id: order.id, unreadable: 100, skipped, ..Default::default() };
    evaluations.check(1, &none).unwrap();
    let text = evaluations.record(1, none).unwrap_err();
    assert!(
        text.starts_with("none of the 100 validation images can be read; one of them: a.jpg: empty;"),
        "{text}"
    );
    assert!(evaluations.done().is_empty() && evaluations.unwritten().is_none());
    // A split without images has a result.
    let empty = Schedule { validation: 0, ..schedule(100, 250) };
    let mut evaluations = Evaluations::new(empty, 0, 1, Vec::new());
    let order = evaluations.order(1, 1, 100, 100).unwrap();
    assert_eq!((order.start, order.end, evaluations.order(2, 2, 100, 100)), (0, 0, None));
    let nothing = EvaluationPart { id: order.id, ..Default::default() };
    evaluations.check(1, &nothing).unwrap();
    assert!(record(&mut evaluations, 1, nothing).is_some() && evaluations.done().len() == 1);
}

/// The loss in the model's file is that of the last evaluation, and the run's result is to be the same.
#[test]
fn one_that_takes_longer_than_the_last_does_not_pass_for_it() {
    let mut evaluations = evaluations(100, 150, 0);
    let slow = evaluations.order(1, 2, 149, 149).unwrap();
    let last = evaluations.order(2, 2, 150, 150).unwrap();
    assert!(
        record(&mut evaluations, 2, sums(&last)).is_some()
            && record(&mut evaluations, 1, sums(&slow)).is_some()
    );
    let ids: Vec<u64> = evaluations.done().iter().map(|done| done.id).collect();
    assert_eq!((ids, evaluations.last().unwrap().id), (vec![slow.id, last.id], last.id));
}

#[test]
fn averages_stay_frozen_until_their_models_are_written() {
    let mut evaluations = evaluations(100, 1000, 0);
    let mut written = Vec::new();
    let mut due = 100;
    for (top1, best) in [(0.5, true), (0.4, false), (0.5, false), (0.6, true)] {
        let order = evaluations.order(1, 2, due, due).unwrap();
        due += 100;
        assert_eq!(evaluations.unwritten(), None);
        let part = EvaluationPart { average: Scores::new([("top1", 98.0 * top1)]), ..sums(&order) };
        let evaluation = record(&mut evaluations, 1, part).unwrap();
        assert_eq!(evaluations.order(2, 2, due, due), None, "shards keep no more");
        assert_eq!(evaluations.frozen_ids().collect::<Vec<_>>(), [order.id]);
        assert_eq!(evaluations.unwritten(), Some(ScoredModel { evaluation, newest: true, best }));
        evaluations.written(order.id);
        written.push(order.id);
    }
    assert_eq!((written.len(), evaluations.frozen_ids().count()), (4, 0));
    // The last one waits for nothing, and both are written.
    let slow = evaluations.order(1, 2, 900, 900).unwrap();
    let last = evaluations.order(2, 2, 1000, 1000).unwrap();
    assert!(
        record(&mut evaluations, 2, sums(&last)).is_some()
            && record(&mut evaluations, 1, sums(&slow)).is_some()
    );
    for (order, newest) in [(last, true), (slow, false)] {
        let model = evaluations.unwritten().unwrap();
        assert_eq!((model.evaluation.id, model.newest, model.best), (order.id, newest, false));
        evaluations.written(order.id);
    }
}

#[test]
fn one_whose_average_is_lost_is_ordered_anew() {
    for last in [false, true] {
        let mut evaluations = evaluations(100, 250, 0);
        assert!(!evaluations.void());
        let consumed = if last { 250 } else { 100 };
        let order = evaluations.order(1, 2, consumed, consumed).unwrap();
        assert_eq!(evaluations.order(2, 2, consumed, consumed), None);
        assert!(evaluations.void());
        assert_eq!(evaluations.frozen_ids().count(), 0);
        // Sums of the average that is lost come too late.
        assert_eq!(record(&mut evaluations, 1, sums(&order)), None);
        let again = evaluations.order(2, 2, consumed, consumed).unwrap();
        assert_eq!(again, EvaluationOrder { id: order.id + 1, ..order });
        assert!(record(&mut evaluations, 2, sums(&again)).is_some());
        assert_eq!((evaluations.last().is_some(), evaluations.done().len()), (last, 1));
        evaluations.written(again.id);
        assert_eq!(evaluations.order(1, 2, consumed, consumed), None, "once");
    }
}

#[test]
fn a_resumed_run_does_not_evaluate_twice_at_one_place() {
    let mut evaluations = evaluations(100, 250, 100);
    assert_eq!(evaluations.order(1, 1, 100, 100), None);
    assert!(evaluations.order(1, 1, 200, 200).is_some());
}

#[test]
fn sums_that_are_not_of_the_whole_part_or_out_of_range_go_to_another_worker() {
    let mut evaluations = evaluations(100, 250, 0);
    let mut order = evaluations.order(0, 9, 100, 100).unwrap();
    let sum = |name: &'static str, sum| Scores::new([(name, sum)]);
    let good = sums(&order);
    let cases = [
        (EvaluationPart { images: 97, ..good.clone() }, "found 97 scored and 2 unreadable"),
        (EvaluationPart { images: 0, unreadable: 101, ..good.clone() }, "found 0 scored and 101 unreadable"),
        (
            EvaluationPart { unreadable: u64::MAX, ..good.clone() },
            "expected scores of all 100 images of the part",
        ),
        (
            EvaluationPart { average: sum("loss", -0.5), ..good.clone() },
            "expected a sum of loss of 0 to 8565.2 over 98 images, found -5e-1",
        ),
        (
            EvaluationPart { average: sum("top5", 98.5), ..good.clone() },
            "expected a sum of top5 of 0 to 98 over 98 images, found 9.85e1",
        ),
        (
            EvaluationPart { last_iterate: Some(sum("loss", 88.0)), ..good.clone() },
            "expected none of the last iterate, found scores",
        ),
        (
            EvaluationPart { mistakes: vec![mistake(99, 0.5), mistake(100, 0.5)], ..good.clone() },
            "expected mistakes of images 0 to 99, found one of image 100",
        ),
    ];
    for (holder, (bad, expected)) in (0..).zip(&cases) {
        // Another worker's word changes nothing.
        evaluations.check(99, bad).unwrap();
        let text = evaluations.check(holder, bad).unwrap_err();
        assert!(text.contains(expected), "{text}");
        assert_eq!(record(&mut evaluations, holder, bad.clone()), None);
        assert_eq!(evaluations.order(holder, 9, 100, 100), None, "it gets no more");
        order = evaluations.order(holder + 1, 9, 100, 100).expect("another one does it");
        assert_eq!(order.id, good.id);
    }
    let last = cases.len() as u64;
    let diverged = EvaluationPart { average: sum("loss", f64::MAX), ..sums(&order) };
    evaluations.check(last, &diverged).unwrap();
    let result = record(&mut evaluations, last, diverged).unwrap();
    assert_eq!(result.average.get("loss"), Some(f64::MAX));
    assert_eq!((evaluations.frozen_ids().collect::<Vec<_>>(), evaluations.next_id()), (vec![1], 2));
    // One that leaves is forgotten.
    evaluations.take_back(0);
    assert!(!evaluations.barred.contains(&0) && evaluations.barred.contains(&1));
}

#[test]
fn mistakes_are_those_of_the_newest_evaluation_and_of_each_part_once() {
    let classes = ["rose".to_owned(), "tulip".to_owned()];
    let schedule = Schedule { validation: 1000, ..schedule(100, 1000) };
    let mut evaluations = Evaluations::new(schedule, 0, 1, Vec::new());
    assert_eq!(evaluations.mistakes(&classes), Mistakes::default());
    let mut shown = Vec::new();
    for consumed in [100, 200] {
        let mut parts = Vec::new();
        while let Some(order) = evaluations.order(1, 1, consumed, consumed) {
            parts.push(order);
        }
        assert!(parts.len() > 1, "{parts:?}");
        for order in &parts {
            // What is not the part's holder's is not taken, nor what comes twice.
            record(&mut evaluations, 2, sums(order));
            record(&mut evaluations, 1, sums(order));
            record(&mut evaluations, 1, sums(order));
        }
        let mistakes = evaluations.mistakes(&classes);
        let images: Vec<u64> = mistakes.mistakes.iter().map(|shown| shown.image).collect();
        let sure = parts.iter().map(|order| order.start);
        let expected: Vec<u64> = sure.chain(parts.iter().map(|order| order.start + 1)).take(12).collect();
        assert_eq!((mistakes.samples, images), (consumed, expected));
        assert_eq!((&*mistakes.mistakes[0].right, &*mistakes.mistakes[0].said), ("tulip", "rose"));
        shown.push(mistakes.evaluation);
        evaluations.written(mistakes.evaluation);
    }
    assert_eq!(shown, [1, 2]);
}
