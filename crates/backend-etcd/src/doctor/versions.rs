//! What is known to be wrong with a version of etcd, as far as a lock is concerned. Such facts age:
//! the day of which they are true is told with them.

use leasehold_backend::doctor::Maintained;

/// The day of which all of this is true.
pub(super) const KNOWN: &str = "2026-11-30";

/// The project maintains two minor versions, and 3.7 is out.
const MAINTAINED: Maintained = Maintained { oldest: (3, 6), as_of: KNOWN };

/// What is without all that an upgrade fixes.
pub(super) const CURRENT: &str = "the latest 3.7 or 3.6, at least 3.7.1 or 3.6.14";

/// A defect of the server, and the first patch of each minor version that is without it. Later
/// minor versions are without it, earlier ones never were.
struct Defect {
    what: &'static str,
    mended: &'static [(u64, u64)],
}

/// The gravest first.
const DEFECTS: &[Defect] = &[
    Defect {
        what: "a read may show an old state after a member was paused (etcd issue 20418)",
        mended: &[(4, 42), (5, 28), (6, 9)],
    },
    Defect {
        what: "a member that was cut off may end leases that were renewed since (etcd issue 15247)",
        mended: &[(4, 31), (5, 13), (6, 0)],
    },
    Defect {
        what: "the renewal of a lease that was revoked may be acknowledged (etcd pull request \
            20615)",
        mended: &[(4, 38), (5, 23), (6, 5)],
    },
    Defect {
        what: "anybody, also without a login, may keep another's lease alive (CVE-2026-33413)",
        mended: &[(4, 42), (5, 28), (6, 9)],
    },
    Defect {
        what: "nested transactions pass over permissions (CVE-2026-33343)",
        mended: &[(4, 42), (5, 28), (6, 9)],
    },
    Defect {
        what: "a watch may miss events (etcd issues 18089 and 19179)",
        mended: &[(5, 22), (6, 2)],
    },
    Defect {
        what: "permission to read one key is permission to watch a range (GHSA-xg4h-6gfc-h4m8)",
        mended: &[(5, 33), (6, 14), (7, 1)],
    },
];

/// What no release is without, and what to do about it: seen with 3.6.16, and its cause is in the
/// source of 3.7.1 too. Issue 15247 is mended for a member that ticks late, not for one that has
/// just begun to tick again.
pub(super) const UNMENDED: (&str, &str) = (
    "when the member that leads the cluster is frozen for longer than a lease and goes on, it may \
     end leases that were renewed meanwhile (what is left of etcd issue 15247): a leader loses its \
     term, is told by its watch within milliseconds, and another leads",
    "no release is without it: do not suspend or migrate the machines of members while they run, \
     and let the resource refuse smaller tokens",
);

/// Whether [`UNMENDED`] is to be told of this version.
pub(super) fn has_unmended(version: &str) -> bool {
    parsed(version).is_none_or(|(major, ..)| major <= 3)
}

/// What is known to be wrong with this version and mended in a later one. Empty: nothing.
pub(super) fn known_defects(version: &str) -> Vec<String> {
    let Some((major, minor, patch)) = parsed(version) else {
        return vec!["its version is none that is known here".to_owned()];
    };
    let mut known = Vec::new();
    known.extend(MAINTAINED.given_up((major, minor)));
    let has = |defect: &&Defect| {
        let of_minor = defect.mended.iter().find(|(mended, _)| *mended == minor);
        match of_minor {
            Some((_, first)) => patch < *first,
            None => defect.mended.iter().all(|(mended, _)| minor < *mended),
        }
    };
    if major == 3 {
        known.extend(DEFECTS.iter().filter(has).map(|defect| defect.what.to_owned()));
    }
    known
}

/// Major, minor and patch. What follows a `-` or `+` does not count: a release candidate is taken
/// for its release.
fn parsed(version: &str) -> Option<(u64, u64, u64)> {
    let version = version.split(['-', '+']).next()?;
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    let parsed = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_defects_and_the_latest_patches_have_none_that_is_mended() {
        for (version, unmended) in
            [("3.5.33", true), ("3.6.16", true), ("3.7.1", true), ("4.0.0", false)]
        {
            assert_eq!(has_unmended(version), unmended, "{version}");
        }
        for clean in ["3.6.14", "3.6.16", "3.7.1", "3.8.0-alpha.0", "4.0.0"] {
            assert_eq!(known_defects(clean), Vec::<String>::new(), "{clean}");
        }
        for (version, count, says) in [
            ("3.5.33", 1, "maintains it no more"),
            ("3.5.12", 8, "15247"),
            ("3.4.23", 8, "20418"),
            ("3.3.27", 8, "CVE-2026-33413"),
            ("3.4.42", 3, "miss events"),
            ("3.6.8", 4, "CVE-2026-33343"),
            ("3.6.13", 1, "GHSA-xg4h-6gfc-h4m8"),
            ("3.7.0", 1, "GHSA-xg4h-6gfc-h4m8"),
            ("3.x", 1, "none that is known"),
            ("", 1, "none that is known"),
        ] {
            let known = known_defects(version);
            assert_eq!(known.len(), count, "{version}: {known:?}");
            assert!(known.iter().any(|what| what.contains(says)), "{version}: {known:?}");
        }
    }
}
