//! Processes that sleep at the wrong moment: stopped with SIGSTOP while a call of theirs is held,
//! left behind while time passes, and woken. What they do then comes too late, and has to be
//! refused: by AWS, which no longer takes the signature, or by the process that sees itself late.

use std::time::Duration;

use keyferry::sandbox::gate::{Hold, Moment};
use rustix::process::Signal;

use crate::kind::Kind;
use crate::plot::{Ended, Plot, Voyage, tell};
use crate::world::{Said, Setting, signal};

const MINUTE: Duration = Duration::from_secs(60);

/// What goes on while the process sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meanwhile {
    /// Nothing but time.
    Nothing,
    /// Another replica does what there is to do at the end of it.
    Another,
}

/// Whose clock goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Clocks {
    /// The services' alone: the process's stands still, as when a whole machine is suspended.
    Services,
    /// Both.
    Both,
}

/// A sleep.
#[derive(Clone, Copy, Debug)]
struct Sleep {
    plot: Plot,
    kind: Kind,
    /// The process is stopped at this call (what its name contains, and which of them), at this
    /// moment of it.
    at: (&'static str, u64, Moment),
    minutes: u32,
    clocks: Clocks,
    meanwhile: Meanwhile,
}

/// A process whose clock stands still thinks that seconds have passed while minutes have.
const SLOW: u32 = 5;
/// One whose clock goes on sees minutes pass in a moment.
const FAST: u32 = 60;
/// Real time that is minutes to the fast one.
const MOMENT: Duration = Duration::from_millis(2_500);

/// What the sleeper did after it woke, and how everything ended.
struct Woken {
    /// Calls since it woke, to its end.
    calls: Vec<String>,
    said: Said,
    ended: Ended,
    /// Writes whose signature AWS no longer took: `<operation>`.
    refused: Vec<String>,
}

/// Lets one process sleep, and everything come to rest after it.
async fn sleep(sleep: Sleep) -> Woken {
    let (call, next, moment) = sleep.at;
    let setting = Setting { kind: sleep.kind, beside: None, replicas: 2, sets_late: moment == Moment::Before };
    let mut voyage = Voyage::begin(sleep.plot, setting).await;
    voyage.late = true;
    voyage.kill_at(Hold { next, moment, call: Some(call.into()) });
    let child = voyage.until_held(if sleep.clocks == Clocks::Both { FAST } else { SLOW }).await;
    signal(&child, Signal::STOP);
    if sleep.clocks == Clocks::Both {
        tokio::time::sleep(MOMENT).await;
    }
    voyage.world.pass(MINUTE * sleep.minutes).await;
    if sleep.meanwhile == Meanwhile::Another {
        let said = voyage.world.heard(voyage.world.start(&["once"])).await;
        assert!(said.code.is_some(), "{}", said.text);
        voyage.look().await;
    }
    let before = voyage.calls().len();
    voyage.world.sandbox.world.gate.release();
    signal(&child, Signal::CONT);
    let said = voyage.world.heard(child).await;
    let calls = voyage.calls().split_off(before);
    voyage.look().await;
    let refused = voyage.world.late();
    voyage.sail(&["once"]).await;
    Woken { calls, said, ended: voyage.end().await, refused }
}

fn has(calls: &[String], word: &str) -> bool {
    calls.iter().any(|call| call == word)
}

async fn check(one: Sleep, saw: impl FnOnce(&Woken) -> bool) {
    let woken = sleep(one).await;
    let told = tell(&format!("{one:?}"), &woken.ended);
    let (calls, refused, said) = (woken.calls.join(", "), woken.refused.join(", "), &woken.said.text);
    let what = format!("{told}\n  after it woke: {calls}\n  refused: {refused}\n{said}");
    assert!(woken.ended.violations.is_empty(), "{what}");
    assert!(saw(&woken), "what was to be seen was not: {what}");
}

/// The candidate is proved, and then the process sleeps: past a signature's life, past settle, past
/// the time after which others give the candidate up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_that_comes_late_is_refused_by_aws() {
    for kind in Kind::ALL {
        let (call, which) = kind.vendor().proves;
        let one = Sleep {
            plot: Plot::Rotation,
            kind,
            at: (call, which, Moment::After),
            minutes: 6,
            clocks: Clocks::Services,
            meanwhile: Meanwhile::Nothing,
        };
        let refused = |woken: &Woken| woken.refused == ["UpdateSecretVersionStage"];
        check(one, refused).await;
        check(Sleep { minutes: 16, meanwhile: Meanwhile::Another, ..one }, refused).await;
        check(Sleep { minutes: 180, meanwhile: Meanwhile::Another, ..one }, refused).await;
    }
}

/// In place, a value that is set late replaces one that is in use: nothing can refuse it, and it is
/// set back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_set_late_is_set_back() {
    let one = Sleep {
        plot: Plot::Rotation,
        kind: Kind::InPlace,
        at: ("/update", 1, Moment::Before),
        minutes: 180,
        clocks: Clocks::Services,
        meanwhile: Meanwhile::Another,
    };
    let set_back = |woken: &Woken| woken.calls.iter().filter(|call| *call == "chatbotkit update_secret").count() == 2;
    check(one, set_back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_sees_itself_late_proves_the_candidate_again() {
    let one = Sleep {
        plot: Plot::Rotation,
        kind: Kind::Named,
        at: ("zone_token", 1, Moment::After),
        minutes: 3,
        clocks: Clocks::Both,
        meanwhile: Meanwhile::Nothing,
    };
    check(one, |woken| {
        let proof = woken.calls.iter().position(|call| call == "keycard zone_token");
        let promotion = woken.calls.iter().position(|call| call == "aws UpdateSecretVersionStage");
        woken.refused.is_empty() && proof.is_some() && proof < promotion
    })
    .await;
}

/// The credential of a first value is proved, and then the process sleeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_value_that_comes_late_is_refused_by_aws() {
    let one = Sleep {
        plot: Plot::First,
        kind: Kind::Named,
        at: ("zone_token", 1, Moment::After),
        minutes: 6,
        clocks: Clocks::Services,
        meanwhile: Meanwhile::Nothing,
    };
    // It then ends the credential that nobody will ever know.
    let refused = |woken: &Woken| woken.refused == ["PutSecretValue"] && has(&woken.calls, "keycard delete_credential");
    check(one, refused).await;
    check(Sleep { minutes: 16, meanwhile: Meanwhile::Another, ..one }, refused).await;
    // One that knows how late it is may not sign with the present moment either.
    check(Sleep { clocks: Clocks::Both, ..one }, refused).await;
}

/// The claim is won, and then the process sleeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_for_a_claim_that_is_a_minute_old() {
    let one = Sleep {
        plot: Plot::Rotation,
        kind: Kind::Named,
        at: ("PutSecretValue", 1, Moment::After),
        minutes: 3,
        clocks: Clocks::Both,
        meanwhile: Meanwhile::Nothing,
    };
    check(one, |woken| !woken.calls.is_empty() && !has(&woken.calls, "keycard create_credential")).await;
}

/// A process that can't see how late it is creates, finds its slot closed, and ends what it made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_created_after_others_closed_the_attempt_is_ended_again() {
    let one = Sleep {
        plot: Plot::Rotation,
        kind: Kind::Named,
        at: ("PutSecretValue", 1, Moment::After),
        minutes: 16,
        clocks: Clocks::Services,
        meanwhile: Meanwhile::Another,
    };
    check(one, |woken| {
        has(&woken.calls, "keycard create_credential") && has(&woken.calls, "keycard delete_credential")
    })
    .await;
}

/// A delete that was decided on, or sent, before somebody else did it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_that_comes_late_ends_nothing_else() {
    let decided = Sleep {
        plot: Plot::Rotation,
        kind: Kind::Named,
        // The last call before it: of the process that creates it is the second, of the one that
        // compares the fourth, of this one the sixth.
        at: ("get_zone", 6, Moment::After),
        minutes: 16,
        clocks: Clocks::Services,
        meanwhile: Meanwhile::Another,
    };
    let twice =
        |woken: &Woken| woken.ended.calls.iter().filter(|call| *call == "keycard delete_credential").count() == 2;
    check(decided, twice).await;
    let sent = Sleep { at: ("DELETE ", 1, Moment::Before), ..decided };
    check(sent, twice).await;
}
