//! For tests: a listener on loopback that answers each request with the bytes it is told to, and
//! keeps what it was sent. Knows no HTTP but where a request ends, so that it can break every rule.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `GET /path HTTP/1.1`.
    pub line: String,
    /// All header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What to do with one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Send these bytes, then close.
    Bytes(Vec<u8>),
    /// Say 200, then send JSON whitespace without end.
    Endless,
    /// Send these bytes and no more, but keep the connection.
    Stall(Vec<u8>),
}

/// The date that [`reply`] puts into every answer.
pub(crate) const DATE: &str = "Sat, 21 Nov 2026 07:00:00 GMT";

/// A proper answer: status, extra header lines (each with its line break), body.
pub(crate) fn reply(status: u16, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nDate: {DATE}\r\nContent-Length: {length}\r\nConnection: close\r\n");
    Reply::Bytes(format!("{head}{headers}\r\n{body}").into_bytes())
}

/// A proper answer with a JSON body.
pub(crate) fn json(status: u16, body: &serde_json::Value) -> Reply {
    reply(status, "Content-Type: application/json\r\n", &body.to_string())
}

/// Answers that a vendor's documentation does not know, or that something in front of it gives: each
/// status with each body. Who calls says which of them is an answer, and takes none of the rest for one.
pub(crate) fn odd_answers() -> Vec<(u16, &'static str, Reply)> {
    const STATUSES: [u16; 6] = [200, 201, 202, 206, 404, 410];
    const BODIES: [(&str, &str); 13] = [
        ("", ""),
        ("text/html", "<html>CANARY it works</html>"),
        ("text/plain", "Accepted"),
        ("application/json", "null"),
        ("application/json", "true"),
        ("application/json", "[]"),
        ("application/json", "{}"),
        ("application/json", r#"{"id":"another"}"#),
        ("application/json", r#"{"id":"c1","error":"CANARY no"}"#),
        ("application/json", r#"{"error":"not_found"}"#),
        ("application/json", r#"{"message":5,"code":"NOT_FOUND"}"#),
        ("application/json", r#"{"message":"Not found.","entity_id":"another"}"#),
        ("application/json", r#"{"message":"Not fou"#),
    ];
    let all = STATUSES.iter().flat_map(|status| BODIES.iter().map(move |(kind, body)| (*status, *kind, *body)));
    all.map(|(status, kind, body)| (status, body, reply(status, &format!("Content-Type: {kind}\r\n"), body))).collect()
}

/// A running listener; ends with the test's runtime.
pub(crate) struct Responder {
    /// `http://127.0.0.1:<port>`.
    pub base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Responder {
    /// Starts to answer; `script` sees the base address and each request.
    pub(crate) async fn start(script: impl Fn(&str, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log, own) = (Arc::new(script), Arc::clone(&seen), base.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log, own) = (Arc::clone(&script), Arc::clone(&log), own.clone());
                tokio::spawn(async move { serve(stream, &*script, &log, &own).await });
            }
        });
        Self { base, seen }
    }

    /// Everything that arrived, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests arrived whose line starts so.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.seen().iter().filter(|seen| seen.line.starts_with(start)).count()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &(impl Fn(&str, &Seen) -> Reply + Send + Sync),
    log: &Mutex<Vec<Seen>>,
    base: &str,
) {
    let Some(seen) = receive(&mut stream).await else { return };
    log.lock().unwrap().push(seen.clone());
    match script(base, &seen) {
        Reply::Bytes(bytes) => drop(stream.write_all(&bytes).await),
        Reply::Endless => {
            let head = format!("HTTP/1.1 200 X\r\nDate: {DATE}\r\nConnection: close\r\n\r\n");
            let mut sent = stream.write_all(head.as_bytes()).await;
            while sent.is_ok() {
                sent = stream.write_all(&[b' '; 64 * 1024]).await;
            }
        }
        Reply::Stall(bytes) => {
            let mut nothing = [0; 64];
            let _ = stream.write_all(&bytes).await;
            while stream.read(&mut nothing).await.is_ok_and(|count| count > 0) {}
        }
    }
    let _ = stream.shutdown().await;
}

async fn receive(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let mut lines = head.split("\r\n");
            let line = lines.next()?.to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let mut seen = Seen { line, headers, body: String::new() };
            let length = seen.header("content-length").map_or(0, |value| value.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                seen.body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
                return Some(seen);
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}
