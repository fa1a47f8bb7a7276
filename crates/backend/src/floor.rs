//! The token that an operator knows to have been used.

use leasehold_core::{Error, ErrorKind, MAX_TOKEN, Token};

/// Tokens up to this may have been used, whatever the store says: after it was restored, for
/// example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenFloor(Token);

impl TokenFloor {
    /// A floor with at least one token above it.
    ///
    /// # Errors
    /// `Invalid`: above 2^63 - 2.
    pub fn new(floor: Token) -> Result<Self, Error> {
        if floor < MAX_TOKEN {
            return Ok(Self(floor));
        }
        let why = format!("token floor {floor} leaves no token above it: at most 2^63 - 2");
        Err(Error::new(ErrorKind::Invalid, "open the lock", why))
    }

    /// The highest token that may have been used.
    #[must_use]
    pub fn token(self) -> Token {
        self.0
    }
}
