//! Which file systems are known to keep what the lock rests on.

/// Whether a lock may live on the file system with this `f_type` (of `statfs(2)`).
///
/// A list of known-good ones, not of known-bad: a network or shared file system gives every host
/// locks of its own and no notifications from the others, and there are more of those than anybody
/// can list.
///
/// # Errors
/// The name of the file system, or its number in hexadecimal.
pub(crate) fn judge(magic: u64) -> Result<&'static str, String> {
    let magic = magic & 0xffff_ffff; // the kernel's field is signed and its width differs
    if let Some((_, name)) = GOOD.iter().find(|(good, _)| *good == magic) {
        return Ok(name);
    }
    let name = BAD.iter().find(|(bad, _)| *bad == magic).map(|(_, name)| (*name).to_owned());
    Err(name.unwrap_or_else(|| format!("of unknown type 0x{magic:x}")))
}

const GOOD: [(u64, &str); 7] = [
    (0xef53, "ext2/ext3/ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0x0102_1994, "tmpfs"),
    (0x794c_7630, "overlayfs"),
];

/// Only for a better message.
const BAD: [(u64, &str); 11] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE or virtiofs"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x5346_414f, "AFS"),
    (0x4d44, "FAT"),
    (0x2011_bab0, "exFAT"),
    (0x9fa0, "proc"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_known_good_ones_only() {
        assert_eq!(judge(0xef53), Ok("ext2/ext3/ext4"));
        assert_eq!(judge(0xffff_ffff_9123_683e), Ok("btrfs"), "sign-extended");
        assert_eq!(judge(0x6969), Err("NFS".to_owned()));
        assert_eq!(judge(0x6573_5546), Err("FUSE or virtiofs".to_owned()));
        assert_eq!(judge(0xca45_1a4e), Err("of unknown type 0xca451a4e".to_owned()));
        assert!(BAD.iter().all(|(bad, _)| judge(*bad).is_err()));
    }
}
