//! Services that refuse, for as long as it takes somebody to notice: at the first creation, and at
//! a rotation, when consumers already live on a value. Then the cause goes, and all is well again.

use std::time::Duration;

use keyferry::sandbox::faults::{Broken, Effect, Rule};
use keyferry::sandbox::secrets_manager::settings::{DEFAULT_KEY, Deny, KeyState};

use super::shown;
use crate::stage::{NOT_AT_KEYCARD, Stage, credential};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// What is wrong.
#[derive(Clone, Debug)]
enum Wrong {
    /// A call is always answered so.
    Answer(&'static str, &'static str, Effect),
    /// IAM does not allow an action.
    Iam(&'static str),
    /// The KMS key is in this state.
    Key(KeyState),
}

impl Wrong {
    fn begin(&self, stage: &Stage) {
        match self.clone() {
            Self::Answer(service, operation, effect) => stage.sandbox.add_fault(Rule {
                service: service.into(),
                operation: operation.into(),
                skip: 0,
                times: 0,
                chance: 1.0,
                effect,
            }),
            Self::Iam(action) => stage.sandbox.secrets_manager.with_state(|state| {
                state.settings.deny =
                    vec![Deny { action: action.into(), secret_prefix: String::new(), access_key: None }];
            }),
            Self::Key(key) => stage.sandbox.secrets_manager.with_state(|state| {
                state.settings.kms.insert(DEFAULT_KEY.into(), key);
            }),
        }
    }

    fn end(stage: &Stage) {
        stage.sandbox.world.faults.lock().unwrap().clear();
        stage.sandbox.secrets_manager.with_state(|state| {
            state.settings.deny.clear();
            state.settings.kms.clear();
        });
    }
}

fn refuse(status: u16, code: &str) -> Effect {
    Effect::Refuse { status, code: code.into() }
}

fn throttle() -> Effect {
    Effect::Throttle { retry_after: Some("3600".into()) }
}

type Case = (Wrong, &'static str, &'static [&'static str]);

/// What is wrong -> the state, and words of the message or its hint. The exit code is always 3.
fn cases() -> Vec<Case> {
    use Wrong::{Answer, Iam, Key};
    let keycard = |operation, effect| Answer("keycard", operation, effect);
    let aws = |operation, effect| Answer("aws", operation, effect);
    vec![
        (Iam("DescribeSecret"), "blocked", &["access denied", "allow secretsmanager:DescribeSecret"]),
        (Iam("ListSecretVersionIds"), "blocked", &["access denied", "allow secretsmanager:ListSecretVersionIds"]),
        (Iam("PutSecretValue"), "blocked", &["access denied", "allow secretsmanager:PutSecretValue"]),
        (Iam("*"), "blocked", &["access denied"]),
        (Key(KeyState::Disabled), "blocked", &["KMS key can't encrypt", "enable the secret's KMS key"]),
        (Key(KeyState::PendingDeletion), "blocked", &["KMS key can't encrypt", "cancel its deletion"]),
        (Key(KeyState::Denied), "blocked", &["access to the KMS key is denied", "kms:GenerateDataKey"]),
        (aws("*", throttle()), "retrying", &["throttled", "ThrottlingException"]),
        (aws("PutSecretValue", throttle()), "retrying", &["throttled"]),
        (aws("PutSecretValue", refuse(400, "LimitExceededException")), "blocked", &["quota"]),
        (aws("*", refuse(400, "UnrecognizedClientException")), "blocked", &["does not accept the credentials"]),
        (aws("*", refuse(400, "ExpiredTokenException")), "blocked", &["expired", "sign in again"]),
        (aws("*", Effect::Body(Broken::Html)), "retrying", &["an answer that"]),
        (aws("*", Effect::DropBefore), "retrying", &["connection"]),
        (keycard("token", refuse(401, "invalid_client")), "blocked", &["401", "check `client_id` and `client_secret`"]),
        (keycard("*", Effect::DropBefore), "retrying", &["keycard"]),
        (keycard("list_credentials", refuse(403, "forbidden")), "blocked", &["403", "application `app`"]),
        (keycard("list_credentials", refuse(404, "not_found")), "blocked", &["404", "application `app`"]),
        (keycard("list_credentials", throttle()), "retrying", &["429"]),
        (keycard("list_credentials", refuse(503, "unavailable")), "retrying", &["503"]),
        (keycard("list_credentials", Effect::Body(Broken::Html)), "retrying", &["502"]),
        (keycard("list_credentials", Effect::Body(Broken::Empty)), "retrying", &["listing credentials"]),
        (keycard("list_credentials", Effect::Body(Broken::Huge)), "retrying", &["listing credentials"]),
        (keycard("list_credentials", Effect::Body(Broken::WrongType)), "retrying", &["listing credentials"]),
        (keycard("list_credentials", Effect::Body(Broken::Redirect)), "blocked", &["redirect", "check `base_url`"]),
        (keycard("create_credential", refuse(400, "bad_request")), "blocked", &["400", "creating"]),
        (keycard("create_credential", refuse(403, "forbidden")), "blocked", &["403", "creating"]),
        (keycard("create_credential", refuse(404, "not_found")), "blocked", &["404", "creating"]),
        (keycard("create_credential", throttle()), "retrying", &["429"]),
        (keycard("zone_token", refuse(503, "unavailable")), "retrying", &["503", "nothing about the credential"]),
    ]
}

/// Only while a secret is made.
fn cases_of_a_first_creation() -> Vec<Case> {
    let aws = |operation, effect| Wrong::Answer("aws", operation, effect);
    vec![
        (Wrong::Iam("CreateSecret"), "blocked", &["access denied", "allow secretsmanager:CreateSecret"]),
        (aws("CreateSecret", refuse(400, "LimitExceededException")), "blocked", &["quota"]),
        (aws("CreateSecret", throttle()), "retrying", &["throttled"]),
    ]
}

/// Only when a value is to be replaced.
fn cases_of_a_rotation() -> Vec<Case> {
    vec![
        (Wrong::Iam("UpdateSecretVersionStage"), "blocked", &["allow secretsmanager:UpdateSecretVersionStage"]),
        (Wrong::Iam("GetSecretValue"), "blocked", &["allow secretsmanager:GetSecretValue"]),
    ]
}

async fn check(stage: &Stage, case: &Case) {
    let (wrong, state, words) = case;
    let shown = shown(stage);
    assert_eq!((shown.state, shown.code), (*state, 3), "{wrong:?}: {}", shown.text);
    for word in *words {
        assert!(shown.text.contains(word), "{wrong:?} does not say `{word}`: {}", shown.text);
    }
    println!("{wrong:?}\n  {}: {}", shown.state, shown.text);
    assert!(shown.hinted || *state == "retrying", "{wrong:?} has no hint: {}", shown.text);
}

async fn heals(stage: &mut Stage, case: &Case) {
    Wrong::end(stage);
    stage.restart().await;
    stage.live(8 * HOUR, HOUR).await;
    let shown = shown(stage);
    assert_eq!((shown.state, shown.code), ("ok", 0), "{case:?}: {}", shown.text);
    assert_eq!(stage.failures(), 0, "{case:?}: {:?}", stage.sandbox.consumer.tally());
}

#[tokio::test]
async fn a_first_creation_that_is_refused_says_why_leaves_nothing_and_heals() {
    for case in cases().into_iter().chain(cases_of_a_first_creation()) {
        let mut stage = Stage::one().await;
        case.0.begin(&stage);
        stage.patient_pass().await;
        check(&stage, &case).await;
        assert_eq!(stage.live_credentials(), 0, "{case:?}");
        heals(&mut stage, &case).await;
        assert_eq!(stage.live_credentials(), 1, "{case:?}");
    }
}

#[tokio::test]
async fn a_rotation_that_is_refused_says_why_keeps_the_value_and_heals() {
    for case in cases().into_iter().chain(cases_of_a_rotation()) {
        let mut stage = Stage::one().await;
        stage.pass().await;
        stage.clock.advance(30 * DAY);
        case.0.begin(&stage);
        stage.patient_pass().await;
        check(&stage, &case).await;
        let published = stage.status("app").published;
        let seen = published.is_some_and(|published| published.verified);
        let aws_silent = !matches!(case.0, Wrong::Answer("keycard", _, _)) && !seen;
        assert!(seen || aws_silent, "{case:?}: what AWS showed is forgotten");
        for _ in 0..3 {
            stage.clock.advance(20 * MINUTE);
            stage.patient_pass().await;
        }
        assert!(stage.live_credentials() <= 3, "{case:?}");
        heals(&mut stage, &case).await;
        stage.live(2 * DAY, 12 * HOUR).await;
        assert_eq!(stage.live_credentials(), 1, "{case:?}");
    }
}

#[tokio::test]
async fn an_unknown_place_blocks_before_anything_is_made() {
    for (options, word) in
        [("application = \"app\"\nzone = \"nowhere\"", "nowhere"), ("application = \"not-at-keycard\"", NOT_AT_KEYCARD)]
    {
        let stage = Stage::with(&credential("app").replace("application = \"app\"", options)).await;
        stage.patient_pass().await;
        let shown = shown(&stage);
        assert_eq!((shown.state, shown.code), ("blocked", 3), "{}", shown.text);
        assert!(shown.text.contains(word) && shown.hinted, "{}", shown.text);
        assert_eq!(stage.writes(), 0, "not even an empty secret");
    }
}
