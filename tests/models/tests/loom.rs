//! Runs the models.

use loom::model::Builder;
use micro_models::models::MODELS;
use micro_tests::suite::Report;

#[test]
fn every_order_of_steps_keeps_the_promises() {
    for (name, model) in MODELS {
        println!("{name}");
        let mut builder = Builder::new();
        // Steps within one order: the budget looks at ten slots each time.
        builder.max_branches = 100_000;
        builder.check(model);
    }
    Report {
        suite: "loom".into(),
        version: "0.7".into(),
        tested: "budget, histogram, places, selector".into(),
        passed: MODELS.len(),
        ..Report::default()
    }
    .record();
}
