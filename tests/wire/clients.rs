//! Each row at a driver, for every vendor, and at the store.

use keyferry::model::fault::{Class, Fault};

use keyferry::vendors::Ended;

use keyferry::model::name::SecretName;

use crate::bench::{CANARY, Driver, Services, make_secret, secret, store};
use crate::relay::{Fault as Broken, Relay, Wrong};
use crate::rows::{self, Becomes, Row};

/// What a call came to, and what it said.
pub fn told<T>(outcome: &Result<T, Fault>) -> (Becomes, String) {
    let Err(fault) = outcome else { return (Becomes::Good, String::new()) };
    let becomes = match fault.class {
        Class::Retry { .. } => Becomes::Retry,
        Class::Denied => Becomes::Denied,
        Class::Rejected => Becomes::Rejected,
        Class::Gone => Becomes::Gone,
        Class::InDoubt => Becomes::InDoubt,
        Class::Taken | Class::Bug => panic!("no row comes to {fault:?}"),
    };
    let text =
        format!("{fault} ({}) {}", fault.code.as_deref().unwrap_or("no code"), fault.hint.as_deref().unwrap_or(""));
    assert!(!text.contains(CANARY) && !text.contains("Sign in") && !text.contains("<html"), "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    (becomes, text)
}

/// The same of an end.
fn told_end(outcome: &Result<Ended, Fault>) -> (Becomes, String) {
    match outcome {
        Ok(Ended::UnknownToVendor | Ended::NotListed) => (Becomes::Gone, String::new()),
        Ok(Ended::Confirmed) | Err(_) => told(outcome),
    }
}

/// What is wrong with how a row went; nothing, where it went as it should.
pub fn compare(row: &str, wanted: Becomes, words: &[&str], (becomes, text): (Becomes, String)) -> Option<String> {
    let said = |word: &&str| word.split('|').any(|one| text.contains(one));
    let fine = becomes == wanted && (matches!(becomes, Becomes::Good | Becomes::Gone) || words.iter().all(said));
    (!fine).then(|| format!("{row}: {becomes:?} where it should be {wanted:?} with {words:?}: {text}"))
}

/// One vendor behind a relay.
struct Far {
    services: Services,
    relay: Relay,
    kind: &'static str,
    /// How the head of each call begins.
    calls: [&'static str; 3],
}

impl Far {
    fn driver(&self) -> Driver {
        Driver::open(&self.services, self.kind, self.relay.base(), None).unwrap()
    }

    fn live(&self) -> usize {
        self.services.sandbox.vendor(self.kind).unwrap().live().len()
    }

    fn breaks(&self, call: usize, wrong: &Wrong) {
        self.relay.breaks(Some(Broken { of: self.calls[call], wrong: wrong.clone() }));
    }

    /// Nothing lives there, and the relay is whole.
    async fn clean(&self) {
        self.relay.breaks(None);
        let driver = self.driver();
        for id in driver.list().await.expect("the relay is whole") {
            driver.revoke(&id).await.expect("the relay is whole");
        }
    }

    /// A row with each of the three calls.
    async fn row(&self, row: &Row) -> Vec<String> {
        let name = |call: &str| format!("{}, {call}, {}", self.kind, row.what);
        let mut wrong = Vec::new();
        self.breaks(0, &row.wrong);
        let listed = self.driver().list().await;
        wrong.extend(compare(&name("list"), row.becomes[0], row.words, told(&listed)));

        self.clean().await;
        let before = self.live();
        self.breaks(1, &row.wrong);
        let made = self.driver().create().await;
        wrong.extend(compare(&name("create"), row.becomes[1], row.words, told(&made)));
        let (sent, more) = (self.relay.count(self.calls[1]), self.live() - before);
        if sent != 1 && !matches!(row.wrong, Wrong::ResetAtOnce) || more > 1 {
            wrong.push(format!("{}: sent {sent} times, {more} made", name("create")));
        }
        if more > 0 && !matches!(told(&made).0, Becomes::Good | Becomes::InDoubt) {
            wrong.push(format!("{}: it was made, and the fault says that it surely was not", name("create")));
        }

        self.clean().await;
        let id = self.driver().create().await.expect("the relay is whole");
        let before = self.live();
        self.breaks(2, &row.wrong);
        let ended = self.driver().revoke(&id).await;
        wrong.extend(compare(&name("revoke"), row.becomes[2], row.words, told_end(&ended)));
        if ended.is_ok() && self.live() == before {
            wrong.push(format!("{}: it counts as done, and was not", name("revoke")));
        }
        wrong
    }
}

async fn every_row_at(kind: &'static str, calls: [&'static str; 3]) {
    let services = Services::start().await;
    let relay = services.relay(kind, None).await;
    let far = Far { services, relay, kind, calls };
    let mut wrong = Vec::new();
    for row in rows::all() {
        wrong.extend(far.row(&row).await);
    }
    assert!(wrong.is_empty(), "{} rows went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_broken_wire_to_keycard_is_told_as_what_it_is() {
    let list = "/application-credentials?";
    every_row_at("keycard", [list, "POST /zones/", "DELETE /"]).await;
}

#[tokio::test]
async fn a_broken_wire_to_workos_is_told_as_what_it_is() {
    let secrets = "/client_secrets";
    every_row_at("workos", [secrets, "POST /connect/applications/", "DELETE /"]).await;
}

/// What AWS would not say is nobody's word: a status of something between is a read to try again, and a
/// write in doubt. And without AWS's date, no write counts.
const AT_AWS: [(&str, [Becomes; 2]); 5] = [
    ("reset when it connects", [Becomes::Retry, Becomes::InDoubt]),
    ("a date that is none", [Becomes::Good, Becomes::InDoubt]),
    ("302 to a sign-in page", [Becomes::Retry, Becomes::InDoubt]),
    ("307 to elsewhere", [Becomes::Retry, Becomes::InDoubt]),
    ("407", [Becomes::Retry, Becomes::InDoubt]),
];

/// What a read and a write at AWS come to.
pub fn at_aws(row: &Row) -> [Becomes; 2] {
    let own = AT_AWS.iter().find(|(what, _)| *what == row.what).map(|(_, becomes)| *becomes);
    own.unwrap_or([row.becomes[0], row.becomes[1]])
}

/// At the store a write is sent once and may be repeated by its caller, byte by byte, so it is judged as
/// a create; AWS's reads are asked again as a vendor's.
#[tokio::test]
async fn a_broken_wire_to_aws_is_told_as_what_it_is() {
    let services = Services::start().await;
    let relay = services.relay("aws", None).await;
    let healthy = store(&services, relay.base(), None, None).await.unwrap();
    make_secret(&healthy, &secret()).await.unwrap();
    let mut wrong = Vec::new();
    // There a call waits for ten seconds, and a read three times.
    let slow = |row: &Row| matches!(row.wrong, Wrong::Silence | Wrong::Endless(b"", _));
    let rows = rows::all().into_iter().filter(|row| !slow(row));
    for (number, row) in rows.enumerate() {
        let [read, write] = at_aws(&row);
        let store = store(&services, relay.base(), None, None).await.unwrap();
        relay.breaks(Some(Broken { of: "DescribeSecret", wrong: row.wrong.clone() }));
        let seen = store.observe(&secret()).await;
        wrong.extend(compare(&format!("aws, read, {}", row.what), read, row.words, told(&seen)));

        relay.breaks(Some(Broken { of: "CreateSecret", wrong: row.wrong.clone() }));
        let name = SecretName::new(&format!("row/{number}")).unwrap();
        let done = make_secret(&store, &name).await;
        wrong.extend(compare(&format!("aws, write, {}", row.what), write, row.words, told(&done)));
        let sent = relay.count("CreateSecret");
        relay.breaks(None);
        let now = healthy.observe(&name).await.unwrap().is_some();
        if sent != 1 && !matches!(row.wrong, Wrong::ResetAtOnce)
            || now && !matches!(told(&done).0, Becomes::Good | Becomes::InDoubt)
        {
            wrong.push(format!("aws, write, {}: sent {sent} times, done: {now}", row.what));
        }
    }
    assert!(wrong.is_empty(), "{} rows went wrong:\n{}", wrong.len(), wrong.join("\n"));
}
