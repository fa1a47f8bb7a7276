//! What a write looks like to a proxy on the way.

use leasehold::backend::Intent;

/// The path of the request, in the code that HTTP/2 packs strings with: a transaction takes, and a
/// revocation releases.
pub(super) fn on_the_wire(intent: Intent) -> Option<&'static [u8]> {
    match intent {
        Intent::Take => Some(b"\x60\xa9\x24\x88\x2d\x9d\xcb\x65\x71\xaf\x9b\x8b\x1b\xfc\xd5"),
        Intent::Release | Intent::Revoke => Some(
            b"\x60\xa9\x24\x88\x2d\x9d\xcb\x65\x71\xaf\x9c\xa3\x41\x58\xce\x51\xa0\xbb\x4b\
              \xdc\xfd\x4b",
        ),
        Intent::Adopt | Intent::Renew => None,
    }
}
