//! Cases of the slow tier that every run of the tests must show: what etcd's own candidates and ours do to each other, and
//! that no single member's end is noticed.

use leasehold_conformance::command;
use leasehold_conformance::own::Says;
use leasehold_conformance::stop::Stop;

#[test]
fn peers_and_the_loss_of_a_member() {
    let words = ["etcd", "UP5,SV4"].map(str::to_owned);
    let as_expected = command::run(&words, &Stop::default(), |says| {
        if let Says::Verdict(text) = says {
            println!("{text}");
        }
    });
    assert!(matches!(as_expected, Ok(true)), "{as_expected:?}");
}
