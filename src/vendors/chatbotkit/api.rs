//! Single calls: the token they carry, pages, and faults with a hint.

use std::collections::HashSet;

use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use serde_json::Value;

use super::super::http::{self, Answer, Effect, Request};
use super::{ChatBotKit, wire};
use crate::model::fault::{Class, Fault};
use crate::model::time::Timestamp;

/// Entries asked for per page, most pages.
const TAKE: usize = 100;
const PAGE_COUNT_MAX: usize = 1_000;

impl ChatBotKit {
    /// The address of an API path.
    pub(super) fn url(&self, doing: &str, segments: &[&str]) -> Result<Url, Fault> {
        let root: &[&str] = if self.hosted { &["v1"] } else { &["api", "v1"] };
        let path: Vec<&str> = root.iter().chain(segments).copied().collect();
        self.base.url_of(doing, &path)
    }

    /// A read.
    pub(super) fn get(&self, doing: &str, segments: &[&str]) -> Result<Request, Fault> {
        Ok(Request::new(doing, Method::GET, self.url(doing, segments)?, Effect::Nothing))
    }

    /// Everything else is a POST with an object.
    pub(super) fn post(&self, doing: &str, segments: &[&str], effect: Effect, body: Value) -> Result<Request, Fault> {
        Ok(Request::new(doing, Method::POST, self.url(doing, segments)?, effect).json(body))
    }

    /// One call with the account's token; a 401 gets the token read again, and one more send where
    /// it is another one now.
    pub(super) async fn call(&self, request: Request) -> Result<(Request, Answer), Fault> {
        let token = self.token(None).await?;
        let request = match &self.run_as {
            Some(child) => request.header("x-runas-user-id", child),
            None => request,
        };
        let request = request.authorization(token.clone());
        let answer = self.line.send(&request).await?;
        if answer.status() != 401 {
            return Ok((request, answer));
        }
        let again = self.token(Some(&token)).await?;
        if again == token {
            return Ok((request, answer));
        }
        let request = request.authorization(again);
        let answer = self.line.send(&request).await?;
        Ok((request, answer))
    }

    /// The `Authorization` header; read anew where there is none yet or `refused` was it.
    async fn token(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, Fault> {
        let doing = format!("reading the admin secret `token` of [vendors.{}]", self.name);
        let read = async {
            let token = self.keyring.read("token").await?;
            *http::lock(&self.odd) = token.oddity();
            http::bearer(&token).ok_or_else(|| {
                let hint = "an API token is `sk-` and 64 hex digits, without a line end";
                let hint = token.oddity().map_or(hint.into(), |odd| format!("{odd}; {hint}"));
                Fault::new(Class::Denied, &doing, "it has characters that no token has").with_hint(hint)
            })
        };
        self.token.get(|token| Some(token) != refused, self.line.token(&doing, read)).await
    }

    /// Walks a list to its end, which is a page with less than was asked for: a cursor is there on
    /// the last page, too. Gives the date of the first page, which is the oldest.
    pub(super) async fn walk(
        &self,
        request: impl Fn() -> Result<Request, Fault>,
        mut each: impl FnMut(&Value),
    ) -> Result<Option<Timestamp>, Fault> {
        let take = TAKE.to_string();
        let (mut at, mut cursor, mut seen) = (None, None::<String>, HashSet::new());
        for page_index in 0..PAGE_COUNT_MAX {
            let mut next = request()?.query("take", &take);
            if let Some(cursor) = &cursor {
                next = next.query("cursor", cursor);
            }
            let (sent, answer) = self.call(next).await?;
            let page: Option<wire::Page> = answer.proof(&[200]);
            let page = page.filter(wire::Page::is_whole).ok_or_else(|| self.fault(&sent, &answer))?;
            if page_index == 0 {
                at = answer.date();
            }
            page.items.iter().for_each(&mut each);
            if page.items.len() < TAKE {
                return Ok(at);
            }
            let incomplete = |why| Err(Fault::new(Class::Retry { after: None }, sent.doing(), why));
            let Some(last) = page.items.last().and_then(|item| item.get("id")?.as_str()) else {
                return incomplete("the list does not say where it goes on");
            };
            if !seen.insert(last.to_owned()) {
                return incomplete("the list goes round in circles: a page came twice");
            }
            cursor = Some(last.to_owned());
        }
        let why = format!("the list did not end after {PAGE_COUNT_MAX} pages");
        Err(Fault::new(Class::Retry { after: None }, request()?.doing(), why))
    }

    /// The vendor's date of an answer, without which nothing in it has an age.
    pub(super) fn dated(doing: &str, at: Option<Timestamp>) -> Result<Timestamp, Fault> {
        at.ok_or_else(|| {
            let answer = "the answer has no Date header, without which its age is unknown";
            Fault::new(Class::Retry { after: None }, doing, answer)
        })
    }

    /// Whether an answer is the vendor's own word that there is no such thing; a page of something
    /// in front of it is not.
    pub(super) fn is_absent(answer: &Answer) -> bool {
        answer.status() == 404 && Self::says(answer, "NOT_FOUND")
    }

    /// Whether an answer is an error of the vendor with this code.
    pub(super) fn says(answer: &Answer, word: &str) -> bool {
        code(answer).as_deref() == Some(word)
    }

    /// The fault that an answer is, with what a person can do.
    pub(super) fn fault(&self, request: &Request, answer: &Answer) -> Fault {
        let mut fault = answer.fault(request);
        if let Some(code) = code(answer).filter(|_| !answer.is_success()) {
            fault.code = Some(code);
        }
        let name = &self.name;
        match answer.status() {
            401 if http::lock(&self.odd).is_some() => {
                let odd = http::lock(&self.odd).unwrap_or_default();
                fault.with_hint(format!("check `token` of [vendors.{name}]: {odd}"))
            }
            401 => fault.with_hint(format!(
                "check `token` of [vendors.{name}]: a person makes a new one in ChatBotKit, no API can{}",
                if self.run_as.is_some() { "; and that `run_as` is a child of its account" } else { "" }
            )),
            402 => fault.with_hint("the account's plan does not allow it"),
            403 => fault.with_hint(format!("it belongs to another account than `token` of [vendors.{name}]")),
            404 if !Self::is_absent(answer) => {
                // Not what was named is missing, but ChatBotKit itself.
                fault.class = Class::Rejected;
                fault.with_hint(format!("check `base_url` and `child_path` of [vendors.{name}]"))
            }
            300..=399 | 405 => fault.with_hint(format!("check `base_url` of [vendors.{name}]")),
            409 => fault.with_hint("something else has that alias, or the record is in another state than it was"),
            404 => fault.with_hint("check that what the declaration names is still there in ChatBotKit"),
            _ if fault.class == Class::Rejected => {
                fault.with_hint("ChatBotKit refuses the request itself; nothing was changed by it: please report it")
            }
            _ => fault,
        }
    }
}

/// The error code of an answer, if it is one: capital letters, digits and underscores.
fn code(answer: &Answer) -> Option<String> {
    let code = answer.json::<wire::Error>()?.code?;
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    ((1..=64).contains(&code.len()) && code.chars().all(plain)).then_some(code)
}
