//! The daemon for show, until Ctrl-C: what it does is told line by line, and on a terminal `k` kills
//! it in the middle of a rotation and starts it again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::report::say;
use crate::cli::sandbox::daemon::Daemon;
use crate::cli::sandbox::keys::{Key, Keyboard};
use crate::cli::signals::told_to_stop;
use crate::model::time::{Timestamp, human};
use crate::sandbox::gate::{Held, Hold, Moment};
use crate::sandbox::stage::Sandbox;

/// Real time between the lines that say how things stand.
const TELL_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for the daemon's status page.
const STATUS_TIMEOUT: Duration = Duration::from_millis(400);
/// Calls that begin something: a claim or a first value, and the end of an overlap.
const BEGINNINGS: [&str; 2] = ["PutSecretValue", "UpdateSecretVersionStage"];
/// A rotation takes about so many calls from its claim on.
const CALLS_OF_A_ROTATION: u64 = 24;

/// Shows the daemon until somebody says stop, and stops it. Gives the code of a daemon that ended
/// by itself.
pub(super) async fn show(
    sandbox: &Sandbox,
    mut daemon: Daemon,
    seed: u64,
    every: Option<Duration>,
) -> anyhow::Result<Option<u8>> {
    let mut keyboard = Keyboard::open();
    if keyboard.is_some() {
        say("k kills the daemon in the middle of a rotation and starts it again; Ctrl-C ends everything.\n");
    } else {
        say("Ctrl-C ends it; nothing is kept.\n");
    }
    let mut killer = Killer { dice: fastrand::Rng::with_seed(seed), plan: Plan::Nothing, kills: 0 };
    let mut told = Told::new();
    let mut tell = tokio::time::interval(TELL_PAUSE);
    tell.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut by_itself = every.map(tokio::time::interval);
    if let Some(interval) = &mut by_itself {
        // The first tick would be now.
        interval.reset();
    }
    let mut stop = std::pin::pin!(stopped());
    loop {
        tokio::select! {
            () = &mut stop => break,
            status = daemon.ended() => {
                let status = status?;
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                say(format_args!("the daemon ended by itself: {status}"));
                return Ok(Some(code.unwrap_or(crate::cli::code::BUG)));
            }
            held = sandbox.world.gate.until_held() => killer.struck(sandbox, &mut daemon, &held).await?,
            key = pressed(keyboard.as_mut()) => match key {
                Key::Kill => killer.ask(sandbox),
                Key::Other => say("k kills the daemon and starts it again; Ctrl-C ends everything"),
            },
            () = tick(by_itself.as_mut()) => killer.ask(sandbox),
            _ = tell.tick() => told.changes(sandbox, &daemon).await,
        }
    }
    drop(keyboard);
    say("\nstopping");
    sandbox.world.gate.release();
    daemon.stop().await;
    if killer.kills > 0 {
        say(format_args!("the daemon was killed {} times", killer.kills));
    }
    Ok(None)
}

async fn stopped() {
    match signal(SignalKind::quit()) {
        Ok(mut quit) => tokio::select! {
            () = told_to_stop() => {}
            _ = quit.recv() => {}
        },
        Err(_) => told_to_stop().await,
    }
}

async fn pressed(keyboard: Option<&mut Keyboard>) -> Key {
    match keyboard {
        Some(keyboard) => keyboard.key().await,
        None => std::future::pending().await,
    }
}

async fn tick(interval: Option<&mut tokio::time::Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// Kills the daemon when asked, in the middle of something.
struct Killer {
    dice: fastrand::Rng,
    plan: Plan,
    kills: u64,
}

/// What is to come of a held call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Nothing,
    /// Something begins: throw the dice.
    Begin,
    /// The point that the dice chose.
    Strike,
}

impl Killer {
    fn ask(&mut self, sandbox: &Sandbox) {
        match self.plan {
            Plan::Nothing => {
                self.plan = Plan::Begin;
                for call in BEGINNINGS {
                    let call = Some(call.to_owned());
                    sandbox.world.gate.hold(Hold { next: 1, moment: Moment::Before, call });
                }
                say(format_args!("{}  k: as soon as a rotation or a revocation is under way", sandbox.world.now()));
            }
            Plan::Begin | Plan::Strike => say("k: it will be killed in a moment"),
        }
    }

    async fn struck(&mut self, sandbox: &Sandbox, daemon: &mut Daemon, held: &Held) -> anyhow::Result<()> {
        let gate = &sandbox.world.gate;
        let further = self.dice.u64(0..=CALLS_OF_A_ROTATION);
        if self.plan == Plan::Begin && further > 0 {
            self.plan = Plan::Strike;
            let moment = if self.dice.bool() { Moment::Before } else { Moment::After };
            gate.release();
            gate.hold(Hold { next: further, moment, call: None });
            return Ok(());
        }
        daemon.kill().await?;
        gate.cut();
        daemon.start_again()?;
        self.plan = Plan::Nothing;
        self.kills += 1;
        let became = match held.moment {
            Moment::Before => "before it was applied",
            Moment::After => "applied, reply lost",
        };
        let (now, call) = (sandbox.world.now(), &held.call);
        say(format_args!("{now}  killed at {} {}, {became}; started again", call.service, call.call));
        Ok(())
    }
}

/// The daemon's status page, as far as it is told here.
#[derive(Deserialize)]
struct Page {
    credentials: Vec<Row>,
}

/// One credential on the daemon's status page, as far as it is told here.
#[derive(Deserialize)]
struct Row {
    name: String,
    state: String,
    reason: String,
    message: String,
    live: usize,
    since: Option<String>,
}

/// What was told already: a line is printed for each change of a credential.
struct Told {
    client: reqwest::Client,
    last: BTreeMap<String, (String, usize, Option<String>)>,
    lines: usize,
}

impl Told {
    fn new() -> Self {
        // Plain http on loopback: neither proxies nor CA certificates have a say.
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(STATUS_TIMEOUT);
        let client = builder.build().expect("a client without options of its own is buildable");
        Self { client, last: BTreeMap::new(), lines: 0 }
    }

    /// Asks the daemon. One that is just starting does not answer yet.
    async fn changes(&mut self, sandbox: &Sandbox, daemon: &Daemon) {
        let asked = self.client.get(format!("http://{}/status.json", daemon.address())).send().await;
        let Ok(answer) = asked else { return };
        let Ok(page) = answer.json::<Page>().await else { return };
        for row in page.credentials {
            self.change(sandbox, row);
        }
    }

    fn change(&mut self, sandbox: &Sandbox, row: Row) {
        // A fresh daemon has not seen anything yet; what it says first is nothing new.
        let now = (row.reason, row.live, row.since.clone());
        if self.last.get(&row.name) == Some(&now) {
            return;
        }
        let before = self.last.insert(row.name.clone(), now);
        let date = sandbox.world.now();
        let since = row.since.as_deref().and_then(Timestamp::parse_rfc3339);
        let what = match before {
            Some((_, _, since)) if since.is_some() && since != row.since => "rotated: ",
            Some((_, live, _)) if live > row.live => "an older one is revoked: ",
            Some(_) | None => "",
        };
        say(format_args!(
            "{date}  {:<22} {:<9} {what}{}; {} live, current for {}",
            row.name,
            row.state,
            row.message,
            row.live,
            since.map_or_else(|| "-".into(), |since| human(date.since(since))),
        ));
        self.lines += 1;
        if self.lines.is_multiple_of(10) {
            let (logins, failures) = sandbox.consumed();
            say(format_args!("{date}  consumer: {logins} logins, {failures} failures"));
        }
    }
}
