//! The operations by name, and which request quota each draws on.

/// An operation of the service (Secrets Manager API reference, Actions).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are the API's own")]
pub enum Operation {
    BatchGetSecretValue,
    CancelRotateSecret,
    CreateSecret,
    DeleteResourcePolicy,
    DeleteSecret,
    DescribeSecret,
    GetRandomPassword,
    GetResourcePolicy,
    GetSecretValue,
    ListSecretVersionIds,
    ListSecrets,
    PutResourcePolicy,
    PutSecretValue,
    RemoveRegionsFromReplication,
    ReplicateSecretToRegions,
    RestoreSecret,
    RotateSecret,
    StopReplicationToReplica,
    TagResource,
    UntagResource,
    UpdateSecret,
    UpdateSecretVersionStage,
    ValidateResourcePolicy,
}

/// Operations that share one request quota (AWS Secrets Manager quotas, API request rates).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "named after the operations in it")]
pub enum Group {
    BatchGetSecretValue,
    CreateSecret,
    DeleteSecret,
    DescribeSecret,
    GetRandomPassword,
    GetSecretValue,
    ListSecretVersionIds,
    ListSecrets,
    Policies,
    RestoreSecret,
    Rotation,
    Tags,
    Writes,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 23] = [
        Self::BatchGetSecretValue,
        Self::CancelRotateSecret,
        Self::CreateSecret,
        Self::DeleteResourcePolicy,
        Self::DeleteSecret,
        Self::DescribeSecret,
        Self::GetRandomPassword,
        Self::GetResourcePolicy,
        Self::GetSecretValue,
        Self::ListSecretVersionIds,
        Self::ListSecrets,
        Self::PutResourcePolicy,
        Self::PutSecretValue,
        Self::RemoveRegionsFromReplication,
        Self::ReplicateSecretToRegions,
        Self::RestoreSecret,
        Self::RotateSecret,
        Self::StopReplicationToReplica,
        Self::TagResource,
        Self::UntagResource,
        Self::UpdateSecret,
        Self::UpdateSecretVersionStage,
        Self::ValidateResourcePolicy,
    ];

    /// The operation of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// Its name on the wire and in IAM.
    pub fn name(self) -> &'static str {
        match self {
            Self::BatchGetSecretValue => "BatchGetSecretValue",
            Self::CancelRotateSecret => "CancelRotateSecret",
            Self::CreateSecret => "CreateSecret",
            Self::DeleteResourcePolicy => "DeleteResourcePolicy",
            Self::DeleteSecret => "DeleteSecret",
            Self::DescribeSecret => "DescribeSecret",
            Self::GetRandomPassword => "GetRandomPassword",
            Self::GetResourcePolicy => "GetResourcePolicy",
            Self::GetSecretValue => "GetSecretValue",
            Self::ListSecretVersionIds => "ListSecretVersionIds",
            Self::ListSecrets => "ListSecrets",
            Self::PutResourcePolicy => "PutResourcePolicy",
            Self::PutSecretValue => "PutSecretValue",
            Self::RemoveRegionsFromReplication => "RemoveRegionsFromReplication",
            Self::ReplicateSecretToRegions => "ReplicateSecretToRegions",
            Self::RestoreSecret => "RestoreSecret",
            Self::RotateSecret => "RotateSecret",
            Self::StopReplicationToReplica => "StopReplicationToReplica",
            Self::TagResource => "TagResource",
            Self::UntagResource => "UntagResource",
            Self::UpdateSecret => "UpdateSecret",
            Self::UpdateSecretVersionStage => "UpdateSecretVersionStage",
            Self::ValidateResourcePolicy => "ValidateResourcePolicy",
        }
    }

    /// The quota it draws on.
    pub fn group(self) -> Group {
        match self {
            Self::BatchGetSecretValue => Group::BatchGetSecretValue,
            Self::CreateSecret => Group::CreateSecret,
            Self::DeleteSecret => Group::DeleteSecret,
            Self::DescribeSecret => Group::DescribeSecret,
            Self::GetRandomPassword => Group::GetRandomPassword,
            Self::GetSecretValue => Group::GetSecretValue,
            Self::ListSecretVersionIds => Group::ListSecretVersionIds,
            Self::ListSecrets => Group::ListSecrets,
            Self::DeleteResourcePolicy
            | Self::GetResourcePolicy
            | Self::PutResourcePolicy
            | Self::ValidateResourcePolicy => Group::Policies,
            Self::RestoreSecret => Group::RestoreSecret,
            Self::RotateSecret | Self::CancelRotateSecret => Group::Rotation,
            Self::TagResource | Self::UntagResource => Group::Tags,
            Self::PutSecretValue
            | Self::UpdateSecret
            | Self::UpdateSecretVersionStage
            | Self::ReplicateSecretToRegions
            | Self::RemoveRegionsFromReplication
            | Self::StopReplicationToReplica => Group::Writes,
        }
    }
}

impl Group {
    /// Requests a second, per account and Region. For the first two the older, smaller published
    /// figure: 10,000 for both together.
    pub fn per_second(self) -> u32 {
        match self {
            Self::GetSecretValue | Self::DescribeSecret => 10_000,
            Self::BatchGetSecretValue | Self::ListSecrets => 100,
            Self::CreateSecret
            | Self::DeleteSecret
            | Self::GetRandomPassword
            | Self::ListSecretVersionIds
            | Self::Policies
            | Self::RestoreSecret
            | Self::Rotation
            | Self::Tags
            | Self::Writes => 50,
        }
    }
}
