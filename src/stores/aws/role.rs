//! The declared role: taken on through STS, again and again before the session ends.

use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;

/// A role, and who takes it on.
#[derive(Debug)]
pub(super) struct Role {
    /// Signs with the credentials that the role is taken on from.
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) arn: String,
    pub(super) external_id: Option<String>,
    /// By which CloudTrail tells replicas apart.
    pub(super) session: String,
}

/// The role was not given; what STS or the connection said is its source.
#[derive(Debug)]
pub(super) struct NotGiven {
    pub(super) role: String,
    source: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for NotGiven {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the role {} was not given", self.role)
    }
}

impl Error for NotGiven {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}

impl Role {
    async fn take_on(&self) -> Result<Credentials, CredentialsError> {
        let request = self.sts.assume_role().role_arn(&self.arn).role_session_name(&self.session);
        let answer = request.set_external_id(self.external_id.clone()).send().await;
        let not_given = |source| CredentialsError::provider_error(NotGiven { role: self.arn.clone(), source });
        let answer = answer.map_err(|error| not_given(error.into()))?;
        let keys = answer.credentials.ok_or_else(|| not_given("an answer without credentials".into()))?;
        let ends = SystemTime::try_from(keys.expiration).map_err(|error| not_given(error.into()))?;
        let token = Some(keys.session_token);
        Ok(Credentials::new(keys.access_key_id, keys.secret_access_key, token, Some(ends), "keyferry's role"))
    }
}

impl ProvideCredentials for Role {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(self.take_on())
    }
}

/// By which CloudTrail tells one replica's session from another's: the host (on Kubernetes the pod),
/// and the process.
pub(super) fn session_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    session_name_of(&host, std::process::id())
}

/// STS takes at most 64 of letters, digits and `_+=,.@-`.
fn session_name_of(host: &str, process: u32) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
    let host: String = host.trim().chars().filter(plain).collect();
    // Pods of one set differ in the end of their names.
    let kept = &host[host.len().saturating_sub(40)..];
    format!("keyferry-{kept}-{process}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_for_its_host_and_process() {
        let pod = "billing-keyferry-deployment-with-a-long-name-7c9f8d6b5-x2x4z";
        for (host, name) in [
            ("box-1\n", "keyferry-box-1-7"),
            ("", "keyferry--7"),
            ("straße/eins", "keyferry-straeeins-7"),
            (pod, "keyferry-loyment-with-a-long-name-7c9f8d6b5-x2x4z-7"),
        ] {
            assert_eq!(session_name_of(host, 7), name);
        }
        assert!(session_name_of(pod, u32::MAX).len() <= 64);
    }
}
