//! Whether other processes of this host see another directory under the lock's path.
//!
//! A container's own layer and a service's private `/tmp` are local file systems, so a lock works
//! there, and two candidates in two of them have two locks. This cannot be an error: all candidates
//! may be inside. It is a warning.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::failure::shown;

/// Files that container engines put into containers.
const MARKS: [&str; 3] = ["/.dockerenv", "/run/.containerenv", "/run/secrets/kubernetes.io"];

/// Parts of the paths at which container engines keep the roots of their containers.
const KEPT: [&str; 6] =
    ["/containers/storage/", "/docker/", "/containerd/", "/lxc/", "/lxd/", "/machines/"];

/// Where containers have file systems in memory of their own.
const OWN_MEMORY: [&str; 6] = ["/dev", "/dev/shm", "/run", "/run/lock", "/tmp", "/var/tmp"];

/// No list of mounts is longer; the rest is not looked at.
const MOST: u64 = 4 << 20;

/// Why others may have another lock under the same path, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Private {
    pub(crate) why: String,
    pub(crate) cure: &'static str,
}

impl fmt::Display for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.why, self.cure)
    }
}

/// Looks at how this process and the first process of the host see the directory. `None` also if
/// that cannot be seen.
pub(crate) fn examine(directory: &Path) -> Option<Private> {
    let path = std::fs::canonicalize(directory).ok()?;
    let own = read("/proc/self/mountinfo")?;
    let is_contained = MARKS.iter().any(|mark| Path::new(mark).exists());
    judge(&path, &own, read("/proc/1/mountinfo").as_deref(), is_contained)
}

fn read(path: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn judge(path: &Path, own: &[u8], first: Option<&[u8]>, is_contained: bool) -> Option<Private> {
    const MOUNT: &str = "mount one directory of the host into each container (docker run -v, a \
                         hostPath or a volume that the pod's containers share) and put the lock \
                         there, or use a store with a server";
    const SERVICE: &str =
        "put the lock where both see it, such as below /run or /var/lib, or set PrivateTmp=no";
    let here = locate(own, path)?;
    let place = shown(path);
    let because = |why: String, cure| Some(Private { why, cure });
    if here.inner.iter().any(|part| part.as_bytes().starts_with(b"systemd-private-")) {
        let why = format!(
            "{place} is this service's own (PrivateTmp=): processes outside have another lock at \
             this path"
        );
        return because(why, SERVICE);
    }
    let is_root = here.point == Path::new("/");
    let is_kept = KEPT.iter().any(|kept| here.inner.to_string_lossy().contains(kept));
    if is_root && (here.kind == b"overlay" || is_kept || is_contained) {
        let why = format!(
            "{place} is in the container's own layer: other containers and the host have another \
             lock at this path"
        );
        return because(why, MOUNT);
    }
    if here.kind == b"overlay" {
        let why = format!(
            "{place} is on an overlay, whose files only those see who use this very mount ({}): \
             others have another lock",
            shown(&here.point)
        );
        return because(why, MOUNT);
    }
    if is_contained
        && here.kind == b"tmpfs"
        && OWN_MEMORY.iter().any(|own| here.point == Path::new(own))
    {
        let why = format!(
            "{place} is in this container's own memory: others may have another lock at this path"
        );
        return because(why, MOUNT);
    }
    let there = locate(first?, path)?;
    if (&there.device, &there.inner) != (&here.device, &here.inner) {
        let why = format!(
            "{place} is not what the first process of this host sees there (a mount namespace of \
             its own): processes outside have another lock at this path"
        );
        return because(why, SERVICE);
    }
    None
}

/// A path as a place in a file system.
#[derive(Debug)]
struct Located {
    device: Vec<u8>,
    /// Where that is in the file system itself.
    inner: PathBuf,
    /// Where the file system is mounted.
    point: PathBuf,
    kind: Vec<u8>,
}

/// The mount in this list (of `proc_pid_mountinfo(5)`) that a path without symbolic links is on.
fn locate(mounts: &[u8], path: &Path) -> Option<Located> {
    let on = mounts.split(|byte| *byte == b'\n').filter_map(|line| mount(line, path));
    // What is mounted later covers what is there, so of two equals the last.
    on.max_by_key(|located| located.point.components().count())
}

fn mount(line: &[u8], path: &Path) -> Option<Located> {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let device = fields.by_ref().nth(2)?.to_vec();
    let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?.to_vec();
    let rest = path.strip_prefix(&point).ok()?;
    // A join with nothing would end in a slash.
    let inner = if rest.as_os_str().is_empty() { root } else { root.join(rest) };
    Some(Located { device, inner, point, kind })
}

/// The kernel writes blanks and backslashes as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let byte =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                        25 24 0:23 / /run rw - tmpfs tmpfs rw\n\
                        26 24 0:24 / /dev/shm rw shared:2 master:1 - tmpfs tmpfs rw\n\
                        28 27 254:1 /data /srv/a\\040b rw - xfs /dev/vdb rw\n";

    fn why(path: &str, more: &str, is_contained: bool) -> Option<String> {
        let own = format!("{HOST}{more}\n");
        judge(Path::new(path), own.as_bytes(), Some(HOST.as_bytes()), is_contained)
            .map(|private| private.to_string())
    }

    #[test]
    fn ordinary_directories_of_a_host_are_everybodys() {
        for path in ["/run/x", "/var/lib/x", "/", "/dev/shm", "/srv/a b/c", "/runner"] {
            assert_eq!(why(path, "", false), None, "{path}");
        }
    }

    #[test]
    fn what_only_some_processes_see_is_found() {
        for (path, more, is_contained, says) in [
            ("/run/x", "31 27 0:31 / / rw - overlay overlay rw,lowerdir=a:b", false, None),
            (
                "/var/x",
                "31 27 0:31 / / rw - overlay overlay rw",
                false,
                Some("container's own layer"),
            ),
            ("/var/x", "", true, Some("container's own layer")),
            ("/var/x", "31 1 8:1 /var/lib/machines/m / rw - btrfs d rw", false, Some("own layer")),
            ("/m/x", "31 27 0:31 / /m rw - overlay overlay rw", false, Some("on an overlay")),
            ("/run/x", "", true, Some("own memory")),
            ("/vol/x", "31 27 0:40 / /vol rw - tmpfs tmpfs rw", true, Some("mount namespace")),
            (
                "/tmp",
                "31 27 254:0 /tmp/systemd-private-0a-web.service-x/tmp /tmp rw - ext4 /dev/vda rw",
                false,
                Some("PrivateTmp"),
            ),
            (
                "/tmp/a",
                "31 27 0:50 /systemd-private-0a-web.service-x/tmp /tmp rw - tmpfs tmpfs rw",
                false,
                Some("PrivateTmp"),
            ),
            ("/tmp", "31 27 0:51 / /tmp rw - tmpfs tmpfs rw", false, Some("mount namespace")),
            (
                "/tmp/a",
                "31 27 254:0 /home/b /tmp rw - ext4 /dev/vda rw",
                false,
                Some("first process"),
            ),
            ("/tmp/a", "31 27 254:0 /tmp /tmp rw - ext4 /dev/vda rw", false, None),
        ] {
            let found = why(path, more, is_contained);
            match says {
                None => assert_eq!(found, None, "{path} {more}"),
                Some(says) => assert!(
                    found
                        .as_ref()
                        .is_some_and(|found| found.contains(says) && found.contains("; ")),
                    "{path} {more}: {found:?}"
                ),
            }
        }
    }

    #[test]
    fn what_the_first_process_sees_may_be_hidden() {
        assert_eq!(judge(Path::new("/run"), HOST.as_bytes(), None, false), None);
        assert_eq!(judge(Path::new("/run"), b"", Some(HOST.as_bytes()), false), None);
    }

    proptest::proptest! {
        #[test]
        fn no_list_of_mounts_makes_it_panic(
            line in r"(\PC| |\\[0-9x]{0,3}|/|-){0,60}", bytes: Vec<u8>, path in "/[a-z/]{0,9}",
        ) {
            let _ = judge(Path::new(&path), line.as_bytes(), Some(&bytes), false);
            let whole = [HOST.as_bytes(), line.as_bytes(), b"\n", &bytes].concat();
            let _ = judge(Path::new(&path), &bytes, Some(&whole), true);
        }

        #[test]
        fn an_escaped_path_is_found_again(name: Vec<u8>) {
            let escaped: Vec<u8> = name.iter().flat_map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                other => vec![*other],
            }).collect();
            proptest::prop_assert_eq!(unescape(&escaped).into_os_string().into_vec(), name);
        }
    }
}
