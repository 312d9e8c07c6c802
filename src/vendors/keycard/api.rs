//! Single calls of the management API: the token they carry, pages, and faults with a hint.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use serde_json::Value;

use super::super::http::{self, Answer, Effect, Request};
use super::{Keycard, login, wire};
use crate::model::fault::{Class, Fault};
use crate::model::secret::SecretValue;
use crate::model::time::Timestamp;

/// A token is renewed so long before it expires, or at half its life when that is shorter.
const RENEW_AHEAD: Duration = Duration::from_secs(60);
/// Life of a token that doesn't say (Keycard's own SDK assumes the same), and longest believed.
const TOKEN_LIFE_DEFAULT: Duration = Duration::from_secs(3600);
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Entries asked for per page (both documented maxima allow it), most pages, most entries.
const PAGE_LIMIT: &str = "100";
const PAGE_COUNT_MAX: usize = 1000;
const ENTRY_COUNT_MAX: usize = 100_000;

/// A management token, ready for the header.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    renew_at: Duration,
}

impl Keycard {
    /// Walks a list to its last page. Returns the date of the first page, which is the oldest.
    pub(super) async fn walk(
        &self,
        request: impl Fn() -> Request,
        mut each: impl FnMut(&Value),
    ) -> Result<Option<Timestamp>, Fault> {
        let mut cursors = HashSet::new();
        let mut request_next = request();
        let mut at = None;
        let mut entry_count = 0;
        for page_index in 0..PAGE_COUNT_MAX {
            let (sent, answer) = self.call(request_next.query("limit", PAGE_LIMIT)).await?;
            let page: Option<wire::Page> = answer.proof(&[200]);
            let page = page.ok_or_else(|| self.fault(&sent, &answer))?;
            if page_index == 0 {
                at = answer.date();
            }
            entry_count += page.items.len();
            page.items.iter().for_each(&mut each);
            let incomplete = |why| Err(Fault::new(Class::Retry { after: None }, sent.doing(), why));
            match page.next() {
                wire::Next::End => return Ok(at),
                wire::Next::Unclear => return incomplete("the list does not say where it goes on"),
                wire::Next::After(_) if entry_count > ENTRY_COUNT_MAX => return incomplete("the list is too long"),
                wire::Next::After(cursor) => {
                    request_next = request().query("after", &cursor);
                    if !cursors.insert(cursor) {
                        return incomplete("the list goes round in circles: a cursor came twice");
                    }
                }
            }
        }
        let why = format!("the list did not end after {PAGE_COUNT_MAX} pages");
        Err(Fault::new(Class::Retry { after: None }, request().doing(), why))
    }

    /// One management call, with a token; a 401 gets one fresh token and one more send.
    pub(super) async fn call(&self, request: Request) -> Result<(Request, Answer), Fault> {
        let effect = request.effect();
        let token = http::prepared(request.doing(), effect, self.token(None)).await?;
        let number = uuid::Uuid::new_v4().to_string();
        let request = request.header("x-client-request-id", number).authorization(token.header.clone());
        let answer = self.line.send(&request).await?;
        if answer.status() != 401 {
            return Ok((request, answer));
        }
        let token = http::prepared(request.doing(), effect, self.token(Some(&token.header))).await?;
        let request = request.authorization(token.header);
        let answer = self.line.send(&request).await?;
        Ok((request, answer))
    }

    /// The management token, fetched when there is none, it is about to expire, or it is the one that
    /// was refused.
    async fn token(&self, refused: Option<&HeaderValue>) -> Result<Token, Fault> {
        let usable = |token: &Token| Some(&token.header) != refused && self.clock.monotonic() < token.renew_at;
        let doing = format!("fetching a management token at keycard `{}`", self.name);
        self.token.get(usable, self.line.token(&doing, self.fetched(&doing))).await
    }

    async fn fetched(&self, doing: &str) -> Result<Token, Fault> {
        let asked_at = self.clock.monotonic();
        let pair = self.pair().await?;
        let (mut request, mut answer) = self.fetch(doing, &pair).await?;
        if matches!(answer.status(), 400 | 401 | 403) {
            // Perhaps it was replaced while we read it, half old and half new.
            let again = self.pair().await?;
            if again != pair {
                (request, answer) = self.fetch(doing, &again).await?;
            }
        }
        let found: Option<wire::Token> = answer.proof(&[200]);
        let Some(found) = found.filter(|found| !found.access_token.0.is_empty()) else {
            return Err(self.unfetched(&request, &answer));
        };
        let header = http::bearer(&found.access_token.0).ok_or_else(|| {
            Fault::new(Class::Retry { after: None }, doing, "answered with a token that no header can hold")
        })?;
        let life = found.expires_in.map_or(TOKEN_LIFE_DEFAULT, |seconds| {
            Duration::from_secs_f64(seconds.clamp(0.0, TOKEN_LIFE_MAX.as_secs_f64()))
        });
        Ok(Token { header, renew_at: asked_at + life - RENEW_AHEAD.min(life / 2) })
    }

    async fn pair(&self) -> Result<(SecretValue, SecretValue), Fault> {
        let (id, secret) = (self.keyring.read("client_id").await?, self.keyring.read("client_secret").await?);
        let odd = |name: &'static str, value: &SecretValue| value.oddity().map(|odd| (name, odd));
        *http::lock(&self.odd) = odd("client_id", &id).or_else(|| odd("client_secret", &secret));
        Ok((id, secret))
    }

    async fn fetch(&self, doing: &str, pair: &(SecretValue, SecretValue)) -> Result<(Request, Answer), Fault> {
        let url = self.url(doing, &["service-account-token"])?;
        let request = Request::new(doing, Method::POST, url, Effect::Nothing)
            .form(vec![("grant_type", "client_credentials".into())])
            .authorization(login(doing, &pair.0, &pair.1)?);
        let answer = self.line.send(&request).await?;
        Ok((request, answer))
    }

    fn unfetched(&self, request: &Request, answer: &Answer) -> Fault {
        let mut fault = answer.fault(request);
        let refused =
            matches!(answer.error_word().as_deref(), Some("invalid_client" | "unauthorized_client" | "access_denied"));
        match fault.class {
            Class::Denied => fault.with_hint(self.hint_pair()),
            Class::Rejected if refused => {
                fault.class = Class::Denied;
                fault.with_hint(self.hint_pair())
            }
            _ if matches!(fault.class, Class::Gone | Class::Rejected) || answer.status() == 404 => {
                // Not the credential's zone or application is missing, but Keycard itself.
                fault.class = Class::Rejected;
                fault.with_hint(format!("check `base_url` of [vendors.{}]", self.name))
            }
            _ => fault,
        }
    }

    fn hint_pair(&self) -> String {
        let name = &self.name;
        if let Some((option, odd)) = *http::lock(&self.odd) {
            return format!("check `{option}` of [vendors.{name}]: {odd}");
        }
        format!("check `client_id` and `client_secret` of [vendors.{name}]: a service account's, not an application's")
    }

    /// The fault that a management answer is, with what a person can do.
    pub(super) fn fault(&self, request: &Request, answer: &Answer) -> Fault {
        let fault = answer.fault(request);
        match answer.status() {
            401 => fault.with_hint(self.hint_pair()),
            403 => fault.with_hint(
                "ask an organization administrator to let the service account read this zone and manage its \
                 application credentials",
            ),
            404 => fault.with_hint("check that the zone and the application are still there; names are looked up anew"),
            300..=399 => fault.with_hint(format!("check `base_url` of [vendors.{}]", self.name)),
            _ if matches!(fault.class, Class::Denied | Class::Rejected) => {
                fault.with_hint("Keycard refuses the request itself: its support finds it by the request's id")
            }
            _ => fault,
        }
    }

    pub(super) fn url(&self, doing: &str, segments: &[&str]) -> Result<Url, Fault> {
        self.base.url_of(doing, segments)
    }
}
