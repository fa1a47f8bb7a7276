//! Files of configuration and credentials, read without waiting for anybody and without filling the
//! memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The longest such file, in bytes.
const LIMIT: u64 = 4 << 20;

/// What is in this file.
///
/// Some of these files are read again while a candidate leads, on the thread that renews. A pipe
/// would stop that thread until somebody writes, and a device may never end. A file on a network
/// mount that hangs still stops it.
///
/// # Errors
/// It cannot be read, is a pipe, a socket, a disk or a directory, or is longer than 4 MiB.
pub fn read_small_file(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before it is opened: opening a pipe waits for its other end.
    let kind = fs::metadata(path)?.file_type();
    // The empty file of everybody, /dev/null, is a device of characters.
    if !(kind.is_file() || is_characters(kind)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file (a pipe, a socket, a disk or a directory): write its \
             contents to a file",
        ));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 4 MiB"));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn is_characters(kind: fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&kind)
}

#[cfg(not(unix))]
fn is_characters(_: fs::FileType) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let pipe = std::env::temp_dir().join(format!("leasehold-pipe-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let refused = read_small_file(&pipe);
        fs::remove_file(&pipe).unwrap();
        for refused in [refused, read_small_file(Path::new("/dev"))] {
            assert!(refused.unwrap_err().to_string().contains("not a regular file"));
        }
        assert_eq!(read_small_file(Path::new("/dev/null")).unwrap(), b"");
        let endless = read_small_file(Path::new("/dev/zero")).unwrap_err();
        assert!(endless.to_string().contains("longer than 4 MiB"), "{endless}");
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let long = std::env::temp_dir().join(format!("leasehold-long-{}", std::process::id()));
        File::create(&long).unwrap().set_len(10 << 30).unwrap();
        let refused = read_small_file(&long);
        fs::remove_file(&long).unwrap();
        assert!(refused.unwrap_err().to_string().contains("longer than 4 MiB"));
        let here = read_small_file(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")));
        assert!(String::from_utf8(here.unwrap()).unwrap().contains("leasehold-core"));
    }
}
