//! What a write looks like to a proxy on the way.

use leasehold::backend::Intent;

/// A part of the record that a script is given: only a holder of ours has an incarnation, and only
/// after a release there is no holder.
pub(super) fn on_the_wire(intent: Intent) -> Option<&'static [u8]> {
    match intent {
        Intent::Take => Some(b"\"incarnation\":\""),
        Intent::Release => Some(b"\"holder\":null"),
        Intent::Adopt | Intent::Renew | Intent::Revoke => None,
    }
}
