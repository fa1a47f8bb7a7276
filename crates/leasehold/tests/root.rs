//! The names at the root of the crate: few enough to be read at a glance.

/// All of them, modules included.
const ROOT: [&str; 23] = [
    "Builder",
    "Elector",
    "Error",
    "ErrorKind",
    "Fence",
    "Finished",
    "Held",
    "Loss",
    "Observer",
    "Stale",
    "StopReason",
    "Term",
    "TimingSettings",
    "Token",
    "backend",
    "blocking",
    "connect",
    "doctor",
    "status",
    "stores",
    "testing",
    "timing",
    "url",
];

/// The public items of this source that begin a line.
fn root(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find("\npub ") {
        rest = &rest[at + 1..];
        let item = &rest["pub ".len()..];
        if let Some(tree) = item.strip_prefix("use ") {
            let tree = tree.split(';').next().unwrap_or_default();
            let listed = tree.split_once('{').map_or(tree, |(_, listed)| listed);
            let listed = listed.trim_end_matches('}').split(',').map(str::trim);
            names.extend(listed.filter(|name| !name.is_empty()).map(|name| {
                let name = name.rsplit(" as ").next().unwrap_or(name);
                name.rsplit("::").next().unwrap_or(name).to_owned()
            }));
        } else {
            let item = item.trim_start_matches("async ");
            let name = item.split_once(' ').map_or(item, |(_, name)| name);
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            names.push(name[..end].to_owned());
        }
    }
    names.sort();
    names
}

#[test]
fn the_root_has_few_names() {
    assert_eq!(root(include_str!("../src/lib.rs")), ROOT);
}

#[test]
fn every_log_event_is_in_the_documentation() {
    let table = include_str!("../src/lib.rs");
    let mut named = 0;
    for source in [
        include_str!("../src/opened.rs"),
        include_str!("../../core/src/runtime/driver/mod.rs"),
        include_str!("../../core/src/runtime/driver/requests.rs"),
        include_str!("../../core/src/runtime/driver/standby.rs"),
        include_str!("../../core/src/runtime/driver/start.rs"),
    ] {
        for rest in source.split("event = \"").skip(1) {
            let event = rest.split('"').next().unwrap_or_default();
            assert!(table.contains(&format!("`{event}`")), "{event} is not in the table");
            named += 1;
        }
    }
    assert!(named >= 13, "{named}");
}

#[test]
fn a_glob_or_another_item_is_noticed() {
    let source =
        "\npub use a::*;\npub use b::{C, d::E as F};\npub struct G<T>(T);\npub fn h() {}\n";
    assert_eq!(root(source), ["*", "C", "F", "G", "h"]);
}
