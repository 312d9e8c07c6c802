//! Where values are delivered to: the store's own type, checked here and built from there.

pub use crate::stores::aws::{AssumeRole, Credentials, Target};
