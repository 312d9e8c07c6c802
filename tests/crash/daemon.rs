//! The same for the daemon: killed at a call, and started again as a service manager does. Time
//! passes by itself here, and leaps where nothing but a date is waited for.

use std::sync::Arc;
use std::time::Duration;

use keyferry::model::time::Clock;
use keyferry::sandbox::gate::Hold;

use crate::plot::{Ended, Plot, moments};
use crate::kind::Kind;
use crate::world::{LeapClock, Setting, World};
use crate::{all, some};

/// Seconds that pass in one: a minute's fence is a third of a second.
const SPEED: u32 = 200;
/// Calls that a first creation, or a rotation until the old one waits for its end, takes about.
const CALLS: usize = 28;
/// Between two looks at how things stand, in the services' time.
const LOOK: Duration = Duration::from_secs(20);
/// More looks than any way back to rest takes: two days.
const LOOK_COUNT_MAX: usize = 8_640;

/// One voyage of the daemon, on which it is killed at this call.
async fn voyage(plot: Plot, hold: Hold) -> (String, Ended) {
    let name = format!("daemon, {plot:?}, {hold:?}");
    let clock = Arc::new(LeapClock::at_speed(SPEED));
    let world = World::on(clock.clone(), Setting { kind: Kind::Named, replicas: 1, sleepers: false }, 2).await;
    let gate = &world.sandbox.world.gate;
    let mut first = None;
    let mut child = world.start_at(&["run"], SPEED);
    if plot == Plot::Rotation {
        for _ in 0..LOOK_COUNT_MAX {
            clock.sleep(LOOK).await;
            if world.judge.at_rest(false).is_empty() {
                break;
            }
        }
        first = world.judge.current();
        clock.leap(Duration::from_secs(30 * 86_400 + 60));
    }
    gate.hold(hold);
    let mut killed = None;
    let mut processes = 1;
    let mut leapt = false;
    let mut rests = false;
    for _ in 0..LOOK_COUNT_MAX {
        tokio::select! {
            biased;
            held = gate.until_held() => {
                child.kill().await.unwrap();
                gate.cut();
                world.heard(child).await;
                killed = Some((format!("{} {}", held.call.service, held.call.call), held.moment));
                child = world.start_at(&["run"], SPEED);
                processes += 1;
            }
            () = clock.sleep(LOOK) => {}
        }
        world.sandbox.consumer.round().await;
        if !leapt && world.judge.waits() {
            // Two values live, and nothing happens for three hours.
            leapt = true;
            clock.leap(Duration::from_secs(3 * 3_600));
        }
        let replaced = plot == Plot::First || world.judge.current() != first;
        rests = killed.is_some() && replaced && world.judge.at_rest(false).is_empty();
        if rests {
            break;
        }
    }
    child.kill().await.unwrap();
    let said = world.heard(child).await;
    world.sandbox.consumer.round().await;
    if !rests {
        world.judge.blame(format!("it does not come to rest: {:?} {}", world.judge.at_rest(false), said.text));
    }
    if world.sandbox.consumer.failure_count() > 0 {
        world.judge.blame(format!("the consumer failed: {:?}", world.sandbox.consumer.tally()));
    }
    let (calls, violations) = (world.judge.calls(), world.judge.violations());
    (name, Ended { calls, kills: usize::from(killed.is_some()), killed, violations, processes })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_is_killed_and_started_again() {
    for plot in [Plot::First, Plot::Rotation] {
        let voyages = some(moments(CALLS), 14).into_iter().map(|hold| voyage(plot, hold)).collect();
        all(&format!("{plot:?}, the daemon"), voyages).await;
    }
}
