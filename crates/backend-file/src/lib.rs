//! A lock in a local file.
