//! What others wrote - in tags, in names of files - must not reach a terminal as it is.

use keyferry::clock::HostClock;
use serde_json::json;

use super::command::{Folder, declared_for, sandbox, served, text, words};

/// Characters that a terminal obeys, that turn words round, or that nobody sees.
const TRICKS: [char; 6] = ['\u{1b}', '\u{9b}', '\u{7}', '\u{202e}', '\u{200b}', '\u{feff}'];

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_prints_what_a_terminal_obeys() {
    let sandbox = sandbox().await;
    let folder = Folder::new();
    let good = declared_for(&sandbox);
    let path = folder.write("keyferry.toml", good, 0o600);
    let output = served(words(&format!("once --config {path}")), Vec::new()).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let written: String = format!("quiet{}please", TRICKS.iter().collect::<String>());
    let tags = json!([
        { "Key": "keyferry:pause", "Value": "2100-01-01T00:00:00Z" },
        { "Key": "keyferry:pause-reason", "Value": written },
        { "Key": "keyferry:pause-by", "Value": written },
    ]);
    let body = json!({ "SecretId": "test/keycard/app", "Tags": tags });
    crate::stage::person(sandbox.aws_address(), &HostClock::real(), "TagResource", body).await;
    let mut told = 0;
    for verb in
        ["status", "status --problems", "plan", "once", "explain app", "history app", "rotate app", "resume app"]
    {
        for form in ["text", "json"] {
            let output = served(words(&format!("{verb} --config {path} --output {form}")), Vec::new()).await;
            let text = text(&output);
            told += usize::from(text.contains("quiet"));
            assert!(!text.contains(TRICKS), "{verb} as {form}: {text:?}");
        }
    }
    assert!(told >= 4, "only {told} of them said why it is paused");
    // A declaration under such a name.
    let name = format!("key{}ferry.toml", TRICKS.iter().collect::<String>());
    let path = folder.write(&name, "deployment = 1\n", 0o600);
    for form in ["text", "json"] {
        let arguments = ["check", "--config", &path, "--output", form].map(str::to_owned);
        let output = served(arguments.to_vec(), Vec::new()).await;
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(!text(&output).contains(TRICKS), "check as {form}: {:?}", text(&output));
    }
}
