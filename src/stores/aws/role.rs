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
