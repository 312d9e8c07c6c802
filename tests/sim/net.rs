//! The network of a world: it carries requests to the services, and it is where everything goes
//! wrong that can go wrong on the way. Every request takes a little time, drawn from the seed, so
//! that calls of several processes mix in another order in every world.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use keyferry::model::time::Timestamp;
use keyferry::model::transport::{Exchange, Transport, Unanswered};
use keyferry::sandbox::faults::{Effect, Rule};
use keyferry::sandbox::line;
use tokio::sync::mpsc;

use crate::judge::Judge;
use crate::services::{Point, Services};
use crate::time::shown;

/// Number of a process.
pub type Process = usize;

/// What is wrong with one service for a while.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trouble {
    /// It takes connections and never answers.
    Mute,
    /// Nobody listens.
    Down,
    /// Every answer takes up to 15 seconds.
    Slow,
    /// Some requests, and some answers, get lost.
    Lossy,
    /// Some requests arrive after the client has given up.
    Late,
    /// Some calls are refused with 500.
    Failing,
    /// Many calls are answered 429, "come back in a minute and a half".
    Throttling,
    /// Every other listing is answered so: each takes that long.
    ThrottledLists,
    /// Reads are answered from an older state.
    Stale,
    /// A proxy answers deletes itself, with 200 or 202 and something else than the vendor says.
    LyingDeletes,
    /// Some answers are cut, empty, or pages of HTML.
    Malformed,
}

impl Trouble {
    /// Whether everything still gets done, if slowly.
    pub fn is_mild(self) -> bool {
        matches!(self, Self::Slow | Self::ThrottledLists)
    }

    pub const ALL: [Self; 11] = [
        Self::Mute,
        Self::Down,
        Self::Slow,
        Self::Lossy,
        Self::Late,
        Self::Failing,
        Self::Throttling,
        Self::ThrottledLists,
        Self::Stale,
        Self::LyingDeletes,
        Self::Malformed,
    ];
}

/// One request that was applied.
pub struct Call<'a> {
    pub process: Process,
    /// The target or vendor instance.
    pub at: &'a str,
    pub aws: bool,
    pub what: &'a str,
    pub body: &'a Bytes,
    pub write: bool,
}

/// A wish to end a process at one of its next calls.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    /// So many of its writes pass first.
    pub writes: u32,
    /// Whether the last one is applied.
    pub applied: bool,
}

pub struct Net {
    pub services: Services,
    pub judge: Mutex<Judge>,
    dice: Mutex<fastrand::Rng>,
    troubles: Mutex<BTreeMap<String, Trouble>>,
    traps: Mutex<BTreeMap<Process, Trap>>,
    /// Listings so far at a service that throttles them.
    turns: Mutex<BTreeMap<String, u64>>,
    /// Processes that ended at a trap.
    fallen: mpsc::UnboundedSender<Process>,
    pub journal: Mutex<Journal>,
}

/// What happened, for whoever replays a world.
#[derive(Default)]
pub struct Journal {
    pub calls: u64,
    digest: u64,
    pub lines: Option<Vec<String>>,
}

impl Journal {
    /// Notes a line; it counts for the digest even where nobody keeps it.
    pub fn note(&mut self, line: String) {
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// Two worlds with the same digest went the same way.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

/// What becomes of one request.
struct Fate {
    before: Duration,
    after: Duration,
    way: Way,
}

enum Way {
    Through,
    Never,
    Unsent,
    LostBefore,
    LostAfter,
    LateBy(Duration),
    Instead(u16, &'static str, &'static str),
}

impl Net {
    pub fn new(services: Services, judge: Judge, seed: u64, fallen: mpsc::UnboundedSender<Process>) -> Self {
        Self {
            services,
            judge: Mutex::new(judge),
            dice: Mutex::new(fastrand::Rng::with_seed(seed)),
            troubles: Mutex::default(),
            traps: Mutex::default(),
            turns: Mutex::default(),
            fallen,
            journal: Mutex::default(),
        }
    }

    /// Notes something in the journal, with its moment.
    pub fn note(&self, what: &str) {
        let line = format!("{} {what}", shown(self.services.time.elapsed()));
        self.journal.lock().unwrap().note(line);
    }

    /// Begins or ends a trouble of a service.
    pub fn trouble(&self, name: &str, trouble: Option<Trouble>) {
        let Some(point) = self.services.points.values().find(|point| point.name == name) else { return };
        let mut troubles = self.troubles.lock().unwrap();
        let mut faults = point.faults.lock().unwrap();
        faults.clear();
        match trouble {
            None => drop(troubles.remove(name)),
            Some(trouble) => {
                for (chance, effect) in rules(trouble, point.aws) {
                    faults.add(Rule {
                        service: "*".into(),
                        operation: if trouble == Trouble::Stale && point.aws { "DescribeSecret" } else { "*" }.into(),
                        skip: 0,
                        times: 0,
                        chance,
                        effect,
                    });
                }
                troubles.insert(name.into(), trouble);
            }
        }
        drop((faults, troubles));
        self.judge.lock().unwrap().troubled(name, trouble);
    }

    /// Ends a process at one of its next writes.
    pub fn trap(&self, process: Process, trap: Trap) {
        self.traps.lock().unwrap().insert(process, trap);
    }

    fn draw(&self, point: &Point, what: &str) -> Fate {
        let mut dice = self.dice.lock().unwrap();
        let ms = |dice: &mut fastrand::Rng, most: u64| Duration::from_millis(dice.u64(2..=most));
        let (mut before, mut after) = (ms(&mut dice, 120), ms(&mut dice, 60));
        let trouble = self.troubles.lock().unwrap().get(&point.name).copied();
        let way = match trouble {
            Some(Trouble::Mute) => Way::Never,
            Some(Trouble::Down) => Way::Unsent,
            Some(Trouble::Slow) => {
                before = ms(&mut dice, 4_000);
                after = ms(&mut dice, 11_000);
                Way::Through
            }
            Some(Trouble::Lossy) => match dice.usize(..10) {
                0 => Way::LostBefore,
                1 => Way::LostAfter,
                _ => Way::Through,
            },
            Some(Trouble::Late) => match dice.usize(..10) {
                0 => Way::LateBy(ms(&mut dice, 100_000)),
                _ => Way::Through,
            },
            Some(Trouble::ThrottledLists) if is_list(what) => {
                let mut turns = self.turns.lock().unwrap();
                let turn = turns.entry(point.name.clone()).or_default();
                *turn += 1;
                if *turn % 2 == 1 { Way::Instead(429, "retry-after", "90") } else { Way::Through }
            }
            Some(Trouble::LyingDeletes) if what.starts_with("DELETE ") => {
                let (status, body) = [
                    (200, "<html><body>ok</body></html>"),
                    (200, ""),
                    (200, "{}"),
                    (200, "{\"id\":\"another\"}"),
                    (200, "{\"error\":\"nothing\"}"),
                    (202, ""),
                ][dice.usize(..6)];
                Way::Instead(status, "x-proxy", body)
            }
            Some(Trouble::Malformed) if dice.usize(..8) == 0 => match dice.usize(..3) {
                0 => Way::Instead(502, "x-proxy", "<html><body><h1>502 Bad Gateway</h1></body></html>"),
                1 => Way::Instead(200, "x-proxy", ""),
                _ => Way::Instead(200, "x-proxy", "[1,"),
            },
            _ => Way::Through,
        };
        Fate { before, after, way }
    }

    async fn carry(
        &self,
        process: Process,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Unanswered> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let point = self.services.points.get(&authority).ok_or(Unanswered::Unsent)?;
        let what = asked(&request);
        let write = is_write(&request, &what);
        let fate = self.draw(point, &what);
        tokio::time::sleep(fate.before).await;
        let trapped = write.then(|| self.sprung(process)).flatten();
        if trapped == Some(false) {
            return self.fall(process).await;
        }
        match fate.way {
            Way::Never => return std::future::pending().await,
            Way::Unsent => return Err(Unanswered::Unsent),
            Way::LostBefore => return Err(Unanswered::Lost),
            Way::Instead(status, name, text) => return Ok(self.instead(point, status, name, text)),
            Way::LateBy(span) => {
                tokio::time::sleep(span).await;
            }
            Way::Through | Way::LostAfter => {}
        }
        let body = request.body().clone();
        let answer = line::ask(&point.router, request).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        let call = Call { process, at: &point.name, aws: point.aws, what: &what, body: &body, write };
        self.applied(&call, status);
        if trapped == Some(true) {
            return self.fall(process).await;
        }
        tokio::time::sleep(fate.after).await;
        match (fate.way, answer) {
            (Way::LostAfter, _) | (_, None) => Err(Unanswered::Lost),
            (_, Some(answer)) => Ok(answer),
        }
    }

    fn applied(&self, call: &Call<'_>, status: u16) {
        {
            let mut journal = self.journal.lock().unwrap();
            journal.calls += 1;
            let moment = shown(self.services.time.elapsed());
            let subject = subject(call.body);
            journal.note(format!("{moment} p{} {} {} {subject} -> {status}", call.process, call.at, call.what));
        }
        if call.write {
            self.judge.lock().unwrap().after(&self.services, call);
        }
    }

    /// Whether this write is the one at which the process ends: `Some(applied)`.
    fn sprung(&self, process: Process) -> Option<bool> {
        let mut traps = self.traps.lock().unwrap();
        let trap = traps.get_mut(&process)?;
        if trap.writes > 0 {
            trap.writes -= 1;
            return None;
        }
        traps.remove(&process).map(|trap| trap.applied)
    }

    async fn fall<T>(&self, process: Process) -> T {
        self.fallen.send(process).expect("the world outlives its processes");
        std::future::pending().await
    }

    fn instead(&self, point: &Point, status: u16, name: &str, text: &'static str) -> http::Response<Bytes> {
        let (header, body) = if name == "x-proxy" { ("yes", text) } else { (text, "") };
        let kind = if text.starts_with('<') { "text/html" } else { "application/json" };
        let builder = http::Response::builder().status(status).header("date", date(self.services.time.now()));
        let _ = point;
        builder.header("content-type", kind).header(name, header).body(Bytes::from_static(body.as_bytes())).unwrap()
    }
}

/// What the services themselves do wrong in a trouble.
fn rules(trouble: Trouble, aws: bool) -> Vec<(f64, Effect)> {
    match trouble {
        Trouble::Failing => {
            let code = if aws { "InternalServiceError" } else { "internal_server_error" };
            vec![(0.15, Effect::Refuse { status: 500, code: code.into() }), (0.05, Effect::FailAfter)]
        }
        Trouble::Throttling => vec![(0.4, Effect::Throttle { retry_after: Some("90".into()) })],
        Trouble::Stale => vec![(0.5, Effect::Stale)],
        _ => Vec::new(),
    }
}

fn asked(request: &http::Request<Bytes>) -> String {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok());
    match target.and_then(|target| target.split_once('.')) {
        Some((_, operation)) => operation.to_owned(),
        None => format!("{} {}", request.method(), request.uri().path()),
    }
}

fn is_write(request: &http::Request<Bytes>, what: &str) -> bool {
    if !what.contains(' ') {
        return !["Describe", "Get", "List", "BatchGet"].iter().any(|start| what.starts_with(start));
    }
    let login = ["token", "introspect"].iter().any(|word| what.ends_with(word));
    request.method() != http::Method::GET && !login
}

fn is_list(what: &str) -> bool {
    what.starts_with("List") || what.starts_with("GET ") && (what.contains("secret") || what.contains("credential"))
}

/// The secret that a request to AWS names, for the journal: never a value.
fn subject(body: &Bytes) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| json[key].as_str().map(|text| text.rsplit(':').next().unwrap_or(text).to_owned());
    let labels = json["VersionStages"].as_array().map(|all| format!(" {}", serde_json::json!(all)));
    let stage = json["VersionStage"].as_str().map(|stage| format!(" {stage}"));
    format!(
        "{}{}{}",
        text("SecretId").or(text("Name")).unwrap_or_default(),
        labels.unwrap_or_default(),
        stage.unwrap_or_default()
    )
}

fn date(now: Timestamp) -> String {
    now.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A process's way onto the network.
pub struct Wire {
    pub net: Arc<Net>,
    pub process: Process,
}

impl fmt::Debug for Wire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Wire({})", self.process)
    }
}

impl Transport for Wire {
    fn exchange(&self, request: http::Request<Bytes>) -> Exchange<'_> {
        let (net, process) = (Arc::clone(&self.net), self.process);
        let late = is_write(&request, &asked(&request));
        Box::pin(async move {
            // A request that is under way arrives, whatever becomes of the client that sent it.
            if late {
                let carried = tokio::spawn(async move { net.carry(process, request).await });
                return carried.await.unwrap_or(Err(Unanswered::Lost));
            }
            net.carry(process, request).await
        })
    }
}
