//! Why a run came to no verdicts.

use std::fmt::{self, Display};

use leasehold::Error;

/// Why a run did not come to verdicts, or nobody was told of them.
#[derive(Debug)]
pub enum Failed {
    /// It was called wrongly.
    Usage(String),
    /// The store cannot be used, or went away.
    Store(Error),
    /// A file cannot be written, or servers cannot be started.
    Other(String),
    /// It was stopped by this signal; what it made is removed.
    Stopped(u8),
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Other(why) => f.write_str(why),
            Self::Store(error) => error.fmt(f),
            Self::Stopped(signal) => write!(f, "stopped by signal {signal}"),
        }
    }
}
