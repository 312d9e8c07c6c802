//! `preflight` against the sandbox: all held as AWS is believed to be; each opposite is noticed by
//! the statement that it belongs to; whatever is denied, interrupted or killed, nothing is left or
//! the next run of the same name cleans it up; what is not its own is never touched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyferry::engine::preflight::{Asked, Refusal, Report, preflight};
use keyferry::model::finding::{Finding, Leave, Outcome, Witness};
use keyferry::model::name::{SecretName, TargetName};
use keyferry::sandbox::faults::{Effect, Rule};
use keyferry::sandbox::secrets_manager::settings::{Deny, Opposite, Settings};
use serde_json::json;
use tokio::sync::Notify;

use crate::stage::Stage;

const SCRATCH: &str = "scratch";

/// Does something before one of the calls: stops the trials, or holds the process there for ever.
#[derive(Default)]
struct Onlooker {
    calls: AtomicUsize,
    stop_at: Option<usize>,
    kill_at: Option<usize>,
    killed: Notify,
}

impl Witness for Onlooker {
    fn may_go_on(&self) -> Leave<'_> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.kill_at == Some(call) {
            self.killed.notify_one();
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(self.stop_at.is_none_or(|at| call < at)))
    }

    fn begins(&self, _: &str) {}

    fn found(&self, _: &Finding) {}
}

fn asked(stage: &Stage, vendor: bool) -> Asked {
    let declared = &stage.engine.declaration().credentials;
    Asked {
        target: TargetName::new("default").unwrap(),
        name: SecretName::new(SCRATCH).unwrap(),
        credential: vendor.then(|| Arc::clone(&declared[0])),
        kms_key_id: None,
    }
}

async fn watched(stage: &Stage, vendor: bool, onlooker: Onlooker) -> Result<Report, Refusal> {
    preflight(&stage.engine, &asked(stage, vendor), Arc::new(onlooker)).await
}

async fn run(stage: &Stage, vendor: bool) -> Report {
    match watched(stage, vendor, Onlooker::default()).await {
        Ok(report) => report,
        Err(Refusal::Asked { why, .. }) => panic!("refused: {why}"),
        Err(Refusal::Failed(fault)) => panic!("{fault}"),
    }
}

fn set(stage: &Stage, change: impl FnOnce(&mut Settings)) {
    stage.sandbox.secrets_manager.with_state(|state| change(&mut state.settings));
}

fn names(report: &Report, outcome: Outcome) -> BTreeSet<&'static str> {
    report.findings.iter().filter(|one| one.outcome == outcome).map(|one| one.statement.name).collect()
}

fn told(report: &Report) -> String {
    let lines = report.findings.iter().map(|one| format!("{} {:?}: {}", one.statement.name, one.outcome, one.seen));
    let left = report.left.iter().map(|left| format!("LEFT {}", left.what));
    lines.chain(left).chain(report.cleaned.clone()).collect::<Vec<_>>().join("\n")
}

/// The scratch secret in the sandbox, scheduled for deletion or not.
fn scratch(stage: &Stage) -> Option<serde_json::Value> {
    let now = stage.sandbox.world.now();
    let all = stage.sandbox.secrets_manager.with_state(|state| state.overview(now));
    let all = all["us-east-1"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|secret| secret["name"] == SCRATCH)
}

fn nothing_left(stage: &Stage, what: &str) {
    assert!(scratch(stage).is_none(), "{what}: {:?}", scratch(stage));
    assert_eq!(stage.live_credentials(), 0, "{what}");
}

#[tokio::test]
async fn on_a_service_as_aws_is_believed_to_be_everything_holds_and_nothing_is_left() {
    let stage = Stage::one().await;
    let report = run(&stage, true).await;
    assert_eq!(names(&report, Outcome::NotHeld), [].into(), "{}", told(&report));
    assert_eq!(names(&report, Outcome::Untold), [].into(), "{}", told(&report));
    let untried = ["current-unreadable", "describe-needs-no-key", "throttling-code"];
    assert_eq!(names(&report, Outcome::Untried), untried.into(), "{}", told(&report));
    assert_eq!(report.count(Outcome::Held), 33, "{}", told(&report));
    assert_eq!(report.aws_calls.reads + report.aws_calls.writes, stage.aws_calls(), "every call is counted");
    assert!(report.left.is_empty());
    nothing_left(&stage, "all held");
    // Nor does a daemon ever take the scratch secret for one of its own.
    assert!(stage.engine.sort().await.wanted.len() == 1);
}

#[tokio::test]
async fn each_opposite_is_noticed_by_its_statement_and_by_no_other() {
    use Opposite::*;
    let rows: [(Opposite, &[&str]); 20] = [
        (NameTakenCode, &["name-taken"]),
        (FirstVersionUnpublished, &["first-version"]),
        // Then there is no version without labels, and every version is the one that was current.
        (PutsPublish, &["put-beside", "deprecated-listed", "swap-wrong-version"]),
        (LabelsWithoutColons, &["label-forms"]),
        (FewLabels, &["label-count"]),
        (RepeatedLabels, &["token-same-value"]),
        (TokensOverwrite, &["token-other-value", "value-kept"]),
        (TokenTakenCode, &["token-other-value"]),
        (SwapsIgnoreFrom, &["swap-wrong-version"]),
        (SwapsNeedNoFrom, &["swap-unnamed-version"]),
        (DetachesIgnoreFrom, &["detach-once"]),
        (SwapCode, &["swap-code"]),
        (PreviousStays, &["previous-follows"]),
        (PendingGoes, &["pending-stays"]),
        (DeprecatedUnlisted, &["deprecated-listed"]),
        (PutsKeepDate, &["changed-by-put"]),
        (OldSignatures, &["signature-expires"]),
        (DateStands, &["date-header"]),
        (ListWithoutLabels, &["seen-by-list"]),
        (ScheduledWrites, &["scheduled-refuses"]),
    ];
    for (opposite, expected) in rows {
        let stage = Stage::one().await;
        set(&stage, |settings| settings.opposites = [opposite].into());
        let report = run(&stage, false).await;
        let found = names(&report, Outcome::NotHeld);
        assert_eq!(found, expected.iter().copied().collect(), "{opposite:?}:\n{}", told(&report));
        nothing_left(&stage, &format!("{opposite:?}"));
    }
}

#[tokio::test]
async fn what_is_set_otherwise_is_noticed_too() {
    // (what is set, what does not hold, what is held that was not tried before)
    type Row = (&'static str, fn(&Stage), &'static [&'static str], &'static [&'static str]);
    let readable = |settings: &mut Settings| {
        settings.readable_stages = Some(vec!["AWSPENDING".into(), "kf-open:*".into()]);
    };
    let rows: [Row; 6] = [
        (
            "labels do not move the date",
            |stage| set(stage, |it| it.labels_move_last_changed = false),
            &["changed-by-label", "changed-by-tag"],
            &[],
        ),
        ("the README's policy", |_| {}, &[], &["current-unreadable"]),
        (
            "a policy that ids get around",
            |stage| {
                set(stage, |it| it.opposites = [Opposite::ReadableById].into());
            },
            &["current-unreadable"],
            &[],
        ),
        ("throttled once", |stage| fault(stage, "PutSecretValue", 5, 1, throttle()), &[], &["throttling-code"]),
        (
            "throttled with another code",
            |stage| {
                set(stage, |it| it.opposites = [Opposite::ThrottlingCode].into());
                fault(stage, "PutSecretValue", 5, 1, throttle());
            },
            &["throttling-code"],
            &[],
        ),
        (
            "lists of versions are old",
            |stage| fault(stage, "ListSecretVersionIds", 0, 0, Effect::Stale),
            &["deprecated-listed", "seen-by-versions"],
            &[],
        ),
    ];
    for (what, change, not_held, more) in rows {
        let stage = Stage::one().await;
        if what.contains("policy") {
            set(&stage, readable);
        }
        change(&stage);
        let report = run(&stage, false).await;
        assert_eq!(names(&report, Outcome::NotHeld), not_held.iter().copied().collect(), "{what}:\n{}", told(&report));
        assert_eq!(names(&report, Outcome::Untold), [].into(), "{what}:\n{}", told(&report));
        let held = names(&report, Outcome::Held);
        assert!(more.iter().all(|name| held.contains(name)), "{what}:\n{}", told(&report));
        nothing_left(&stage, what);
    }
}

fn throttle() -> Effect {
    Effect::Throttle { retry_after: None }
}

fn fault(stage: &Stage, operation: &str, skip: u64, times: u64, effect: Effect) {
    let service = if operation.starts_with(char::is_uppercase) { "aws" } else { "keycard" };
    stage.sandbox.add_fault(Rule {
        service: service.into(),
        operation: operation.into(),
        skip,
        times,
        chance: 1.0,
        effect,
    });
}

#[tokio::test]
async fn a_vendor_that_does_otherwise_is_noticed_and_nothing_stays_alive_there() {
    use keyferry::sandbox::keycard::settings::Settings as Keycard;
    let default = Keycard::default;
    let rows: [(&str, Keycard, &[&str]); 4] = [
        ("slow, but not too slow", Keycard { read_lag_s: 20, login_lag_s: 30, revoke_lag_s: 40, ..default() }, &[]),
        ("never lets in", Keycard { login_lag_s: 100_000, ..default() }, &["vendor-login"]),
        ("never works", Keycard { duds: 1, ..default() }, &["vendor-login"]),
        ("ends late", Keycard { revoke_lag_s: 1_000, ..default() }, &["vendor-dead"]),
    ];
    for (what, settings, not_held) in rows {
        let stage = Stage::one().await;
        stage.sandbox.keycard().set_settings(settings);
        let report = run(&stage, true).await;
        assert_eq!(names(&report, Outcome::NotHeld), not_held.iter().copied().collect(), "{what}:\n{}", told(&report));
        assert_eq!(names(&report, Outcome::Untold), [].into(), "{what}:\n{}", told(&report));
        nothing_left(&stage, what);
    }
}

#[tokio::test]
async fn a_vendor_that_lists_late_is_waited_for_and_one_that_never_does_is_told() {
    use keyferry::sandbox::keycard::settings::Settings as Keycard;
    for (read_lag_s, cleaned) in [(200, true), (100_000, false)] {
        let stage = Stage::one().await;
        stage.sandbox.keycard().set_settings(Keycard { read_lag_s, ..Keycard::default() });
        let report = run(&stage, true).await;
        assert_eq!(names(&report, Outcome::NotHeld), ["vendor-listed"].into(), "{}", told(&report));
        assert_eq!(report.left.is_empty(), cleaned, "{}", told(&report));
        if !cleaned {
            assert!(report.left[0].live && scratch(&stage).is_some(), "{}", told(&report));
            stage.sandbox.keycard().set_settings(Keycard::default());
            assert!(run(&stage, false).await.cleaned[0].contains("1 found and revoked"));
        }
        nothing_left(&stage, &format!("{read_lag_s} s"));
    }
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_leaves_nothing_at_the_vendor() {
    for effect in [Effect::DropAfter, Effect::FailAfter, Effect::DropBefore] {
        let stage = Stage::one().await;
        fault(&stage, "create_credential", 0, 1, effect.clone());
        let report = run(&stage, true).await;
        let untold = names(&report, Outcome::Untold);
        assert!(untold.contains("vendor-create") && untold.contains("vendor-listed"), "{}", told(&report));
        if stage.sandbox.keycard().credentials().is_empty() {
            // Nothing was made, but nobody can know: kept, told, and cleaned up by the next run.
            assert!(report.left[0].live && report.left[0].hint.contains("run this again"), "{}", told(&report));
            assert!(scratch(&stage).is_some());
            let report = run(&stage, false).await;
            assert!(report.cleaned[0].contains("0 found"), "{}", told(&report));
        }
        nothing_left(&stage, &format!("{effect:?}"));
    }
}

#[tokio::test]
async fn a_missing_permission_is_named_and_nothing_is_taken_for_not_held() {
    // (action, how many statements it takes away at least, what is left of the scratch secret)
    for (action, least) in [
        ("DescribeSecret", 0),
        ("CreateSecret", 0),
        ("PutSecretValue", 15),
        ("UpdateSecretVersionStage", 8),
        ("GetSecretValue", 2),
        ("ListSecretVersionIds", 2),
        ("ListSecrets", 1),
        ("DeleteSecret", 1),
    ] {
        let stage = Stage::one().await;
        let deny = Deny { action: action.into(), secret_prefix: String::new(), access_key: None };
        set(&stage, |settings| settings.deny = vec![deny]);
        let report = match watched(&stage, false, Onlooker::default()).await {
            Ok(report) => report,
            Err(Refusal::Failed(fault)) if least == 0 => {
                let hint = fault.hint.as_deref().unwrap_or_default();
                assert!(hint.contains(&format!("secretsmanager:{action}")), "{action}: {fault} {hint}");
                assert!(scratch(&stage).is_none(), "{action}");
                continue;
            }
            Err(_) => panic!("{action}"),
        };
        assert_eq!(names(&report, Outcome::NotHeld), [].into(), "{action}:\n{}", told(&report));
        assert!(names(&report, Outcome::Untold).len() >= least, "{action}:\n{}", told(&report));
        let untold = report.findings.iter().filter(|one| one.outcome == Outcome::Untold);
        let named = |one: &&Finding| {
            one.hint.as_ref().is_some_and(|hint| hint.contains(&format!("allow secretsmanager:{action}")))
        };
        assert!(untold.clone().any(|one| named(&one)), "{action}:\n{}", told(&report));
        if action == "DeleteSecret" {
            let left = &report.left[0];
            assert!(left.hint.contains("secretsmanager:DeleteSecret") && !left.live, "{}", left.hint);
            assert!(scratch(&stage).is_some());
            set(&stage, |settings| settings.deny = Vec::new());
            assert!(run(&stage, false).await.cleaned[0].contains("an earlier preflight's scratch secret"));
        }
        nothing_left(&stage, action);
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_and_left_as_it_is() {
    let stage = Stage::one().await;
    let tags = |key: &str, value: &str| json!([{ "Key": key, "Value": value }]);
    let ours = "scratch of run x";
    let rows = [
        ("app-like", json!([]), "does not have the tag"),
        ("other", tags("keyferry:preflight", "mine"), "not one that a preflight wrote"),
        (
            "declared",
            json!([{ "Key": "keyferry:preflight", "Value": ours }, { "Key": "keyferry:deployment", "Value": "test" }]),
            "tagged as the secret of a declared credential",
        ),
    ];
    for (token, tags, words) in rows {
        let token = format!("{token:x>36}");
        let body = json!({ "Name": SCRATCH, "ClientRequestToken": token, "SecretString": "theirs", "Tags": tags });
        stage.person("CreateSecret", body).await;
        let (before, calls) = (scratch(&stage), stage.writes());
        match watched(&stage, true, Onlooker::default()).await {
            Err(Refusal::Asked { why, hint }) => {
                assert!(why.contains(words) && hint.contains("not touched"), "{why}; {hint}");
            }
            _ => panic!("{words}: not refused"),
        }
        assert_eq!((scratch(&stage), stage.writes()), (before, calls), "{words}");
        let gone = json!({ "SecretId": SCRATCH, "ForceDeleteWithoutRecovery": true });
        stage.person("DeleteSecret", gone).await;
        stage.clock.advance(std::time::Duration::from_secs(10));
    }
    // The name of a declared credential's secret, whether it is there or not.
    let mut asked = asked(&stage, false);
    asked.name = SecretName::new("app").unwrap();
    match preflight(&stage.engine, &asked, Arc::new(Onlooker::default())).await {
        Err(Refusal::Asked { why, .. }) => assert!(why.contains("declared credential `app`"), "{why}"),
        _ => panic!("not refused"),
    }
}

#[tokio::test]
async fn a_left_over_on_its_way_out_is_told_from_one_that_can_be_cleaned_up() {
    let stage = Stage::one().await;
    // Deleting at once is denied to the caller: it ends in a window of seven days.
    set(&stage, |settings| settings.opposites = [Opposite::ForcedDeletionDenied].into());
    let report = run(&stage, false).await;
    assert!(report.cleaned[0].contains("will be gone in 7 days"), "{}", told(&report));
    assert!(report.left.is_empty() && scratch(&stage).unwrap()["gone_at"].is_string());
    match watched(&stage, false, Onlooker::default()).await {
        Err(Refusal::Asked { why, hint }) => {
            assert!(why.contains("on its way out") && hint.contains("another name"), "{why}; {hint}");
        }
        _ => panic!("not refused"),
    }
    set(&stage, |settings| settings.opposites.clear());
    run(&stage, false).await;
    nothing_left(&stage, "deleted at once after all");
}

/// Calls and waits before which a run with everything is stopped or killed: all of its beginning
/// and of its last part, where the vendor and the cleaning are, and samples between; all of them
/// with `KEYFERRY_PREFLIGHT=full`.
async fn points() -> (usize, Vec<usize>) {
    let stage = Stage::one().await;
    let onlooker = Arc::new(Onlooker::default());
    let witness: Arc<dyn Witness> = onlooker.clone();
    assert!(preflight(&stage.engine, &asked(&stage, true), witness).await.is_ok());
    let all = onlooker.calls.load(Ordering::SeqCst);
    assert!(all > 150, "{all}");
    if std::env::var("KEYFERRY_PREFLIGHT").is_ok_and(|how| how == "full") {
        return (all, (0..all).collect());
    }
    let vendor = all - 45;
    (all, (0..6).chain((6..vendor).step_by(29)).chain(vendor..all).collect())
}

#[tokio::test]
async fn stopped_before_any_call_it_cleans_up_and_says_what_was_not_told() {
    let (all, points) = points().await;
    for call in points.into_iter().step_by(2) {
        let stage = Stage::one().await;
        match watched(&stage, true, Onlooker { stop_at: Some(call), ..Onlooker::default() }).await {
            Ok(report) => {
                assert!(report.left.is_empty(), "stopped at {call}:\n{}", told(&report));
                assert_eq!(names(&report, Outcome::NotHeld), [].into(), "stopped at {call}:\n{}", told(&report));
                let cleaning = report.findings.iter().all(|one| one.outcome != Outcome::Untold);
                assert!(!cleaning || call > all - 5, "stopped at {call}: nothing is missing");
            }
            Err(Refusal::Failed(fault)) => assert!(fault.answer.contains("interrupted"), "{call}: {fault}"),
            Err(Refusal::Asked { why, .. }) => panic!("{call}: {why}"),
        }
        nothing_left(&stage, &format!("stopped at {call}"));
    }
}

#[tokio::test]
async fn killed_before_any_call_the_next_run_cleans_up_first() {
    for call in points().await.1 {
        let stage = Stage::one().await;
        let onlooker = Arc::new(Onlooker { kill_at: Some(call), ..Onlooker::default() });
        let witness: Arc<dyn Witness> = onlooker.clone();
        let wanted = asked(&stage, true);
        tokio::select! {
            biased;
            () = onlooker.killed.notified() => {}
            _ = preflight(&stage.engine, &wanted, witness) => panic!("{call}: it came to an end"),
        }
        let was_left = scratch(&stage).is_some();
        let alive = stage.live_credentials();
        assert!(was_left || alive == 0, "killed at {call}: a credential without anything that tells of it");
        // The next one is not told of any credential: the scratch secret does that. Most are stopped
        // once they have cleaned up, which takes no leave.
        let short = call % 20 != 0;
        let onlooker = Onlooker { stop_at: short.then_some(1), ..Onlooker::default() };
        match watched(&stage, false, onlooker).await {
            Ok(report) => {
                assert_eq!(report.cleaned.len() > 1, was_left, "killed at {call}:\n{}", told(&report));
                assert_eq!(names(&report, Outcome::NotHeld), [].into(), "killed at {call}:\n{}", told(&report));
            }
            Err(Refusal::Failed(fault)) if short => assert!(fault.answer.contains("interrupted"), "{call}: {fault}"),
            Err(_) => panic!("killed at {call}: refused"),
        }
        nothing_left(&stage, &format!("killed at {call}"));
    }
}

/// The binary, without any service: wrong names and words end it with 2 before anything is sent.
#[test]
fn what_is_asked_wrongly_is_told_and_ends_with_2() {
    let rows: [(&[&str], i32, &str); 7] = [
        (&[], 2, "--scratch <NAME>"),
        (&["--scratch", ""], 2, "1 to 512"),
        (&["--scratch", "a b"], 2, "1 to 512 of letters, digits"),
        (&["--scratch", "name-a1b2c3"], 2, "not ending in a hyphen and six letters or digits"),
        (&["--scratch", "s", "--credential", "nobody"], 2, "no credential `nobody` is declared; nothing was done"),
        (&["--scratch", "s", "--aws", "nowhere"], 2, "no target `nowhere` is declared, but `default`"),
        (&["--scratch", "google-mcp-oauth-credentials"], 2, "is the secret of the declared credential `google-mcp`"),
    ];
    for (arguments, code, words) in rows {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_keyferry"))
            .args(["preflight", "--config", "config/sandbox.toml"])
            .args(arguments)
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}
