//! A relay in front of one service, that breaks the wire where a row says so. It knows where a request
//! and an answer end, and nothing of what they mean.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What goes wrong on the wire.
#[derive(Clone)]
pub enum Wrong {
    /// Nothing.
    Nothing,
    /// The connection is reset as soon as it is there.
    ResetAtOnce,
    /// It is reset when the head of the request has arrived; the service never sees it.
    ResetAfterHead,
    /// It is reset when the whole request has arrived; the service never sees it.
    ResetAfterRequest,
    /// It is closed properly when the whole request has arrived; the service never sees it.
    CloseAfterRequest,
    /// The service answers, and of the answer's bytes only this share (in percent) arrives before a reset.
    ResetWithin(usize),
    /// The same before a proper end.
    CutWithin(usize),
    /// The service answers, and the answer says that its body is so many bytes longer than it is.
    LengthOff(i64),
    /// The service answers, and this comes before its answer.
    Before(&'static [u8]),
    /// The service answers, and its answer comes with these header lines besides.
    Lines(String),
    /// The service answers, and its answer comes twice.
    Twice,
    /// The service answers, and its answer comes in these chunks instead of its body.
    Chunks(&'static [u8]),
    /// The service answers, and the body of its answer is this.
    Body(&'static str, Vec<u8>),
    /// The service answers, and a part of its JSON is another.
    Json(Arc<dyn Fn(Value) -> Value + Send + Sync>),
    /// Something between answers so, and the service never sees it.
    Instead(Vec<u8>),
    /// Something between says this and then this again and again.
    Endless(&'static [u8], &'static [u8]),
    /// Something between answers no byte and keeps the connection.
    Silence,
}

/// A row's fault: which requests, by a part of their head, and what becomes of them.
#[derive(Clone)]
pub struct Fault {
    pub of: &'static str,
    pub wrong: Wrong,
}

/// The relay. It ends with its runtime.
pub struct Relay {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: SocketAddr,
    /// How the relay is reached, by clients.
    base: String,
    tls: Option<TlsAcceptor>,
    fault: Mutex<Option<Fault>>,
    seen: Mutex<Vec<String>>,
}

/// What comes after the bytes of an answer.
enum End {
    Keep,
    Close,
    Reset,
}

impl Relay {
    /// In front of the service at `upstream`; with `tls`, under a name that the certificate has.
    pub async fn before(upstream: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = match tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let inner = Arc::new(Inner { upstream, base, tls, fault: Mutex::default(), seen: Mutex::default() });
        let own = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&own).serve(stream));
            }
        });
        Self { address, inner }
    }

    /// Its address as a client writes it.
    pub fn base(&self) -> &str {
        &self.inner.base
    }

    /// From now on this goes wrong, or nothing.
    pub fn breaks(&self, fault: Option<Fault>) {
        *self.inner.fault.lock().unwrap() = fault;
        self.inner.seen.lock().unwrap().clear();
    }

    /// How many requests came since then whose head has this in it.
    pub fn count(&self, of: &str) -> usize {
        self.inner.seen.lock().unwrap().iter().filter(|head| head.contains(of)).count()
    }
}

impl Inner {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let wrong = self.fault.lock().unwrap().as_ref().map(|fault| fault.wrong.clone());
        if matches!(wrong, Some(Wrong::ResetAtOnce)) {
            return reset(&stream);
        }
        match &self.tls {
            None => self.talk(stream, reset).await,
            Some(acceptor) => {
                // A handshake that the client refuses is the row's own point.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                self.talk(stream, |stream| reset(stream.get_ref().0)).await;
            }
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, reset: impl Fn(&S)) {
        let mut buffer = Vec::new();
        loop {
            let Some(end) = head_of(&mut stream, &mut buffer).await else { return };
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            self.seen.lock().unwrap().push(head.clone());
            let fault = self.fault.lock().unwrap().clone().filter(|fault| head.contains(fault.of));
            let wrong = fault.map_or(Wrong::Nothing, |fault| fault.wrong);
            if matches!(wrong, Wrong::ResetAfterHead) {
                return reset(&stream);
            }
            let Some(rest) = body_of(&mut stream, &mut buffer, end, &head).await else { return };
            let request: Vec<u8> = buffer.drain(..rest).collect();
            let (bytes, end) = match wrong {
                Wrong::ResetAfterRequest => return reset(&stream),
                Wrong::CloseAfterRequest => return,
                Wrong::Instead(bytes) => (bytes, End::Close),
                Wrong::Silence => return std::future::pending().await,
                Wrong::Endless(start, again) => {
                    let mut more = stream.write_all(start).await;
                    while more.is_ok() {
                        more = stream.write_all(&again.repeat(64)).await;
                        // Who only waits should not burn a processor meanwhile.
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    return;
                }
                wrong => spoilt(&wrong, &self.pass_on(&request).await),
            };
            // Who has heard enough hangs up.
            let written = stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok();
            match end {
                End::Keep if written => {}
                End::Reset => return reset(&stream),
                End::Keep | End::Close => {
                    let _ = stream.shutdown().await;
                    return;
                }
            }
        }
    }

    /// The service's answer, as it would have been: head and body.
    async fn pass_on(&self, request: &[u8]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.upstream).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut buffer = Vec::new();
        let Some(end) = head_of(&mut stream, &mut buffer).await else {
            return ("HTTP/1.1 599 the service hung up\r\n\r\n".into(), Vec::new());
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        body_of(&mut stream, &mut buffer, end, &head).await;
        // What leads to the service leads to the relay.
        let body = String::from_utf8_lossy(&buffer[end..]).replace(&format!("http://{}", self.upstream), &self.base);
        (with_length(&head, body.len() as i64), body.into_bytes())
    }
}

/// The bytes that arrive instead of an answer, and how they end.
fn spoilt(wrong: &Wrong, (head, body): &(String, Vec<u8>)) -> (Vec<u8>, End) {
    let whole = || [head.as_bytes(), body].concat();
    let within = |share: usize| {
        let mut bytes = whole();
        bytes.truncate(bytes.len() * share / 100);
        bytes
    };
    let anew = |head: &str, body: &[u8]| [with_length(head, body.len() as i64).as_bytes(), body].concat();
    match wrong {
        Wrong::ResetWithin(share) => (within(*share), End::Reset),
        Wrong::CutWithin(share) => (within(*share), End::Close),
        Wrong::LengthOff(more) => {
            let head = with_length(head, body.len() as i64 + more);
            ([head.as_bytes(), body].concat(), End::Close)
        }
        Wrong::Before(bytes) => ([*bytes, &whole()].concat(), End::Keep),
        Wrong::Lines(lines) => {
            let head = head.replacen("\r\n", &format!("\r\n{lines}"), 1);
            ([head.as_bytes(), body].concat(), End::Close)
        }
        Wrong::Twice => ([whole(), whole()].concat(), End::Close),
        Wrong::Chunks(bytes) => {
            let head =
                without(head.into(), "content-length:").replacen("\r\n", "\r\nTransfer-Encoding: chunked\r\n", 1);
            ([head.as_bytes(), bytes].concat(), End::Close)
        }
        Wrong::Body(kind, bytes) => {
            // Where there was none, there is one now, and it is a 200.
            let rest =
                without(without(head.into(), "content-type:"), "content-length:").replace(" 204 No Content", " 200 OK");
            let lines = format!("\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", bytes.len());
            ([rest.replacen("\r\n", &lines, 1).as_bytes(), bytes].concat(), End::Close)
        }
        Wrong::Json(change) => match serde_json::from_slice(body) {
            Ok(value) => (anew(head, change(value).to_string().as_bytes()), End::Keep),
            Err(_) => (whole(), End::Keep),
        },
        // Those that never reach the service end before.
        _ => (whole(), End::Keep),
    }
}

fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// Where the head of what arrives ends.
async fn head_of(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(at + 4);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Where its body ends.
async fn body_of(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    head_end: usize,
    head: &str,
) -> Option<usize> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head_end + length.unwrap_or(0);
    while buffer.len() < end {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(end)
}

/// The head without a line that begins so.
fn without(head: String, begin: &str) -> String {
    head.split_inclusive("\r\n").filter(|line| !line.to_lowercase().starts_with(begin)).collect()
}

/// The head with this length, where it said one.
fn with_length(head: &str, length: i64) -> String {
    if !head.to_lowercase().contains("content-length:") {
        return head.to_owned();
    }
    without(head.into(), "content-length:").replacen("\r\n", &format!("\r\nContent-Length: {length}\r\n"), 1)
}
