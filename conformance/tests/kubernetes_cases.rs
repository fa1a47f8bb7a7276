//! Cases of the slow tier that every run of the tests must show, in a shorter form: client-go and ours on one lock.

use leasehold_conformance::command;
use leasehold_conformance::own::Says;
use leasehold_conformance::stop::Stop;

#[test]
fn a_fleet_of_client_go_and_ours() {
    let words = ["k8s", "UP2,UP4"].map(str::to_owned);
    let as_expected = command::run(&words, &Stop::default(), |says| {
        if let Says::Verdict(text) = says {
            println!("{text}");
        }
    });
    assert!(matches!(as_expected, Ok(true)), "{as_expected:?}");
}
