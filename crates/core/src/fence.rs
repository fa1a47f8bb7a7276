//! The resource's side of fencing.

use crate::record::Token;

/// Remembers the highest token a resource has accepted, and refuses smaller ones.
///
/// This is the only protection that holds without any assumption on clocks: a holder may stop
/// between its check and its effect. It must live where the effect happens, and be as durable and
/// as atomic as the effect: store `highest` in the same transaction, or compare in the same
/// statement (`UPDATE … SET fence = $1 WHERE fence <= $1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    highest: Token,
}

/// A token below one that was accepted before: its holder is no longer the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stale token {token}: {highest} was accepted before")]
#[non_exhaustive]
pub struct Stale {
    /// The refused token.
    pub token: Token,
    /// The highest accepted one.
    pub highest: Token,
}

impl Fence {
    /// A fence that has accepted everything up to `highest`, as stored with the resource.
    #[must_use]
    pub fn new(highest: Token) -> Self {
        Self { highest }
    }

    /// Admits a token that is not below the highest one, and remembers it.
    ///
    /// # Errors
    /// The token is stale: do not carry out the effect.
    pub fn admit(&mut self, token: Token) -> Result<(), Stale> {
        if token < self.highest {
            return Err(Stale { token, highest: self.highest });
        }
        self.highest = token;
        Ok(())
    }

    /// The highest token accepted, to be stored with the resource.
    #[must_use]
    pub fn highest(&self) -> Token {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_below_the_highest() {
        let mut fence = Fence::new(5);
        assert_eq!(fence.admit(5), Ok(()));
        assert_eq!(fence.admit(7), Ok(()));
        assert_eq!(fence.admit(6), Err(Stale { token: 6, highest: 7 }));
        assert_eq!(fence.admit(7), Ok(()));
        assert_eq!(fence.highest(), 7);
    }
}
