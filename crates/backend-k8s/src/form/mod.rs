//! The two objects that an election is kept in, and how each spells a claim.

use jiff::Timestamp;
use leasehold_core::printable;
use serde_json::{Map, Value};

use crate::name::Place;
use crate::object::{Draft, Object};
use crate::redact::of_json;
use crate::times::Precision;

pub(crate) mod claim;

use claim::Claim;

/// Where client-go kept elections until 0.23.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// What the endpoints controller leaves on what is its own.
const CONTROLLERS: (&str, &str) =
    ("endpoints.kubernetes.io/managed-by", "endpoints.kubernetes.io/last-change-trigger-time");

/// The cure where the API server chooses the holder of a Lease.
pub(crate) const CLOSED: &str = "use a Lease of another name";

/// What kind of object a lock is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `coordination.k8s.io/v1` Lease.
    Lease,
    /// The annotation `control-plane.alpha.kubernetes.io/leader` of a `v1` Endpoints object.
    Endpoints,
}

/// How the fields of a claim are called.
struct Fields {
    duration: &'static str,
    transitions: &'static str,
}

const HOLDER: &str = "holderIdentity";
const ACQUIRED: &str = "acquireTime";
const RENEWED: &str = "renewTime";

impl Form {
    /// As URLs and people name it.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Lease => "k8s",
            Self::Endpoints => "k8s+endpoints",
        }
    }

    /// As the API server names one.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Lease => "Lease",
            Self::Endpoints => "Endpoints",
        }
    }

    /// As Roles name it: the API group and the resource.
    pub(crate) fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Lease => ("coordination.k8s.io", "leases"),
            Self::Endpoints => ("", "endpoints"),
        }
    }

    /// Where the API server keeps the objects of a namespace.
    pub(crate) fn path(self, namespace: &str) -> String {
        match self {
            Self::Lease => format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            Self::Endpoints => format!("/api/v1/namespaces/{namespace}/endpoints"),
        }
    }

    pub(crate) fn draft(self, place: &Place) -> Draft {
        match self {
            Self::Lease => Draft::new("coordination.k8s.io/v1", "Lease", place),
            Self::Endpoints => Draft::new("v1", "Endpoints", place),
        }
    }

    /// Whether a PUT that names no `resourceVersion` creates, and never overwrites. For Endpoints
    /// it does overwrite.
    pub(crate) fn creates_by_put(self) -> bool {
        self == Self::Lease
    }

    /// Whether an election is held on this object. Endpoints are mostly something else.
    pub(crate) fn holds_election(self, object: &Value) -> bool {
        self == Self::Lease || object["metadata"]["annotations"][LEADER].is_string()
    }

    pub(crate) fn precision(self) -> Precision {
        match self {
            Self::Lease => Precision::Micros,
            Self::Endpoints => Precision::Seconds,
        }
    }

    fn fields(self) -> Fields {
        match self {
            Self::Lease => {
                Fields { duration: "leaseDurationSeconds", transitions: "leaseTransitions" }
            }
            Self::Endpoints => {
                Fields { duration: "leaseDurationSeconds", transitions: "leaderTransitions" }
            }
        }
    }

    /// What an object claims.
    ///
    /// # Errors
    /// A sentence that says why no election may be held on this object.
    pub(crate) fn claim(self, object: &Object) -> Result<Claim, String> {
        match self {
            Self::Lease => self.parse(object.value()["spec"].clone()),
            Self::Endpoints => {
                belongs_to_nobody(object)?;
                let text = object.annotation(LEADER).unwrap_or_default();
                if text.is_empty() {
                    return self.parse(Value::Null);
                }
                let value = serde_json::from_str(text)
                    .map_err(|error| format!("the annotation {LEADER} is {}", of_json(&error)))?;
                self.parse(value)
            }
        }
    }

    /// Why nobody may contend for this object, although what it claims can be shown.
    pub(crate) fn is_closed(self, object: &Object) -> Option<String> {
        let spec = &object.value()["spec"];
        let is_set = |name: &&str| spec[*name].as_str().is_some_and(|text| !text.is_empty());
        let field = ["strategy", "preferredHolder"].into_iter().find(is_set)?;
        (self == Self::Lease).then(|| {
            format!("this Lease is coordinated (spec.{field}): the API server chooses its holder")
        })
    }

    fn parse(self, value: Value) -> Result<Claim, String> {
        let source = serde_json::to_vec(&value).expect("a JSON value has only string keys");
        let fields = match value {
            Value::Null => Map::new(),
            Value::Object(fields) => fields,
            other => return Err(format!("a claim is an object, not {}", shown(&other))),
        };
        let names = self.fields();
        Ok(Claim {
            holder: text(&fields, HOLDER)?.unwrap_or_default(),
            duration: number(&fields, names.duration)?,
            acquired: time(&fields, ACQUIRED),
            renewed: time(&fields, RENEWED),
            transitions: number(&fields, names.transitions)?,
            source,
        })
    }

    /// Writes a claim over what is there.
    pub(crate) fn put(self, draft: &mut Draft, claim: &Claim) {
        let names = self.fields();
        let time = |time: Option<Timestamp>| match time {
            Some(time) => self.precision().format(time).into(),
            None => Value::Null,
        };
        let number = |number: Option<i64>| number.map_or(Value::Null, Value::from);
        let fields = [
            (HOLDER, Value::from(claim.holder.as_str())),
            (names.duration, number(claim.duration)),
            (ACQUIRED, time(claim.acquired)),
            (RENEWED, time(claim.renewed)),
            (names.transitions, number(claim.transitions)),
        ];
        match self {
            Self::Lease => {
                let spec = draft.spec();
                for (name, value) in fields {
                    spec.insert(name.to_owned(), value);
                }
            }
            Self::Endpoints => {
                // In the order of client-go's struct, whose text older clients compare.
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                draft.set_annotation(LEADER, format!("{{{}}}", fields.join(",")));
            }
        }
    }
}

/// Refuses what the endpoints controller, or somebody by hand, fills for a Service.
fn belongs_to_nobody(object: &Object) -> Result<(), String> {
    let (label, annotation) = CONTROLLERS;
    let managed = object.value()["metadata"]["labels"][label].is_string()
        || object.annotation(annotation).is_some();
    let filled = object.value()["subsets"].as_array().is_some_and(|subsets| !subsets.is_empty());
    if managed || filled {
        return Err(
            "these Endpoints belong to a Service, whose controller writes them: use a name that no \
             Service has"
                .to_owned(),
        );
    }
    Ok(())
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{name} is not a text: {}", shown(other))),
    }
}

/// As Kubernetes has it: what is beyond 32 bits is the nearest number that is not.
fn number(fields: &Map<String, Value>, name: &str) -> Result<Option<i64>, String> {
    let number = match fields.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(other) => return Err(format!("{name} is not a number: {}", shown(other))),
    };
    let whole = number.as_i64().or_else(|| {
        // Beyond 64 bits, too.
        let number = number.as_f64().filter(|number| number.fract() == 0.0)?;
        Some(if number < 0.0 { i64::MIN } else { i64::MAX })
    });
    let whole = whole.ok_or_else(|| format!("{name} is not a whole number: {number}"))?;
    Ok(Some(whole.clamp(i32::MIN.into(), i32::MAX.into())))
}

/// A time is for people: one that cannot be understood is not shown, and decides nothing.
fn time(fields: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    fields.get(name)?.as_str()?.parse().ok()
}

fn shown(value: &Value) -> String {
    printable(&value.to_string()).at_most(60).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(rest: Value) -> Object {
        let mut value = json!({"metadata": {"uid": "u", "resourceVersion": "9"}});
        for (name, field) in rest.as_object().unwrap() {
            match (name.as_str(), field) {
                ("metadata", Value::Object(more)) => {
                    value["metadata"].as_object_mut().unwrap().extend(more.clone());
                }
                _ => value[name] = field.clone(),
            }
        }
        Object::new(value).unwrap()
    }

    fn annotated(text: &str) -> Object {
        object(json!({"metadata": {"annotations": {LEADER: text}}}))
    }

    #[test]
    fn a_lease_is_read_as_client_go_writes_it() {
        let lease = object(json!({"spec": {
            "holderIdentity": "", "leaseDurationSeconds": 1,
            "acquireTime": "2026-11-21T05:22:10.007241Z",
            "renewTime": "2026-11-21T05:22:10.007241Z",
            "leaseTransitions": 0,
        }}));
        let claim = Form::Lease.claim(&lease).unwrap();
        let released: Timestamp = "2026-11-21T05:22:10.007241Z".parse().unwrap();
        assert_eq!((claim.holder.as_str(), claim.duration), ("", Some(1)));
        assert_eq!((claim.acquired, claim.renewed), (Some(released), Some(released)));
        assert_eq!(claim.transitions, Some(0));
        // Written again, it is the same.
        let mut draft = lease.draft();
        Form::Lease.put(&mut draft, &claim);
        assert_eq!(draft, lease.draft());
    }

    #[test]
    fn an_annotation_is_written_as_client_go_writes_it() {
        const WRITTEN: &str = "{\"holderIdentity\":\"a\",\"leaseDurationSeconds\":15,\
            \"acquireTime\":\"2026-01-02T03:04:05Z\",\
            \"renewTime\":\"2026-01-02T03:04:07Z\",\"leaderTransitions\":0}";
        let endpoints = annotated(WRITTEN);
        let claim = Form::Endpoints.claim(&endpoints).unwrap();
        let mut draft = endpoints.draft();
        Form::Endpoints.put(&mut draft, &claim);
        assert_eq!(draft, endpoints.draft());
        // What later versions add does not matter.
        let later =
            annotated(&WRITTEN.replace('}', ",\"strategy\":\"\",\"preferredHolder\":\"\"}"));
        let later = Form::Endpoints.claim(&later).unwrap();
        assert_eq!((later.holder.as_str(), later.transitions), ("a", Some(0)));
    }

    #[test]
    fn what_is_missing_or_null_is_nothing() {
        for empty in [
            Form::Lease.claim(&object(json!({}))),
            Form::Lease.claim(&object(json!({"spec": {}}))),
            Form::Lease
                .claim(&object(json!({"spec": {"renewTime": null, "holderIdentity": null}}))),
            Form::Endpoints.claim(&object(json!({}))),
            Form::Endpoints.claim(&annotated("")),
            Form::Endpoints.claim(&annotated("{\"acquireTime\":null}")),
        ] {
            let claim = empty.unwrap();
            assert_eq!((claim.holder.as_str(), claim.duration, claim.renewed), ("", None, None));
        }
    }

    #[test]
    fn objects_on_which_no_election_may_be_held_say_so() {
        let spec = |spec: Value| object(json!({ "spec": spec }));
        for (form, object, says) in [
            (Form::Lease, spec(json!({"holderIdentity": 7})), "not a text"),
            (Form::Lease, spec(json!({"leaseDurationSeconds": 1.5})), "not a whole number"),
            (Form::Lease, spec(json!({"leaseTransitions": "2"})), "not a number"),
            (Form::Lease, spec(json!([1])), "is an object"),
            (Form::Endpoints, annotated("nonsense"), "not the JSON"),
            (
                Form::Endpoints,
                object(json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]})),
                "belong to a Service",
            ),
            (
                Form::Endpoints,
                object(json!({"metadata": {"labels": {CONTROLLERS.0: "endpoint-controller"}}})),
                "belong to a Service",
            ),
        ] {
            let error = form.claim(&object).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_coordinated_lease_is_shown_and_closed() {
        for (field, value) in [("strategy", "OldestEmulationVersion"), ("preferredHolder", "b")] {
            let object = object(json!({"spec": {"holderIdentity": "a", field: value}}));
            assert_eq!(Form::Lease.claim(&object).unwrap().holder, "a");
            let why = Form::Lease.is_closed(&object).unwrap();
            assert!(why.contains("coordinated"), "{why}");
            assert_eq!(Form::Endpoints.is_closed(&object), None);
        }
        let open = object(json!({"spec": {"holderIdentity": "a", "strategy": null}}));
        assert_eq!(Form::Lease.is_closed(&open), None);
    }

    #[test]
    fn a_time_that_is_none_decides_nothing() {
        for time in ["yesterday", "9999-12-31T23:59:59Z", "", "2026-13-01T00:00:00Z"] {
            let times = json!({"holderIdentity": "a", "acquireTime": time, "renewTime": time});
            for claim in [
                Form::Lease.claim(&object(json!({ "spec": times }))).unwrap(),
                Form::Endpoints.claim(&annotated(&times.to_string())).unwrap(),
            ] {
                assert_eq!(
                    (claim.holder.as_str(), claim.acquired, claim.renewed),
                    ("a", None, None)
                );
            }
        }
    }

    #[test]
    fn a_number_is_one_that_kubernetes_can_hold() {
        for (text, expected) in [
            ("2147483647", 2_147_483_647),
            ("2147483648", 2_147_483_647),
            ("9223372036854775808", 2_147_483_647),
            ("1e300", 2_147_483_647),
            ("-1", -1),
            ("-9223372036854775808", -2_147_483_648),
        ] {
            let text = format!("{{\"leaderTransitions\":{text},\"leaseDurationSeconds\":{text}}}");
            let claim = Form::Endpoints.claim(&annotated(&text)).unwrap();
            assert_eq!((claim.transitions, claim.duration), (Some(expected), Some(expected)));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_annotation_makes_it_panic(text: String) {
            let _ = Form::Endpoints.claim(&annotated(&text));
        }
    }
}
