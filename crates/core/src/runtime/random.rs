//! Nonces and incarnations.

#![expect(clippy::disallowed_methods, reason = "nonces and incarnations are drawn here")]

/// 128 bits from the kernel, at every call: a generator or a counter would be repeated by a copy.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    u128::from_ne_bytes(bytes)
}
