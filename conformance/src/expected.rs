//! What is expected of a backend: `stores/NAME/expected*.toml`, with a line for every case of the
//! catalogue.

use std::collections::BTreeMap;

use leasehold::backend::Capabilities;
use serde::Deserialize;

use crate::cases::{CASES, case};
use crate::stores;
use crate::verdict::Verdict;

/// What is expected of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It holds.
    Pass,
    /// A documented violation is shown, for this reason.
    Demonstrated(String),
    /// It makes no sense here, for this reason.
    NotApplicable(String),
}

/// What is expected of every case.
#[derive(Clone, Debug)]
pub struct Expected(BTreeMap<&'static str, Expectation>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Word(String),
    Reasoned(Reasoned),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reasoned {
    verdict: String,
    reason: String,
}

impl Expected {
    /// The backends that have expectations.
    pub fn backends() -> impl Iterator<Item = &'static str> {
        stores::all().map(|store| store.backend)
    }

    /// What this crate expects of a backend.
    ///
    /// # Errors
    /// There is no such backend, or its file is wrong; says where.
    pub fn of(backend: &str) -> Result<Self, String> {
        let store = stores::of(backend);
        let store = store.ok_or_else(|| format!("nothing is expected of {backend:?}"))?;
        Self::parse(backend, store.expected)
    }

    /// The expectations of a store that this crate does not know, by its abilities: everything
    /// holds that can be tested there, and what no store can prevent is demonstrated.
    #[must_use]
    pub fn of_any(capabilities: &Capabilities) -> Self {
        let left_out = |id: &str| match id {
            "EX4" if capabilities.ends_leases() => Some("its own clock counts the lease"),
            "RN5" | "RN6" if capabilities.ends_leases() => Some("a renewal stores nothing"),
            "RN6" if capabilities.forgets => Some("every new version begins the wait anew"),
            _ => None,
        };
        let expectation = |id: &str| match (left_out(id), id) {
            (Some(why), _) => Expectation::NotApplicable(why.to_owned()),
            (None, "FE2" | "FE5" | "CK2" | "SE5") => {
                Expectation::Demonstrated("only the resource can refuse".to_owned())
            }
            (None, _) => Expectation::Pass,
        };
        Self(CASES.iter().map(|case| (case.id, expectation(case.id))).collect())
    }

    /// Reads the lines `CASE = "pass"` and `CASE = { verdict = "…", reason = "…" }`.
    ///
    /// # Errors
    /// A case is missing, unknown, without a reason, or left out although the store may not do so.
    pub fn parse(backend: &str, text: &str) -> Result<Self, String> {
        let wrong = |what: String| format!("expected of {backend}: {what}");
        let lines: BTreeMap<String, Line> =
            toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let leaves_out = stores::of(backend).and_then(|store| store.leaves_out);
        let may_be_left_out = |id| leaves_out.is_none_or(|left_out| left_out.contains(&id));
        let mut expected = BTreeMap::new();
        for (id, line) in lines {
            let case = case(&id).ok_or_else(|| wrong(format!("there is no case {id}")))?;
            let expectation = expectation(line).map_err(|why| wrong(format!("{id}: {why}")))?;
            let left_out = matches!(expectation, Expectation::NotApplicable(_));
            if left_out && !may_be_left_out(case.id) {
                return Err(wrong(format!("{id}: it is not among what {backend} may leave out")));
            }
            expected.insert(case.id, expectation);
        }
        let missing: Vec<&str> =
            CASES.iter().map(|case| case.id).filter(|id| !expected.contains_key(id)).collect();
        if missing.is_empty() {
            Ok(Self(expected))
        } else {
            Err(wrong(format!("no line for {}", missing.join(", "))))
        }
    }

    /// What is expected of that case.
    ///
    /// # Panics
    /// The case is not of the catalogue.
    #[must_use]
    pub fn case(&self, id: &str) -> &Expectation {
        self.0.get(id).expect("there is a line for every case")
    }
}

fn expectation(line: Line) -> Result<Expectation, String> {
    match line {
        Line::Word(word) if word == "pass" => Ok(Expectation::Pass),
        Line::Word(word) => Err(format!("{word:?} is no verdict that needs no reason")),
        Line::Reasoned(line) if line.reason.trim().len() < 10 => {
            Err("the reason says nothing".to_owned())
        }
        Line::Reasoned(line) => match line.verdict.as_str() {
            "demonstrated" => Ok(Expectation::Demonstrated(line.reason)),
            "not applicable" => Ok(Expectation::NotApplicable(line.reason)),
            other => Err(format!("{other:?} cannot be expected")),
        },
    }
}

impl Expectation {
    /// Whether a verdict is the expected one.
    #[must_use]
    pub fn is_met_by(&self, verdict: &Verdict) -> bool {
        matches!(
            (self, verdict),
            (Self::Pass, Verdict::Pass)
                | (Self::Demonstrated(_), Verdict::Demonstrated(_))
                | (Self::NotApplicable(_), Verdict::NotApplicable(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_pass() -> String {
        CASES.iter().map(|case| format!("{} = \"pass\"\n", case.id)).collect()
    }

    #[test]
    fn every_file_names_every_case() {
        for backend in Expected::backends() {
            Expected::of(backend).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_an_error() {
        let parse = |text: &str| Expected::parse("etcd", text).map(drop);
        let left_out = |id: &str| {
            all_pass().replace(
                &format!("\n{id} = \"pass\""),
                &format!(
                    "\n{id} = {{ verdict = \"not applicable\", reason = \"it has none of that\" }}"
                ),
            )
        };
        assert_eq!(parse(&all_pass()), Ok(()));
        assert_eq!(parse(&left_out("UP4")), Ok(()));
        for (text, says) in [
            (all_pass().replace("BA1 = \"pass\"\n", ""), "no line for BA1"),
            (all_pass() + "XX9 = \"pass\"\n", "no case XX9"),
            (all_pass().replace("BA1 = \"pass\"", "BA1 = \"fail\""), "no verdict"),
            (left_out("BA1"), "BA1: it is not among what etcd may leave out"),
            (left_out("UP4").replace("it has none of that", ""), "says nothing"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
