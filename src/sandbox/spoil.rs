//! Replies, how they go out, and how their bodies are broken: the same for every service.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::model::time::Timestamp;
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

    /// As it goes out. hyper would send the host's date; a service lives in the sandbox's time, `now`.
    pub fn at(self, now: Timestamp) -> Response<Body> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            // A header that cannot be sent is left out: the sandbox's user typed it.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        let date = now.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        headers.insert(header::DATE, HeaderValue::try_from(date).expect("a date is plain ASCII"));
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = headers;
        response
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
