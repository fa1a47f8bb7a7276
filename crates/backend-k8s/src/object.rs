//! An object of the API server, whole: what others keep in it goes back with every write.

use std::sync::Arc;

use leasehold_core::{Version, printable};
use serde_json::{Map, Value, json};

use crate::name::Place;

/// One state of the object that a lock is kept in. A [`Version`] carries it, so that a write needs
/// no read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    value: Arc<Value>,
    revision: u64,
}

impl Object {
    /// What the API server gave.
    ///
    /// # Errors
    /// A sentence that says what it lacks.
    pub(crate) fn new(value: Value) -> Result<Self, String> {
        let text = |name| value["metadata"][name].as_str().unwrap_or_default();
        if text("uid").is_empty() {
            return Err("the object has no metadata.uid".to_owned());
        }
        let revision = Self::revision_of(&value).ok_or_else(|| {
            let revision = printable(text("resourceVersion"));
            format!(
                "metadata.resourceVersion \"{revision}\" is not a number below 2^64: this API \
                server cannot give fencing tokens"
            )
        })?;
        Ok(Self { value: Arc::new(value), revision })
    }

    /// The `resourceVersion`, if it is a number.
    pub(crate) fn revision_of(value: &Value) -> Option<u64> {
        value["metadata"]["resourceVersion"].as_str()?.parse().ok()
    }

    /// The `resourceVersion`: grows with every change of any object of the kind, also across
    /// deletions.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The version that names exactly this state, with the state aboard.
    pub(crate) fn version(&self) -> Version {
        Version::number(self.revision).with_cargo(self.clone())
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.value["metadata"]["annotations"][name].as_str()
    }

    /// What a write begins with: this state, with its `resourceVersion` and `uid`.
    pub(crate) fn draft(&self) -> Draft {
        Draft(Value::clone(&self.value))
    }
}

/// An object on its way to the API server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft(Value);

impl Draft {
    /// An object that is not there yet.
    pub(crate) fn new(api_version: &str, kind: &str, place: &Place) -> Self {
        Self(json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": { "namespace": place.namespace, "name": place.name },
        }))
    }

    pub(crate) fn set_annotation(&mut self, name: &str, text: String) {
        let annotations = map(&mut map(&mut self.0)["metadata"])
            .entry("annotations")
            .or_insert_with(|| json!({}));
        map(annotations).insert(name.to_owned(), text.into());
    }

    /// The fields of the spec; those that are not set here are kept.
    pub(crate) fn spec(&mut self) -> &mut Map<String, Value> {
        map(map(&mut self.0).entry("spec").or_insert_with(|| json!({})))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("a JSON value has only string keys")
    }
}

/// What the API server calls an object is one, or absent.
fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("made one just now")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_without_what_a_write_names_is_refused() {
        for (metadata, says) in [
            (json!({"resourceVersion": "1"}), "uid"),
            (json!({"uid": "u"}), "resourceVersion"),
            (json!({"uid": "u", "resourceVersion": "x"}), "\"x\""),
            (json!({"uid": "u", "resourceVersion": "18446744073709551616"}), "2^64"),
        ] {
            let error = Object::new(json!({ "metadata": metadata })).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_draft_keeps_what_others_wrote() {
        let theirs = json!({
            "metadata": {"uid": "u", "resourceVersion": "7", "annotations": {"a": "b"},
            "labels": {"l": "m"}},
            "spec": {"holderIdentity": "x", "new": [1]},
        });
        let object = Object::new(theirs.clone()).unwrap();
        let mut draft = object.draft();
        draft.spec().insert("holderIdentity".to_owned(), "y".into());
        draft.set_annotation("c", "d".to_owned());
        let mut expected = theirs;
        expected["spec"]["holderIdentity"] = "y".into();
        expected["metadata"]["annotations"]["c"] = "d".into();
        assert_eq!(draft, Draft(expected));
        assert_eq!(object.version().as_number(), Some(7));
    }
}
