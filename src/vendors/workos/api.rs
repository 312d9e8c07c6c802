//! Single calls of the API: the key they carry, and faults with a hint.

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::super::http::{self, Answer, Request, lock};
use super::WorkOs;
use crate::model::fault::{Class, Fault};

impl WorkOs {
    /// One call with the API key. After a 401 the key is read again, and if it is another one by
    /// now, the call is sent once more.
    pub(super) async fn call(&self, request: Request) -> Result<(Request, Answer), Fault> {
        let effect = request.effect();
        let key = http::prepared(request.doing(), effect, self.key(None)).await?;
        let request = request.authorization(key.clone());
        let answer = self.line.send(&request).await?;
        if answer.status() != 401 {
            return Ok((request, answer));
        }
        let again = http::prepared(request.doing(), effect, self.key(Some(&key))).await?;
        if again == key {
            return Ok((request, answer));
        }
        let request = request.authorization(again);
        let answer = self.line.send(&request).await?;
        Ok((request, answer))
    }

    /// The key, ready for the header; read when there is none yet or it is the one that was refused.
    async fn key(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, Fault> {
        let doing = format!("reading `api_key` of workos `{}`", self.name);
        let read = async {
            let key = self.keyring.read("api_key").await?;
            *lock(&self.odd) = key.oddity();
            http::bearer(&key).ok_or_else(|| {
                let answer = "it has characters that no header may hold";
                Fault::new(Class::Denied, &doing, answer).with_hint(self.hint_key())
            })
        };
        self.key.get(|key| Some(key) != refused, self.line.token(&doing, read)).await
    }

    fn hint_key(&self) -> String {
        let name = &self.name;
        match *lock(&self.odd) {
            Some(odd) => format!("check `api_key` of [vendors.{name}]: {odd}"),
            None => format!("check `api_key` of [vendors.{name}]: the key of the environment that has the application"),
        }
    }

    /// The fault that an answer of the API is, with what a person can do.
    pub(super) fn fault(&self, request: &Request, answer: &Answer) -> Fault {
        let fault = answer.fault(request);
        match answer.status() {
            401 => fault.with_hint(self.hint_key()),
            403 => fault.with_hint("give the API key the permission to manage Connect applications and their secrets"),
            404 => fault.with_hint("check that the application is still there; its name is looked up anew"),
            300..=399 => fault.with_hint(format!("check `base_url` of [vendors.{}]", self.name)),
            _ if matches!(fault.class, Class::Denied | Class::Rejected) => {
                fault.with_hint("WorkOS refuses the request itself: its support finds it by the request's id")
            }
            _ => fault,
        }
    }

    pub(super) fn url(&self, doing: &str, segments: &[&str]) -> Result<Url, Fault> {
        self.base.url_of(doing, segments)
    }
}
