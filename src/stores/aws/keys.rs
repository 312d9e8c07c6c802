//! What an access key may look like. The SDK's signer puts key id and session token into HTTP
//! headers and panics where they do not fit; a secret key with a line end only ever gives a wrong
//! signature. Both usually come from a file or a variable that ends in a line end.

use std::error::Error;
use std::fmt;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

/// A part of a key that can't be one. Says what is odd about it and nothing of its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OddKey {
    part: &'static str,
    oddity: &'static str,
}

impl OddKey {
    pub(super) const HINT: &str =
        "correct it where it is stored: the AWS_… environment variables, the profile files, or what provides the keys";
}

impl fmt::Display for OddKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the AWS {} {}", self.part, self.oddity)
    }
}

impl Error for OddKey {}

/// Gives what its source gives, unless that can't be signed with.
#[derive(Debug)]
pub(super) struct Checked(pub(super) SharedCredentialsProvider);

impl ProvideCredentials for Checked {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async {
            let keys = self.0.provide_credentials().await?;
            match odd(&keys) {
                None => Ok(keys),
                Some(odd) => Err(CredentialsError::invalid_configuration(odd)),
            }
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.0.fallback_on_interrupt()
    }
}

fn odd(keys: &Credentials) -> Option<OddKey> {
    let parts = [
        ("access key id", Some(keys.access_key_id())),
        ("secret access key", Some(keys.secret_access_key())),
        ("session token", keys.session_token()),
    ];
    parts.into_iter().find_map(|(part, text)| {
        let oddity = oddity(text?)?;
        Some(OddKey { part, oddity })
    })
}

/// What is odd about a key, without showing it.
fn oddity(text: &str) -> Option<&'static str> {
    let odd = |byte: u8| !byte.is_ascii_graphic();
    if text.is_empty() {
        Some("is empty")
    } else if text.ends_with(['\n', '\r']) {
        Some("ends in a line end")
    } else if text.starts_with('\u{feff}') {
        Some("begins with a byte-order mark")
    } else if text.trim() != text {
        Some("begins or ends with a space")
    } else if text.bytes().any(odd) {
        Some("holds a space, a control character or a letter that is not ASCII")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_key_can_be_is_told_without_a_value() {
        for (text, told) in [
            ("AKIAIOSFODNN7EXAMPLE", None),
            ("wJalrXUtnFEMI/K7MDENG+bPxRfi=", None),
            ("", Some("is empty")),
            ("AKIA\n", Some("ends in a line end")),
            ("AKIA\r\n", Some("ends in a line end")),
            ("\u{feff}AKIA", Some("begins with a byte-order mark")),
            (" AKIA", Some("begins or ends with a space")),
            ("AK\u{7}IA", Some("holds a space, a control character or a letter that is not ASCII")),
            ("AKIÄ", Some("holds a space, a control character or a letter that is not ASCII")),
        ] {
            assert_eq!(oddity(text), told, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_checked_provider_refuses_what_can_not_be_signed_with() {
        for (id, secret, token, told) in [
            ("AKIA", "secret", None, None),
            ("AKIA\n", "secret", None, Some("the AWS access key id ends in a line end")),
            ("AKIA", "secret\n", None, Some("the AWS secret access key ends in a line end")),
            (
                "AKIA",
                "secret",
                Some("to\u{1}ken"),
                Some("the AWS session token holds a space, a control character or a letter that is not ASCII"),
            ),
        ] {
            let keys = Credentials::new(id, secret, token.map(Into::into), None, "test");
            let checked = Checked(SharedCredentialsProvider::new(keys));
            let result = checked.provide_credentials().await;
            let odd = result.err().and_then(|error| error.source().map(ToString::to_string));
            assert_eq!(odd.as_deref(), told);
        }
    }
}
