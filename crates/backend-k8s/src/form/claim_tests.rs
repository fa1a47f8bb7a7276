//! Whose a claim is, and what it is counted as.

use leasehold_core::Incarnation;

use super::*;
use crate::name::Place;

const FORMS: [Form; 2] = [Form::Lease, Form::Endpoints];

fn ours(token: Token) -> Record {
    Record {
        holder: Some(Holder {
            identity: "node-a".to_owned(),
            incarnation: Some(Incarnation(7)),
            advertise: Some("10.0.0.1:80".to_owned()),
        }),
        token,
        lease_duration: Duration::from_secs(15),
        nonce: Nonce(9),
        acquired: Wall(1_767_323_045_007),
        renewed: Wall(1_767_323_047_999),
        extra: Map::from_iter([("ask".to_owned(), json!({"step_down": true}))]),
    }
}

fn released(token: Token) -> Record {
    Record {
        holder: None,
        acquired: Wall(1_767_323_050_000),
        renewed: Wall(1_767_323_050_000),
        ..ours(token)
    }
}

/// What the API server stores of a draft.
fn stored(draft: Draft, revision: u64) -> Object {
    let mut value: Value = serde_json::from_slice(&draft.into_bytes()).unwrap();
    value["metadata"]["uid"] = "u".into();
    value["metadata"]["resourceVersion"] = revision.to_string().into();
    Object::new(value).unwrap()
}

fn created(form: Form, record: &Record) -> Object {
    let mut draft = form.draft(&Place::new("n", "l").unwrap());
    put(form, None, &mut draft, record, false).unwrap();
    stored(draft, 10)
}

fn replaced(form: Form, object: &Object, record: &Record, takes: bool) -> Object {
    let mut draft = object.draft();
    put(form, Some(object), &mut draft, record, takes).unwrap();
    stored(draft, object.revision() + 1)
}

/// What client-go does: it writes its claim and keeps the rest.
fn by_client_go(form: Form, object: &Object, holder: &str, takes: bool) -> Object {
    let before = form.claim(object).unwrap();
    let now: Timestamp = "2026-01-02T03:05:00.123456Z".parse().unwrap();
    let claim = Claim {
        holder: holder.to_owned(),
        duration: Some(if holder.is_empty() { 1 } else { 20 }),
        acquired: Some(now),
        renewed: Some(now),
        transitions: Some(before.transitions.unwrap_or(0) + i64::from(takes)),
        source: Vec::new(),
    };
    let mut draft = object.draft();
    form.put(&mut draft, &claim);
    stored(draft, object.revision() + 1)
}

fn read(form: Form, object: &Object) -> Record {
    record(form, object).unwrap()
}

#[test]
fn a_record_survives_whole() {
    for form in FORMS {
        for record in [ours(42), released(42)] {
            let object = created(form, &record);
            assert_eq!(read(form, &object), record, "{form:?}");
        }
    }
}

#[test]
fn client_go_reads_what_it_knows() {
    let object = created(Form::Lease, &ours(42));
    let object = replaced(
        Form::Lease,
        &object,
        &Record { lease_duration: Duration::from_millis(1500), ..ours(43) },
        true,
    );
    let spec = &object.value()["spec"];
    assert_eq!(spec["holderIdentity"], format!("node-a_{}", Incarnation(7)));
    assert_eq!(spec["leaseDurationSeconds"], 2);
    assert_eq!(spec["renewTime"], "2026-01-02T03:04:07.999000Z");
    assert_eq!(spec["leaseTransitions"], 1);
    let object = replaced(Form::Lease, &object, &released(43), false);
    let spec = &object.value()["spec"];
    assert_eq!(spec["holderIdentity"], "");
    assert_eq!(spec["leaseDurationSeconds"], 1);
    assert_eq!(spec["acquireTime"], spec["renewTime"]);
    assert_eq!(spec["leaseTransitions"], 1);
}

#[test]
fn our_annotation_does_not_lend_its_token_to_who_took_over() {
    for form in FORMS {
        let object = by_client_go(form, &created(form, &ours(42)), "go", true);
        let record = read(form, &object);
        let holder = record.holder.as_ref().unwrap();
        assert_eq!((holder.identity.as_str(), holder.incarnation), ("go", None), "{form:?}");
        assert_eq!((record.token, record.lease_duration), (43, Duration::from_secs(20)));
        // Its release is one: the same number.
        let record = read(form, &by_client_go(form, &object, "", false));
        assert_eq!((record.holder, record.token), (None, 43), "{form:?}");
        // Ours after it forgets nothing and begins anew.
        let object = replaced(form, &object, &ours(99), true);
        assert_eq!(read(form, &object), ours(99), "{form:?}");
    }
}

#[test]
fn an_erased_claim_is_no_release() {
    for form in FORMS {
        // client-go releases what it does not hold any more: the claim of its successor, ours.
        let erased = by_client_go(form, &created(form, &ours(42)), "", false);
        let record = read(form, &erased);
        assert_eq!((record.holder, record.token), (None, 0), "{form:?}");
    }
}

#[test]
fn a_foreign_release_counts_for_the_object_that_was_held() {
    let form = Form::Lease;
    let empty = stored(form.draft(&Place::new("n", "l").unwrap()), 1);
    // Somebody made an empty Lease: nobody released it.
    assert_eq!(read(form, &empty).token, 0);
    let mut held = by_client_go(form, &empty, "go", true);
    let first = read(form, &held).token;
    for _ in 0..3 {
        let freed = by_client_go(form, &held, "", false);
        assert_eq!(read(form, &freed).token, read(form, &held).token);
        let next = by_client_go(form, &freed, "go", true);
        assert!(read(form, &next).token > read(form, &freed).token);
        held = next;
    }
    // Made anew and released, it carries less than what was held on the old one.
    let anew = by_client_go(form, &by_client_go(form, &empty, "other", false), "", false);
    assert!(read(form, &anew).token < read(form, &held).token);
    assert!(first > 0);
}

#[test]
fn a_foreign_sign_of_life_is_a_changed_claim_and_nothing_else() {
    for form in FORMS {
        let object = by_client_go(form, &created(form, &ours(42)), "go", true);
        let mut draft = object.draft();
        draft.set_annotation("somebody/else", "1".to_owned());
        let labelled = stored(draft, object.revision() + 1);
        assert_eq!(read(form, &labelled).nonce, read(form, &object).nonce, "{form:?}");
        let other = by_client_go(form, &object, "go2", true);
        assert_ne!(read(form, &other).nonce, read(form, &object).nonce, "{form:?}");
    }
}

#[test]
fn a_lease_made_longer_by_hand_is_honoured_and_never_made_shorter() {
    let object = created(Form::Lease, &ours(42));
    for (seconds, expected) in [(60, 60), (1, 15)] {
        let mut draft = object.draft();
        draft.spec().insert("leaseDurationSeconds".to_owned(), seconds.into());
        let record = read(Form::Lease, &stored(draft, 11));
        assert_eq!(record.lease_duration, Duration::from_secs(expected));
        assert_eq!(record.nonce, ours(42).nonce);
    }
}

#[test]
fn what_cannot_be_understood_is_said_and_not_guessed() {
    let object = created(Form::Lease, &ours(42));
    let good = object.annotation(ANNOTATION).unwrap().to_owned();
    let annotated = |text: &str| {
        let mut draft = object.draft();
        draft.set_annotation(ANNOTATION, text.to_owned());
        stored(draft, 11)
    };
    let claimed = |field: &str, value: Value| {
        let mut draft = Form::Lease.draft(&Place::new("n", "l").unwrap());
        draft.spec().insert("holderIdentity".to_owned(), "go".into());
        draft.spec().insert(field.to_owned(), value);
        stored(draft, 11)
    };
    for (object, says) in [
        (annotated(""), "not the JSON"),
        (annotated("[1]"), "no record"),
        (annotated(&good.replace("\"v\":1", "\"v\":2")), "version 2"),
        (annotated(&good.replace("\"token\":42", "\"token\":-1")), "not a record"),
        (annotated(&good.replace("transitions", "t")), "no transitions"),
        (claimed("leaseDurationSeconds", 1.5.into()), "not a whole number"),
        (claimed("holderIdentity", json!([1])), "not a text"),
    ] {
        let Contents::Unreadable(why) = contents(Form::Lease, &object) else {
            panic!("{says}: it is read");
        };
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn what_client_go_cannot_be_told_is_refused() {
    let nameless = Holder { identity: String::new(), incarnation: None, advertise: None };
    let forever = Duration::from_secs(u64::from(u32::MAX));
    for record in [
        Record { holder: Some(nameless), ..ours(1) },
        Record { lease_duration: forever, ..ours(1) },
        Record { renewed: Wall(u64::MAX), ..ours(1) },
    ] {
        let mut draft = Form::Lease.draft(&Place::new("n", "l").unwrap());
        assert!(put(Form::Lease, None, &mut draft, &record, false).is_err(), "{record:?}");
    }
}

#[test]
fn a_claim_that_does_not_say_how_long_is_waited_out() {
    for duration in [Value::Null, 0.into(), (-5).into(), json!(-1e300)] {
        let mut draft = Form::Lease.draft(&Place::new("n", "l").unwrap());
        draft.spec().insert("holderIdentity".to_owned(), "go".into());
        draft.spec().insert("leaseDurationSeconds".to_owned(), duration);
        let record = read(Form::Lease, &stored(draft, 11));
        assert_eq!(record.lease_duration, Duration::from_secs(15));
        assert!(record.holder.is_some());
    }
}

#[test]
fn the_last_number_of_transitions_blocks_nobody() {
    let most: i64 = i32::MAX.into();
    for form in FORMS {
        for transitions in [most, most - 1, most + 1, i64::MAX, -1, i64::MIN] {
            let mut draft = form.draft(&Place::new("n", "l").unwrap());
            let claim = Claim {
                holder: "go".to_owned(),
                duration: Some(15),
                acquired: None,
                renewed: Some("2026-01-02T03:05:00Z".parse().unwrap()),
                transitions: Some(transitions),
                source: Vec::new(),
            };
            form.put(&mut draft, &claim);
            let held = stored(draft, 10);
            let before = read(form, &held).token;
            assert!(before < MAX_TOKEN, "{transitions}");
            // Ours takes, client-go takes from ours, and ours again: each can be told, and each
            // counts.
            let taken = replaced(form, &held, &ours(before + 1), true);
            assert_eq!(read(form, &taken), ours(before + 1), "{transitions}");
            let renewed = replaced(form, &taken, &ours(before + 1), false);
            assert_eq!(read(form, &renewed), ours(before + 1), "{transitions}");
            let theirs = by_client_go(form, &renewed, "go2", true);
            let claim = form.claim(&theirs).unwrap();
            assert!((0..=most).contains(&claim.transitions.unwrap()), "{transitions}");
            assert!(read(form, &theirs).token > before + 1, "{transitions}");
            let freed = by_client_go(form, &theirs, "", false);
            assert_eq!(read(form, &freed).token, read(form, &theirs).token);
            // Erased, not released.
            assert_eq!(read(form, &by_client_go(form, &taken, "", false)).token, 0);
        }
    }
}

#[test]
fn a_time_that_cannot_be_told_blocks_nobody() {
    for time in ["9999-12-31T23:59:59.999999Z", "9999-01-01T00:00:00.000000Z", "soon"] {
        for form in FORMS {
            let object = created(form, &ours(42));
            let mut draft = object.draft();
            let claim = json!({
                "holderIdentity": "go", "leaseDurationSeconds": 15, "acquireTime": time,
                "renewTime": time, "leaseTransitions": 3, "leaderTransitions": 3,
            });
            match form {
                Form::Lease => *draft.spec() = claim.as_object().unwrap().clone(),
                Form::Endpoints => draft
                    .set_annotation("control-plane.alpha.kubernetes.io/leader", claim.to_string()),
            }
            let object = stored(draft, 11);
            let record = read(form, &object);
            assert_eq!(record.holder.as_ref().unwrap().identity, "go");
            let taken = replaced(form, &object, &ours(record.token + 1), true);
            assert_eq!(read(form, &taken), ours(record.token + 1));
        }
    }
}

#[test]
fn who_does_not_say_since_when_holds_it_since_it_was_made() {
    let mut value = json!({
        "metadata": {"uid": "u", "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"holderIdentity": "node", "leaseDurationSeconds": 40,
        "renewTime": "2026-01-02T03:04:07.123456Z"},
    });
    let record = read(Form::Lease, &Object::new(value.clone()).unwrap());
    assert_eq!(record.since(), Some(Wall(1_767_225_600_000)));
    assert_eq!(record.renewed, Wall(1_767_323_047_123));
    value["metadata"]["creationTimestamp"] = "x".into();
    assert_eq!(read(Form::Lease, &Object::new(value).unwrap()).since(), None);
}

#[test]
fn an_annotation_that_no_claim_repeats_is_of_nobody() {
    let object = created(Form::Lease, &ours(42));
    let text = object.annotation(ANNOTATION).unwrap();
    let far = text.replace("1767323045007", "4611686018427387904");
    assert_ne!(far, text);
    let mut draft = object.draft();
    draft.set_annotation(ANNOTATION, far);
    let record = read(Form::Lease, &stored(draft, 11));
    assert_eq!(record.holder.unwrap().incarnation, None, "it is not ours");
}

/// Any JSON, and more often what stands in a claim.
fn value() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        (2_147_483_645_i64..2_147_483_650).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,9})?\
         (Z|[+-][0-9]{2}:[0-9]{2})"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map(".{0,8}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

fn claims() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    const FIELDS: [&str; 8] = [
        "holderIdentity",
        "leaseDurationSeconds",
        "acquireTime",
        "renewTime",
        "leaseTransitions",
        "leaderTransitions",
        "strategy",
        "preferredHolder",
    ];
    prop::collection::hash_map(prop::sample::select(&FIELDS[..]), value(), 0..8)
        .prop_map(|map| json!(map))
}

proptest::proptest! {
    #[test]
    fn no_annotation_of_ours_makes_it_panic(text: String) {
        let mut draft = created(Form::Lease, &ours(1)).draft();
        draft.set_annotation(ANNOTATION, text);
        let _ = contents(Form::Lease, &stored(draft, 11));
    }

    /// What is there is never absent, and what can be read can be taken, in numbers that Kubernetes
    /// can hold.
    #[test]
    fn no_object_makes_it_panic_or_absent(
        claim in claims(), rest in value(), is_ours: bool, labels in value()
    ) {
        for form in FORMS {
            let object = created(form, &ours(7));
            let mut draft = object.draft();
            if !is_ours {
                draft.set_annotation(ANNOTATION, rest.to_string());
            }
            match form {
                Form::Lease => *draft.spec() = claim.as_object().unwrap().clone(),
                Form::Endpoints => draft.set_annotation(
                    "control-plane.alpha.kubernetes.io/leader",
                    claim.to_string(),
                ),
            }
            let mut value: Value = serde_json::from_slice(&draft.into_bytes()).unwrap();
            value["metadata"]["uid"] = "u".into();
            value["metadata"]["resourceVersion"] = "11".into();
            value["metadata"]["labels"] = labels.clone();
            value["subsets"] = rest.clone();
            let object = Object::new(value).unwrap();
            let contents = contents(form, &object);
            proptest::prop_assert_ne!(&contents, &Contents::Absent);
            let _ = form.is_closed(&object);
            if let Contents::Record(record) = contents {
                proptest::prop_assert!(record.token < MAX_TOKEN);
                let token = record.token + 1;
                let taken = replaced(form, &object, &ours(token), true);
                proptest::prop_assert_eq!(read(form, &taken).token, token);
                let transitions = form.claim(&taken).unwrap().transitions.unwrap();
                proptest::prop_assert!((0..=i64::from(i32::MAX)).contains(&transitions));
            }
        }
    }
}
