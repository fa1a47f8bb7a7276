//! What the API server says in a `Status`, read without trusting a word of it.

use std::time::Duration;

use leasehold_core::printable;
use serde_json::Value;

/// The longest message that is kept, in characters.
const LONGEST: usize = 1_000;

/// A `Status` of the API server: a body of another kind is somebody else's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: u16,
    pub(crate) reason: String,
    /// One line, escaped and cut.
    pub(crate) message: String,
    /// The kind of resource that it is about, such as `leases`, and its name.
    pub(crate) about: (String, String),
    /// How long to wait, as the server or its header says.
    pub(crate) retry_after: Option<Duration>,
    /// That the namespace is being deleted.
    pub(crate) is_terminating: bool,
}

impl Said {
    /// `None`: it is not a `Status`.
    pub(crate) fn of(value: &Value, code: u16) -> Option<Self> {
        let word = |value: &Value| printable(value.as_str().unwrap_or_default()).to_string();
        if value["kind"] != "Status" || value["apiVersion"] != "v1" {
            return None;
        }
        let details = &value["details"];
        let causes = details["causes"].as_array().into_iter().flatten();
        let is_terminating =
            causes.into_iter().any(|cause| cause["reason"] == "NamespaceTerminating");
        let message = value["message"].as_str().unwrap_or_default();
        Some(Self {
            code,
            reason: word(&value["reason"]),
            message: printable(message).at_most(LONGEST).to_string(),
            about: (word(&details["kind"]), word(&details["name"])),
            retry_after: seconds(&details["retryAfterSeconds"]),
            is_terminating,
        })
    }

    /// The same of an event of a watch, where only the `Status` names the code.
    pub(crate) fn of_event(value: &Value) -> Option<Self> {
        Self::of(value, u16::try_from(value["code"].as_u64().unwrap_or(0)).unwrap_or(0))
    }

    /// The message, or the reason where there is none.
    pub(crate) fn text(&self) -> &str {
        if self.message.is_empty() { &self.reason } else { &self.message }
    }
}

/// A positive number of seconds; more than a `u32` holds is that many.
pub(crate) fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) if number.is_u64() => number.as_u64(),
        // Above 2^64, or with a fraction.
        Value::Number(number) if number.as_f64().is_some_and(|it| it >= 1.0) => Some(u64::MAX),
        _ => None,
    }?;
    let seconds = seconds.min(u32::MAX.into());
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(rest: Value) -> Value {
        let mut value = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure"});
        value.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        value
    }

    #[test]
    fn only_a_status_is_one() {
        for other in [
            json!({}),
            json!(null),
            json!([1]),
            json!("Status"),
            json!({"message": "no", "code": 403}),
            json!({"kind": "Status"}),
            json!({"kind": "Lease", "apiVersion": "v1"}),
        ] {
            assert_eq!(Said::of(&other, 403), None, "{other}");
        }
        let odd = status(json!({"message": 7, "reason": [], "details": "x", "code": "y"}));
        assert_eq!(Said::of_event(&odd), Some(Said::default()));
    }

    #[test]
    fn what_it_says_is_one_bounded_line() {
        let message = format!("no\u{1b}[2J\nINFO leading{}", "x".repeat(1 << 20));
        let said = Said::of(&status(json!({ "message": message })), 500).unwrap();
        assert!(!said.message.contains(['\n', '\u{1b}']) && said.message.len() < 2_000);
    }

    #[test]
    fn no_number_of_seconds_is_too_large() {
        let most = Some(Duration::from_secs(u32::MAX.into()));
        for (number, expected) in [
            (json!(3), Some(Duration::from_secs(3))),
            (json!(99_999_999_999_u64), most),
            (json!(u64::MAX), most),
            (json!(1e300), most),
            (json!(0), None),
            (json!(-5), None),
            (json!("3600"), None),
            (json!(null), None),
        ] {
            assert_eq!(seconds(&number), expected, "{number}");
        }
    }
}
