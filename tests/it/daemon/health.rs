//! What counts as alive and as ready, on a clock of our own.

use std::sync::Arc;
use std::time::Duration;

use keyferry::config;
use keyferry::engine::Engine;
use keyferry::engine::pulse::Pulses;
use keyferry::model::time::Clock;
use keyferry::serve::Health;

use crate::stage::HandClock;

type Happens = fn(&Health, &Pulses);

#[tokio::test]
async fn what_is_silent_for_too_long_hangs_and_what_ended_does_not() {
    let declaration = config::load(std::path::Path::new("config/sandbox.toml")).unwrap().declaration;
    let clock = Arc::new(HandClock::default());
    let engine = Engine::open(Arc::new(declaration), clock.clone()).await.unwrap();
    let health = Health::new(clock.clone(), Duration::from_secs(60));
    // (seconds that pass, what happens then, what hangs after it)
    let rows: [(u64, Happens, Option<&str>); 9] = [
        (0, |_, pulses| pulses.beat("app"), None),
        (60, |health, _| health.turn(), None),
        (1, |health, _| health.turn(), Some("`app` for 1m 1s")),
        (1, |_, pulses| pulses.beat("app"), None),
        (38, |health, _| health.turn(), None),
        (30, |health, _| health.turn(), Some("`app` for 1m 8s")),
        (1, |_, pulses| pulses.end("app"), None),
        (59, |_, pulses| pulses.beat("other"), None),
        (2, |_, _| {}, Some("`the work loop` for 1m 2s")),
    ];
    for (number, (passes, happens, hangs)) in rows.into_iter().enumerate() {
        clock.advance(Duration::from_secs(passes));
        happens(&health, engine.pulses());
        let said = health.hangs(&engine);
        assert_eq!(said.is_some(), hangs.is_some(), "row {number}: {said:?}");
        assert!(hangs.is_none_or(|words| said.as_ref().unwrap().contains(words)), "row {number}: {said:?}");
    }
    // Ready only when nothing is missing, and each thing that is has its line.
    let missing = || health.missing(&engine).join("; ");
    health.turn();
    assert_eq!(missing(), "the first pass over the fleet is not finished");
    health.passed();
    assert_eq!(missing(), "");
    health.declared(Err("keyferry.toml:1:1: broken".into()));
    assert_eq!(missing(), "the declaration on disk is not in force: keyferry.toml:1:1: broken");
    health.declared(Ok(()));
    health.stopping();
    assert_eq!((missing().as_str(), clock.monotonic().as_secs()), ("it was told to stop", 192));
}
