//! No product is built with a deliberate defect: they are features of the published crates, for
//! tests only.

use crate::cargo::{capture, cargo};

/// Brings deliberate defects, or shows what only the model checker needs.
const FEATURES: [&str; 3] = [
    "leasehold-core feature \"mutants\"",
    "leasehold-core feature \"model\"",
    "leasehold-guard feature \"mutants\"",
];

/// What people build, with whatever features they choose.
const PRODUCTS: [&str; 6] = [
    "leasehold",
    "leasehold-cli",
    "leasehold-etcd",
    "leasehold-file",
    "leasehold-k8s",
    "leasehold-redis",
];

/// The step.
pub(crate) fn step() -> Result<String, String> {
    for product in PRODUCTS {
        if let Some(feature) = defect_of(product)? {
            return Err(format!("{product} is built with {feature}"));
        }
    }
    // The simulator has them: a look that finds none there would find none anywhere.
    match defect_of("leasehold-sim")? {
        Some(_) => Ok(PRODUCTS.join(", ")),
        None => Err("leasehold-sim has none, or this looks for the wrong names".to_owned()),
    }
}

fn defect_of(package: &str) -> Result<Option<&'static str>, String> {
    let edges = ["tree", "--all-features", "--edges", "normal,build,features", "--prefix", "none"];
    let tree = capture(cargo(edges).args(["-p", package]))?;
    Ok(FEATURES.into_iter().find(|feature| tree.lines().any(|line| line.starts_with(feature))))
}
