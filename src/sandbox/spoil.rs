//! Replies with broken bodies, the same for every service.

use axum::body::Bytes;

use crate::sandbox::faults::Broken;

/// Far beyond any cap on an answer's size.
pub const HUGE_BODY_BYTES: usize = 32 << 20;

/// What goes back, before any fault breaks it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers by name.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A JSON document.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".into(), "application/json".into())];
        Self { status, headers, body: body.to_string().into() }
    }
}

/// Breaks a reply's body.
pub fn spoil(mut reply: Reply, broken: Broken) -> Reply {
    let mut html = |status, body: &'static str| {
        reply.status = status;
        reply.headers = vec![("content-type".into(), "text/html".into())];
        Bytes::from_static(body.as_bytes())
    };
    reply.body = match broken {
        Broken::Empty => Bytes::new(),
        Broken::Html => html(502, "<html><body><h1>502 Bad Gateway</h1></body></html>"),
        Broken::Truncated => reply.body.slice(..reply.body.len() / 2),
        Broken::Huge => vec![b' '; HUGE_BODY_BYTES].into(),
        Broken::WrongType => {
            let mut json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            match json.as_object_mut() {
                Some(fields) => fields.values_mut().for_each(|value| *value = serde_json::json!({ "wrong": 42 })),
                None => json = serde_json::json!(42),
            }
            json.to_string().into()
        }
        Broken::Redirect => {
            let body = html(307, "");
            reply.headers.push(("location".into(), "http://elsewhere.invalid/".into()));
            body
        }
    };
    reply
}
