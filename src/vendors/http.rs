//! The one HTTP client for all vendors.

/// Shared client; cloning is free.
#[derive(Clone)]
pub struct Client;
