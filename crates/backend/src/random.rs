//! Random bits from the kernel, at every call: a generator in this process would be repeated by a
//! copy of it.

use leasehold_core::Nonce;

use crate::failure::Failure;

/// 64 random bits.
///
/// # Errors
/// `Unavailable`: the kernel gives none.
pub fn random() -> Result<u64, Failure> {
    getrandom::u64().map_err(none)
}

/// 128 random bits, for one logical write.
///
/// # Errors
/// `Unavailable`: the kernel gives none.
pub fn random_nonce() -> Result<Nonce, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(none)?;
    Ok(Nonce(u128::from_ne_bytes(bytes)))
}

fn none(error: getrandom::Error) -> Failure {
    Failure::unavailable(format!("the kernel gives no random bytes: {error}"))
}
