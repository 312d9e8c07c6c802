//! The rows: what goes wrong on the wire, and what a call has to say of it, by what the call does to
//! the other side. A read is asked again; a create is sent once, and is in doubt unless it surely did
//! nothing; what may be repeated is repeated, and in doubt at the end.

use crate::relay::Wrong;

/// What a call comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Becomes {
    /// It worked.
    Good,
    Retry,
    InDoubt,
    Denied,
    Rejected,
    /// The vendor does not know it.
    Gone,
}

use Becomes::{Denied, Good, InDoubt, Rejected, Retry};

/// One row.
pub struct Row {
    pub what: &'static str,
    pub wrong: Wrong,
    /// What a read, a create and an end come to. Both vendors confirm an end with a 204, which has no
    /// body that could break; nothing else ends anything.
    pub becomes: [Becomes; 3],
    /// Each of these stands in the message, whatever the call; words with `|` between them are
    /// alternatives.
    pub words: &'static [&'static str],
}

const LOST: [Becomes; 3] = [Retry, InDoubt, InDoubt];
const FINE: [Becomes; 3] = [Good; 3];
/// Only the body is broken.
const BODY: [Becomes; 3] = [Retry, InDoubt, Good];

fn row(what: &'static str, wrong: Wrong, becomes: [Becomes; 3], words: &'static [&'static str]) -> Row {
    Row { what, wrong, becomes, words }
}

/// An answer of something between, with its length.
pub fn answer(status: &str, lines: &str, body: &str) -> Wrong {
    let length = body.len();
    Wrong::Instead(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{lines}\r\n{body}").into_bytes())
}

const HTML: &str = "<html><body><h1>Sign in to the guest network</h1></body></html>";
/// A member of gzip that says it is deflated and holds a stored block: 8 KiB that nobody should unpack.
fn gzip() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 0xff, 0x1f, 0, 0xe0];
    bytes.extend([b' '; 0x1fff]);
    bytes.extend([0; 8]);
    bytes
}

/// What is broken below HTTP.
fn cut_off() -> Vec<Row> {
    vec![
        row("nothing is wrong", Wrong::Nothing, FINE, &[]),
        row("reset when it connects", Wrong::ResetAtOnce, [Retry; 3], &["connection"]),
        row("reset after the request's head", Wrong::ResetAfterHead, LOST, &["connection"]),
        row("reset after the request", Wrong::ResetAfterRequest, LOST, &["connection"]),
        row("closed after the request", Wrong::CloseAfterRequest, LOST, &["connection"]),
        row("reset before the answer", Wrong::ResetWithin(0), LOST, &["connection"]),
        row("reset within the answer's first line", Wrong::ResetWithin(3), LOST, &["connection"]),
        row("reset within the answer's head", Wrong::ResetWithin(30), LOST, &["connection|broke off|read"]),
        row("closed before the answer", Wrong::CutWithin(0), LOST, &["connection"]),
        row("closed within the answer's first line", Wrong::CutWithin(3), LOST, &["connection"]),
        row("closed within the answer's head", Wrong::CutWithin(30), LOST, &["connection|broke off|read"]),
        row("no answer", Wrong::Silence, LOST, &["no answer"]),
        row("no HTTP", Wrong::Instead(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), LOST, &["connection"]),
        row("an empty line", Wrong::Instead(b"\r\n\r\n".to_vec()), LOST, &["connection"]),
        row("TLS on a plain port", Wrong::Instead(b"\x15\x03\x01\x00\x02\x02\x46".to_vec()), LOST, &["connection"]),
        row("HTTP/0.9", Wrong::Instead(b"{\"items\":[]}".to_vec()), LOST, &["connection"]),
        row("a status that is none", Wrong::Instead(b"HTTP/1.1 2x0 OK\r\n\r\n".to_vec()), LOST, &["connection"]),
    ]
}

/// What is broken in the head of an answer.
fn heads() -> Vec<Row> {
    const LINE: &[u8] = b"X-More: 0123456789012345678901234567890123456789\r\n";
    let lines = |text: String| Wrong::Lines(text);
    vec![
        row("100 before the answer", Wrong::Before(b"HTTP/1.1 100 Continue\r\n\r\n"), FINE, &[]),
        row("103 before the answer", Wrong::Before(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), FINE, &[]),
        row("two of 102", Wrong::Before(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 P\r\n\r\n"), FINE, &[]),
        row(
            "101, which nobody asked for",
            Wrong::Instead(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n".to_vec()),
            LOST,
            &[],
        ),
        row("headers without end", Wrong::Endless(b"HTTP/1.1 200 OK\r\n", LINE), LOST, &["connection"]),
        row(
            "a header without end",
            Wrong::Endless(b"HTTP/1.1 200 OK\r\nX: ", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
            LOST,
            &["connection"],
        ),
        row("100 without end", Wrong::Endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), LOST, &[]),
        row("200 headers", lines(LINE_OF_TWO.repeat(200)), LOST, &["connection"]),
        row("a header with a NUL", lines("X-Bad: a\0b\r\n".into()), LOST, &["connection"]),
        row("a header without a name", lines(": x\r\n".into()), LOST, &["connection"]),
        row("a header of 60 KB", lines(format!("X-Long: {}\r\n", "x".repeat(60_000))), FINE, &[]),
        row("two lengths that disagree", lines("Content-Length: 3\r\n".into()), BODY, &["connection"]),
        row("a length and chunks", lines("Transfer-Encoding: chunked\r\n".into()), BODY, &[]),
        row("a date that is none", lines("Date: tomorrow\r\n".into()), [Retry, Good, Good], &["Date|date"]),
        row("a request id with an escape", lines("X-Request-Id: \u{1b}[31mred\r\n".into()), LOST, &["connection"]),
    ]
}

const LINE_OF_TWO: &str = "X-More: 2\r\n";

/// What is broken in the body of an answer to a call that was done.
fn bodies() -> Vec<Row> {
    let json = |text: &str| Wrong::Body("application/json", text.as_bytes().to_vec());
    vec![
        row("closed within the body", Wrong::CutWithin(95), LOST, &[]),
        row("reset within the body", Wrong::ResetWithin(95), LOST, &[]),
        row("a length of 10 too many", Wrong::LengthOff(10), BODY, &[]),
        row("a length of 10 too few", Wrong::LengthOff(-10), BODY, &[]),
        row("a length below zero", Wrong::LengthOff(-1_000_000), BODY, &["connection"]),
        row("the answer twice", Wrong::Twice, FINE, &[]),
        row("a chunk's length that is none", Wrong::Chunks(b"zz\r\n{}\r\n0\r\n\r\n"), BODY, &[]),
        row("a chunk that breaks off", Wrong::Chunks(b"ff\r\n{\"items\":"), BODY, &[]),
        row("a chunk longer than memory", Wrong::Chunks(b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"), BODY, &[]),
        row("chunks without the last", Wrong::Chunks(b"2\r\n{}\r\n"), BODY, &[]),
        row("an empty body", json(""), LOST, &[]),
        row("an HTML page", Wrong::Body("text/html", HTML.into()), LOST, &[]),
        row("an HTML page that says it is JSON", json(HTML), LOST, &[]),
        row("null", json("null"), LOST, &[]),
        row("a list", json("[1]"), LOST, &[]),
        row("a text", json("\"kfcanary\""), LOST, &[]),
        row("JSON that breaks off", json("{\"id\": \"kfcanary"), LOST, &[]),
        row("two of JSON", json("{}{}"), LOST, &[]),
        row("a hundred thousand brackets", json(&"[".repeat(50_000)), LOST, &[]),
        row("no UTF-8", Wrong::Body("application/json", b"{\"id\": \"\xff\xfe\"}".to_vec()), LOST, &[]),
        row("UTF-16", Wrong::Body("application/json", b"\xff\xfe{\0}\0".to_vec()), LOST, &[]),
        row("a byte-order mark", Wrong::Body("application/json", b"\xef\xbb\xbf{}".to_vec()), LOST, &[]),
        row(
            "a gzip bomb that nobody asked for",
            Wrong::Body("application/json\r\nContent-Encoding: gzip", gzip()),
            LOST,
            &[],
        ),
        row("more than is read", json(&format!("{{\"x\": \"{}\"}}", "x".repeat(9 << 20))), LOST, &[]),
    ]
}

/// What something between answers, so that the service never heard of the call.
fn between() -> Vec<Row> {
    let html = |status: &str| answer(status, "Content-Type: text/html\r\n", HTML);
    vec![
        row(
            "302 to a sign-in page",
            answer("302 Found", "Location: http://127.0.0.1:1/login\r\n", ""),
            [Rejected, InDoubt, InDoubt],
            &["302|HTTP"],
        ),
        row(
            "307 to elsewhere",
            answer("307 Temporary Redirect", "Location: https://elsewhere.invalid/\r\n", ""),
            [Rejected, InDoubt, InDoubt],
            &["307|HTTP"],
        ),
        row("200 with a sign-in page", html("200 OK"), LOST, &[]),
        row("407", html("407 Proxy Authentication Required"), [Denied; 3], &["407"]),
        row("408", html("408 Request Timeout"), LOST, &["408"]),
        row("429", answer("429 Too Many Requests", "Retry-After: 1\r\n", ""), [Retry; 3], &["429|throttled"]),
        row(
            "429 for a year",
            answer("429 Too Many Requests", "Retry-After: 31536000\r\n", ""),
            [Retry; 3],
            &["429|throttled"],
        ),
        row("451", html("451 Unavailable For Legal Reasons"), LOST, &["451"]),
        row("500", html("500 Internal Server Error"), LOST, &["500"]),
        row("502", html("502 Bad Gateway"), LOST, &["502"]),
        row("503", answer("503 Service Unavailable", "Retry-After: 0\r\n", ""), LOST, &["503"]),
        row("504", html("504 Gateway Timeout"), LOST, &["504"]),
        row("599", html("599 Unknown"), LOST, &["599"]),
        row("999", html("999 Request Denied"), LOST, &["999"]),
    ]
}

/// Every row.
pub fn all() -> Vec<Row> {
    let rows: Vec<Row> = [cut_off(), heads(), bodies(), between()].into_iter().flatten().collect();
    rows
}
