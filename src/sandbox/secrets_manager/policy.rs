//! Resource policies: kept and checked for their form, never enforced (the deny list in the settings is).

use serde_json::{Map, Value, json};

use super::checks::{self, required};
use super::errors::AwsError;
use super::reads::set;
use super::state::{Call, State, Touched};
use super::wire::Request;

impl State {
    pub(super) fn get_resource_policy(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret = self.find(call, required("secretId", &request.secret_id)?, "GetResourcePolicy")?;
        secret.live()?;
        let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
        set(&mut answer, "ResourcePolicy", secret.policy.clone());
        Ok(answer)
    }

    pub(super) fn put_resource_policy(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let text = required("resourcePolicy", &request.resource_policy)?;
        checks::hidden_size("resourcePolicy", text.len(), 1, 20_480)?;
        let secret = self.find(call, secret_id, "PutResourcePolicy")?;
        secret.writable(call, &self.settings)?;
        let policy = parse(text)?;
        if request.block_public_policy.unwrap_or(false) && is_public(&policy) {
            return Err(AwsError::new("PublicPolicyException", "The resource policy grants access to everyone."));
        }
        self.change(call, &secret, |secret| {
            secret.policy = Some(text.to_owned());
            Ok(Touched::Contents)
        })?;
        Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
    }

    pub(super) fn delete_resource_policy(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret = self.find(call, required("secretId", &request.secret_id)?, "DeleteResourcePolicy")?;
        secret.writable(call, &self.settings)?;
        self.change(call, &secret, |secret| {
            Ok(if secret.policy.take().is_some() { Touched::Contents } else { Touched::Nothing })
        })?;
        Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
    }

    pub(super) fn validate_resource_policy(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let text = required("resourcePolicy", &request.resource_policy)?;
        checks::hidden_size("resourcePolicy", text.len(), 1, 20_480)?;
        if let Some(secret_id) = request.secret_id.as_deref() {
            self.find(call, secret_id, "ValidateResourcePolicy")?.live()?;
            self.find(call, secret_id, "PutResourcePolicy")?;
        }
        let policy = parse(text)?;
        let problems = if is_public(&policy) {
            vec![json!({ "CheckName": "BLOCK_PUBLIC_ACCESS", "ErrorMessage": "The policy grants access to everyone." })]
        } else {
            Vec::new()
        };
        Ok(json!({ "PolicyValidationPassed": problems.is_empty(), "ValidationErrors": problems }))
    }
}

/// The statements of a well-formed policy (IAM user guide, "JSON policy elements").
fn parse(text: &str) -> Result<Vec<Map<String, Value>>, AwsError> {
    let malformed =
        || AwsError::new("MalformedPolicyDocumentException", "This resource policy contains a syntax error.");
    let policy: Map<String, Value> = serde_json::from_str(text).map_err(|_| malformed())?;
    let version_is_known = match policy.get("Version") {
        None => true,
        Some(version) => version == "2012-10-17" || version == "2008-10-17",
    };
    let keys_are_known = policy.keys().all(|key| ["Version", "Id", "Statement"].contains(&key.as_str()));
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) if !statements.is_empty() => statements.clone(),
        Some(Value::Object(one)) => vec![Value::Object(one.clone())],
        Some(_) | None => return Err(malformed()),
    };
    let statements: Vec<Map<String, Value>> = statements
        .into_iter()
        .map(|statement| match statement {
            Value::Object(statement) if is_whole(&statement) => Ok(statement),
            _ => Err(malformed()),
        })
        .collect::<Result<_, _>>()?;
    if version_is_known && keys_are_known { Ok(statements) } else { Err(malformed()) }
}

fn is_whole(statement: &Map<String, Value>) -> bool {
    let one_of = |name: &str| statement.contains_key(name) != statement.contains_key(&format!("Not{name}"));
    let effect = statement.get("Effect").and_then(Value::as_str);
    matches!(effect, Some("Allow" | "Deny")) && one_of("Principal") && one_of("Action") && one_of("Resource")
}

fn is_public(statements: &[Map<String, Value>]) -> bool {
    let everyone = |principal: &Value| match principal {
        Value::String(text) => text == "*",
        Value::Object(kinds) => kinds.get("AWS").is_some_and(|aws| *aws == "*" || *aws == json!(["*"])),
        _ => false,
    };
    statements.iter().any(|statement| {
        statement.get("Effect").is_some_and(|effect| effect == "Allow")
            && statement.get("Principal").is_some_and(everyone)
            && !statement.contains_key("Condition")
    })
}
