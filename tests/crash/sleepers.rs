//! Processes that sleep at the wrong moment: stopped with SIGSTOP while a call of theirs is held,
//! left behind while time passes, and woken. What they do then comes too late, and has to be
//! refused: by AWS, which no longer takes the signature, or by the process that sees itself late.

use std::time::Duration;

use keyferry::sandbox::gate::{Hold, Moment};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::plot::{Ended, Plot, Voyage, tell, voyage};
use crate::world::Said;

const MINUTE: Duration = Duration::from_secs(60);

/// What goes on while the process sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meanwhile {
    /// Nothing but time.
    Nothing,
    /// Another replica does what there is to do at the end of it.
    Another,
}

/// A sleep.
#[derive(Debug)]
struct Sleep {
    plot: Plot,
    /// The service's word for the call that the process is stopped at, and which of them it is.
    at: (&'static str, usize),
    moment: Moment,
    /// How long, in the services' time. The process's own clock stands still meanwhile, as it does
    /// when a machine is suspended.
    span: Duration,
    meanwhile: Meanwhile,
}

/// What the sleeper did after it woke, and how everything ended.
struct Woken {
    /// Calls since it woke, to its end.
    calls: Vec<String>,
    said: Said,
    ended: Ended,
    /// Writes whose signature AWS no longer took: `<operation>`.
    refused: Vec<String>,
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap())).expect("it runs");
    kill_process(pid, signal).unwrap();
}

/// Which call in the dry run of `plot` is the one that `at` names.
async fn number_of(plot: Plot, (word, which): (&str, usize)) -> u64 {
    let dry = voyage(plot, None).await;
    let found = dry.calls.iter().enumerate().filter(|(_, call)| *call == word).nth(which - 1);
    let (index, _) = found.unwrap_or_else(|| panic!("no {word} number {which} in {}", dry.calls.join(", ")));
    u64::try_from(index).unwrap() + 1
}

/// Lets one process sleep, and everything come to rest after it.
async fn sleep(sleep: &Sleep) -> Woken {
    let next = number_of(sleep.plot, sleep.at).await;
    let mut voyage = Voyage::begin(sleep.plot, 2).await;
    voyage.kill_at(Hold { next, moment: sleep.moment });
    // Processes run until one makes that call.
    let (child, held) = voyage.until_held(30).await;
    assert!(held.call.call == sleep.at.0.rsplit(' ').next().unwrap() || sleep.moment == Moment::Before, "{held:?}");
    signal(&child, Signal::STOP);
    voyage.world.pass(sleep.span).await;
    if sleep.meanwhile == Meanwhile::Another {
        let (said, _) = voyage.world.run(&["once"]).await;
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

async fn check(one: Sleep, judge: impl FnOnce(&Woken) -> bool) {
    let woken = sleep(&one).await;
    let told = tell(&format!("{one:?}"), &woken.ended);
    let what = format!(
        "{told}\n  after it woke: {}\n  refused: {:?}\n{}",
        woken.calls.join(", "),
        woken.refused,
        woken.said.text
    );
    assert!(woken.ended.violations.is_empty(), "{what}");
    assert!(judge(&woken), "the refusal was not seen: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_that_comes_late_is_refused_by_aws() {
    for (span, meanwhile) in [(6, Meanwhile::Nothing), (16, Meanwhile::Another), (180, Meanwhile::Another)] {
        let at = ("keycard zone_token", 1);
        let span = MINUTE * span;
        let one = Sleep { plot: Plot::Rotation, at, moment: Moment::After, span, meanwhile };
        check(one, |woken| woken.refused == ["UpdateSecretVersionStage"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_value_that_comes_late_is_refused_by_aws() {
    for (span, meanwhile) in [(6, Meanwhile::Nothing), (16, Meanwhile::Another)] {
        let at = ("keycard zone_token", 1);
        let span = MINUTE * span;
        let one = Sleep { plot: Plot::First, at, moment: Moment::After, span, meanwhile };
        // It ends its own, which nobody can know.
        check(one, |woken| woken.refused == ["PutSecretValue"] && has(&woken.calls, "keycard delete_credential")).await;
    }
}
