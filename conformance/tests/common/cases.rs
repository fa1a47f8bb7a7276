//! Cases of the slow tier that every run of the tests must show, in a shorter form.

use leasehold_conformance::command;
use leasehold_conformance::own::Says;
use leasehold_conformance::stop::Stop;

/// Runs these cases on this backend, which must come out as expected.
pub fn run(backend: &str, ids: &str) {
    let words = [backend, ids].map(str::to_owned);
    let as_expected = command::run(&words, &Stop::default(), |says| {
        if let Says::Verdict(text) = says {
            println!("{text}");
        }
    });
    assert!(matches!(as_expected, Ok(true)), "{as_expected:?}");
}
