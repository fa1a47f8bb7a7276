//! Which cause has which consequence.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// A `Status` as the API server writes it.
fn said(code: u16, reason: &str, message: &str, details: Value) -> Failure {
    let value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code,
    });
    Failure::of_said(&Said::of(&value, code).unwrap())
}

#[test]
fn what_the_api_server_says_decides_what_the_caller_does() {
    use ErrorKind::{Denied, Invalid, Throttled, Unavailable};
    const UPDATE: &str = "Lease.coordination.k8s.io \"x\" is invalid: metadata.resourceVersion: \
        Invalid value: 0: must be specified for an update";
    const RBAC: &str = "leases.coordination.k8s.io \"x\" is forbidden: User \"u\" cannot get \
        resource \"leases\" in API group \"coordination.k8s.io\" in the namespace \"ns\"";
    let lease = || json!({"name": "x", "group": "coordination.k8s.io", "kind": "leases"});
    for (code, reason, text, details, kind, follows) in [
        (401, "Unauthorized", "Unauthorized", json!({}), Denied, Reason::WrongLogin),
        (403, "Forbidden", RBAC, lease(), Denied, Reason::Forbidden),
        (404, "NotFound", "leases \"x\" not found", lease(), Invalid, Reason::NotFound),
        (
            404,
            "NotFound",
            "namespaces \"ns\" not found",
            json!({"name": "ns", "kind": "namespaces"}),
            Invalid,
            Reason::NoNamespace,
        ),
        (
            404,
            "NotFound",
            "the server could not find the requested resource",
            json!({}),
            Unavailable,
            Reason::NoSuchMethod,
        ),
        (405, "MethodNotAllowed", "no", json!({}), Invalid, Reason::NoSuchMethod),
        (409, "Conflict", "has been modified", lease(), Unavailable, Reason::Conflict),
        (409, "AlreadyExists", "it exists", lease(), Unavailable, Reason::Conflict),
        (
            409,
            "Conflict",
            "Operation cannot be fulfilled on resourcequotas \"q\"",
            json!({"name": "q", "kind": "resourcequotas"}),
            Unavailable,
            Reason::Other,
        ),
        (410, "Expired", "too old resource version", json!({}), Unavailable, Reason::TooOld),
        (422, "Invalid", UPDATE, lease(), Unavailable, Reason::Conflict),
        (422, "Invalid", "must be greater than 0", lease(), Invalid, Reason::Other),
        (
            429,
            "TooManyRequests",
            "later",
            json!({}),
            Throttled { retry_after: None },
            Reason::Other,
        ),
        (
            500,
            "InternalError",
            "etcdserver: request timed out",
            json!({}),
            Unavailable,
            Reason::Other,
        ),
        (
            500,
            "InternalError",
            "Internal error occurred: failed calling webhook \"w\": context deadline exceeded",
            json!({}),
            Unavailable,
            Reason::Other,
        ),
        (503, "ServiceUnavailable", "shutting down", json!({}), Unavailable, Reason::Other),
    ] {
        let failure = said(code, reason, text, details);
        assert_eq!((failure.kind(), failure.reason), (kind, follows), "{code} {text}");
        assert!(failure.during("read").to_string().contains(text));
    }
}

#[test]
fn a_policy_is_a_refusal_with_whatever_code() {
    for code in [400, 403, 409, 413, 418, 422, 429, 500, 503] {
        for text in [
            "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            "admission webhook \"w\" denied the request: no",
            "admission webhook \"w\" denied the request without explanation",
        ] {
            let failure = said(code, "Invalid", text, json!({}));
            assert_eq!((failure.kind(), failure.reason), (ErrorKind::Denied, Reason::Refused));
            let text = failure.during("renew the lock").to_string();
            assert!(text.contains("an admission policy or webhook"), "{text}");
            assert!(!text.contains("Role"), "{text}");
        }
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    const TERMINATING: &str = "leases.coordination.k8s.io \"x\" is forbidden: unable to create new \
        content in namespace ns because it is being terminated";
    const QUOTA: &str = "leases.coordination.k8s.io \"x\" is forbidden: exceeded quota: q, \
        requested: count/leases=1, used: count/leases=3, limited: count/leases=3";
    const LIMIT: &str =
        "leases.coordination.k8s.io \"x\" is forbidden: cannot set blockOwnerDeletion in this case";
    let cause = json!({"causes": [{"reason": "NamespaceTerminating"}]});
    for (code, message, details, says) in [
        (401, "no", json!({}), "credentials"),
        (403, "User \"u\" cannot get resource \"leases\"", json!({}), "get, create, update and"),
        (403, "User \"system:anonymous\" cannot get resource", json!({}), "without credentials"),
        (403, TERMINATING, json!({}), "the namespace is being deleted"),
        (403, "no", cause, "the namespace is being deleted"),
        (403, QUOTA, json!({}), "a ResourceQuota"),
        (403, LIMIT, json!({}), "an admission plugin"),
        (404, "no", json!({"kind": "namespaces", "name": "ns"}), "kubectl create namespace"),
    ] {
        let reason = if code == 404 { "NotFound" } else { "Forbidden" };
        let text = said(code, reason, message, details).during("read the lock").to_string();
        assert!(text.contains(says), "{text}");
        assert_eq!(text.contains("Role must allow"), says.starts_with("get, create"), "{text}");
    }
}

#[test]
fn what_is_not_the_api_servers_is_no_refusal() {
    for code in [200, 301, 400, 401, 403, 404, 405, 407, 413, 415, 422, 500, 502] {
        let failure = Failure::of_stranger(code, "HTTP 403 Forbidden, text/html");
        assert_eq!(failure.kind(), ErrorKind::Unavailable, "{code}");
        assert_eq!(failure.reason == Reason::WrongLogin, code == 401, "others are fetched");
        assert!(failure.during("read").to_string().contains("is not the API server"));
    }
    let plain = "Client sent an HTTP request to an HTTPS server.";
    let text = Failure::of_stranger(400, plain).during("read").to_string();
    assert!(text.contains("should begin with https:"), "{text}");
}

#[test]
fn the_server_is_asked_as_late_as_it_says() {
    for (seconds, expected) in [
        (json!(3), Some(Duration::from_secs(3))),
        (json!(99_999_999_999_u64), Some(Duration::from_secs(u32::MAX.into()))),
        (json!("x"), None),
    ] {
        let details = json!({ "retryAfterSeconds": seconds });
        let failure = said(429, "TooManyRequests", "later", details);
        assert_eq!(failure.kind(), ErrorKind::Throttled { retry_after: expected });
    }
}

#[test]
fn what_the_api_server_says_comes_through_whole() {
    const TEXT: &str = "admission webhook \"w\" denied the request: no; ask the owner; then wait";
    let error = said(403, "Forbidden", TEXT, json!({})).during("take the lock");
    assert_eq!(error.problem(), format!("cannot take the lock: the API server says: {TEXT}"));
    assert_eq!(error.cure(), Some("an admission policy or webhook of the cluster says so"));
}
