//! The least that a rotation can send: read, put, move the label, describe. Without signatures'
//! arithmetic, checks, retries, or anything at the vendor; a floor to compare with, not a way to rotate.

use keyferry::model::time::Clock;
use serde_json::{Value, json};

use crate::services::{Services, name};

/// One after the other, over one connection, as a small script would.
pub async fn rotate(services: &Services, count: u32, clock: &dyn Clock) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("no option is wrong");
    let address = services.aws;
    let call = async |operation: &str, body: Value| -> Value {
        let date = clock.wall().to_utc().format("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("sandbox/{}/us-east-1/secretsmanager/aws4_request", &date[..8]);
        let signature = "0".repeat(64);
        let request = client
            .post(format!("http://{address}/"))
            .header("x-amz-target", format!("secretsmanager.{operation}"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-date", &date)
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}"),
            )
            .body(body.to_string());
        let answer = request.send().await.expect("the services answer");
        assert!(answer.status().is_success(), "{operation}: {}", answer.status());
        answer.json().await.expect("the answer is JSON")
    };
    for number in 0..count {
        let secret = format!("bench/{}", name(number));
        let read = call("GetSecretValue", json!({ "SecretId": secret })).await;
        let token = format!("{number:032x}");
        let put = json!({
            "SecretId": secret,
            "ClientRequestToken": token,
            "SecretString": read["SecretString"],
            "VersionStages": ["AWSPENDING"],
        });
        call("PutSecretValue", put).await;
        let promote = json!({
            "SecretId": secret,
            "VersionStage": "AWSCURRENT",
            "MoveToVersionId": token,
            "RemoveFromVersionId": read["VersionId"],
        });
        call("UpdateSecretVersionStage", promote).await;
        call("DescribeSecret", json!({ "SecretId": secret })).await;
    }
}
