//! What is known to be wrong with a version, as far as a lock is concerned: above all what whoever
//! may run a script can do to the server.

use crate::info::{Info, Product};

type Version = (u64, u64, u64);

/// A defect by which whoever may run a script may run any code in the server, and the first patch
/// of each minor version that is without it. Newer minor versions than those are without it; others
/// were given up with it.
struct Defect {
    name: &'static str,
    redis: &'static [Version],
    valkey: &'static [Version],
}

/// The day until which the release notes of Redis and Valkey were read.
const AS_OF: &str = "2026-11-30";

/// The gravest first. By the release notes of the versions that are named here: of 3 October 2025,
/// of 6 January 2025, and of May 2026. Where only a later patch of Valkey is known to be without
/// the last one, that is named.
const DEFECTS: &[Defect] = &[
    Defect {
        name: "CVE-2025-49844",
        redis: &[(7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)],
        valkey: &[(7, 2, 11), (8, 0, 6), (8, 1, 4)],
    },
    Defect {
        name: "CVE-2024-46981",
        redis: &[(7, 2, 7), (7, 4, 2)],
        valkey: &[(7, 2, 8), (8, 0, 2)],
    },
    Defect {
        name: "CVE-2026-23631",
        redis: &[(7, 2, 14), (7, 4, 9), (8, 2, 6), (8, 4, 3), (8, 6, 3)],
        valkey: &[(7, 2, 14), (8, 0, 9), (8, 1, 8), (9, 0, 4)],
    },
];

/// What is known to be wrong with what answers, and fixed in a later version. Empty: nothing.
pub(super) fn known_defects(info: &Info) -> Vec<String> {
    let Some(version) = info.version else {
        return vec!["its version is none that is known here".to_owned()];
    };
    let of_product = |defect: &Defect| match info.product {
        Product::Redis => Some(defect.redis),
        Product::Valkey => Some(defect.valkey),
        Product::KeyDb | Product::Dragonfly | Product::Garnet => None,
    };
    let has = |fixed: &[Version]| {
        let minor = |version: &Version| (version.0, version.1);
        match fixed.iter().find(|first| minor(first) == minor(&version)) {
            Some(first) => version < *first,
            None => fixed.iter().any(|first| minor(&version) < minor(first)),
        }
    };
    let found = DEFECTS.iter().filter(|defect| of_product(defect).is_some_and(has));
    let names: Vec<&str> = found.map(|defect| defect.name).collect();
    let mut known = Vec::new();
    if !names.is_empty() {
        let names = names.join(", ");
        known.push(format!(
            "whoever may run a script may run any code in the server ({names}; as of {AS_OF})"
        ));
    }
    if matches!(info.product, Product::KeyDb | Product::Dragonfly | Product::Garnet) {
        known.push("this project has not tested it".to_owned());
    }
    known
}

/// What to do about it.
pub(super) fn cure(info: &Info) -> &'static str {
    match info.product {
        Product::Redis | Product::Valkey => {
            "upgrade, unless its distributor has fixed it under the same number; or let nobody but \
             candidates run scripts, or nobody at all (cas=ifeq)"
        }
        Product::KeyDb | Product::Dragonfly | Product::Garnet => {
            "run leasehold conformance on it before anything relies on it"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_defects() {
        let known = |product, version| {
            known_defects(&Info { product, version, ..Info::default() })
                .concat()
                .matches("CVE-")
                .count()
        };
        for (version, count) in [
            ((7, 0, 15), 3),
            ((7, 2, 6), 3),
            ((7, 2, 7), 2),
            ((7, 2, 11), 1),
            ((7, 2, 14), 0),
            ((8, 0, 3), 2),
            ((8, 0, 4), 1),
            ((8, 2, 2), 1),
            ((8, 2, 6), 0),
            ((8, 8, 0), 0),
            ((8, 10, 2), 0),
        ] {
            assert_eq!(known(Product::Redis, Some(version)), count, "{version:?}");
        }
        for (version, count) in
            [((7, 2, 5), 3), ((8, 0, 5), 2), ((8, 1, 4), 1), ((8, 1, 8), 0), ((9, 1, 2), 0)]
        {
            assert_eq!(known(Product::Valkey, Some(version)), count, "{version:?}");
        }
        for (product, version) in [(Product::Redis, None), (Product::Dragonfly, Some((1, 2, 3)))] {
            let info = Info { product, version, ..Info::default() };
            assert_eq!(known_defects(&info).len(), 1);
        }
    }
}
