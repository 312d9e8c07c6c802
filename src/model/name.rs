//! Names and ids as types, each checked once, where it enters.

use std::fmt;
use std::sync::Arc;

/// Why a text is not a valid name: says what is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invalid(pub &'static str);

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for Invalid {}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks and wraps `text`.
            ///
            /// # Errors
            /// Says what is allowed when `text` is not.
            pub fn new(text: &str) -> Result<Self, Invalid> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(Invalid($rule)) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, out)
            }
        }
    };
}

fn identifier(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c))
}

name!(
    /// Name of a declared credential; unique in the declaration, stands in a tag.
    Name,
    "1 to 128 of lower-case letters, digits, `.`, `_` and `-`, starting with a letter or digit",
    |text| identifier(text, 128)
);
name!(
    /// Name that the declaration gives to a vendor instance (`[vendors.<name>]`).
    VendorName,
    "1 to 63 of lower-case letters, digits, `.`, `_` and `-`, starting with a letter or digit",
    |text| identifier(text, 63)
);
name!(
    /// Name that the declaration gives to an AWS target (`[aws.<name>]`).
    TargetName,
    "1 to 63 of lower-case letters, digits, `.`, `_` and `-`, starting with a letter or digit",
    |text| identifier(text, 63)
);
name!(
    /// Whose secrets these are: the value of the owner tag.
    Deployment,
    "1 to 63 of lower-case letters, digits, `.` and `-`, starting with a letter or digit",
    |text| identifier(text, 63) && !text.contains('_')
);
name!(
    /// Name of a secret in AWS Secrets Manager (Secrets Manager API reference, CreateSecret: 512 characters of letters,
    /// digits and `/_+=.@-`). Secrets that an AWS service manages have that service's name and `!` before
    /// their own.
    SecretName,
    "1 to 512 of letters, digits and `/_+=.@-`",
    |text| {
        let own = match text.split_once('!') {
            Some((service, own)) if service.chars().all(|c| c.is_ascii_lowercase() || c == '-') => own,
            Some(_) => return false,
            None => text,
        };
        text.len() <= 512 && !own.is_empty() && own.chars().all(|c| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c))
    }
);

impl SecretName {
    /// Whether it ends as every ARN does, in a hyphen and six characters. AWS advises against that:
    /// somebody who looks for such a secret by a part of its ARN may find another. keyferry never does.
    pub fn looks_like_arn(&self) -> bool {
        let bytes = self.as_str().as_bytes();
        let Some((rest, end)) = bytes.split_last_chunk::<6>() else { return false };
        rest.ends_with(b"-") && end.iter().all(u8::is_ascii_alphanumeric)
    }

    /// Whether an AWS service manages it: nobody else may write it.
    pub fn is_managed(&self) -> bool {
        self.as_str().contains('!')
    }
}

name!(
    /// Full ARN of a secret, its random end included: changes when a secret is deleted and made again.
    Arn,
    "an ARN: 20 to 2048 visible characters, starting with `arn:`",
    |text| (20..=2048).contains(&text.len()) && text.starts_with("arn:") && text.chars().all(|c| c.is_ascii_graphic())
);
name!(
    /// Id of one version of a secret: the `ClientRequestToken` of the call that made it.
    VersionId,
    "32 to 64 visible characters",
    |text| (32..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic())
);
name!(
    /// A vendor's id of one credential. Control characters are refused here: such a credential can
    /// only be swept by its mark.
    VendorId,
    "1 to 512 characters, none of them a control character",
    |text| (1..=512).contains(&text.len()) && !text.chars().any(char::is_control)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_once() {
        assert!(Name::new("google-mcp").is_ok());
        for bad in ["", "Google", "-x", "a b", "ü", &"x".repeat(129)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
        assert!(Deployment::new("prod_west").is_err());
        assert!(SecretName::new("app/db-key").is_ok());
        // AWS advises against some of these names, but has them; `!` is in those that AWS services make.
        for given in ["prod/oauth-secret", "app-worker", "name-a1b2c3", "rds!cluster-1a96bebc"] {
            assert!(SecretName::new(given).is_ok(), "{given}");
        }
        for bad in ["", "a\u{e4}b", "a b", "a*b", &"x".repeat(513)] {
            assert!(SecretName::new(bad).is_err(), "{bad}");
        }
        assert!(VendorId::new("a\r\nb").is_err());
        assert!(VersionId::new("short").is_err());
    }
}
