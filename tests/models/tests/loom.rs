//! Runs the models.

use loom::model::Builder;
use micro_models::{border, models};
use micro_tests::suite::Report;

#[test]
fn every_order_of_steps_keeps_the_promises() {
    let models = models::MODELS.iter().chain(border::MODELS);
    for (name, model) in models.clone() {
        println!("{name}");
        let mut builder = Builder::new();
        // Steps within one order: the budget looks at ten slots each time.
        builder.max_branches = 100_000;
        builder.check(model);
    }
    Report {
        suite: "loom".into(),
        version: "0.7".into(),
        tested: "core: budget, histogram, places, selector; bridge: ids, queue".into(),
        passed: models.count(),
        ..Report::default()
    }
    .record();
}
