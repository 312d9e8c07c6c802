//! A scripted HTTP responder on loopback: records requests, plays answers, knows no semantics.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::START;
use crate::model::time::Timestamp;

#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Status, body and further header lines.
    Answer(u16, String, &'static str),
    /// Reads the request and hangs up.
    HangUp,
    /// Answers without end.
    Endless,
}

pub(super) fn ok(body: Value) -> Reply {
    Reply::Answer(200, body.to_string(), "")
}

pub(super) fn refuse(status: u16, code: &str, message: &str) -> Reply {
    Reply::Answer(status, json!({"__type": code, "message": message}).to_string(), "")
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) operation: String,
    pub(super) signed_at: String,
    pub(super) authorization: String,
    pub(super) body: Value,
}

pub(super) struct Responder {
    pub(super) url: String,
    script: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    pub(super) date: Arc<AtomicI64>,
}

impl Responder {
    pub(super) async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let responder = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            requests: Arc::default(),
            date: Arc::new(AtomicI64::new(START)),
        };
        let (script, requests, date) = (responder.script.clone(), responder.requests.clone(), responder.date.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), requests.clone(), date.clone()));
            }
        });
        responder
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn last(&self) -> Request {
        self.requests().pop().unwrap()
    }

    pub(super) fn then(&self, reply: Reply) {
        self.script.lock().unwrap().push_back(reply);
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    date: Arc<AtomicI64>,
) {
    let mut buffer = Vec::new();
    loop {
        let Some((request, used)) = read_request(&mut stream, &mut buffer).await else { return };
        buffer.drain(..used);
        requests.lock().unwrap().push(request);
        let reply = script.lock().unwrap().pop_front().unwrap_or_else(|| refuse(400, "ScriptIsOver", ""));
        let now = Timestamp::from_seconds(date.load(Ordering::SeqCst)).to_utc().format("%a, %d %b %Y %H:%M:%S GMT");
        match reply {
            Reply::HangUp => return,
            Reply::Answer(status, body, headers) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\ndate: {now}\r\nx-amzn-requestid: req-1\r\n\
                     content-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n{headers}\r\n",
                    body.len()
                );
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
            Reply::Endless => {
                let head = format!("HTTP/1.1 200 X\r\ndate: {now}\r\nconnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Request, usize)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let headers: BTreeMap<String, String> = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
            let length = header("content-length").parse().unwrap_or(0);
            let start = end + 4;
            if buffer.len() >= start + length {
                let body = &buffer[start..start + length];
                let request = Request {
                    operation: header("x-amz-target").trim_start_matches("secretsmanager.").to_owned(),
                    signed_at: header("x-amz-date"),
                    authorization: header("authorization"),
                    body: serde_json::from_slice(body)
                        .unwrap_or_else(|_| json!(String::from_utf8_lossy(body).into_owned())),
                };
                return Some((request, start + length));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
