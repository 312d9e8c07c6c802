//! API tokens of child accounts: shown once, two live side by side during an overlap.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::json;

use super::super::http::{self, Effect};
use super::super::{Ended, Minted, Place, Verdict};
use super::{ChatBotKit, wire};
use crate::model::attempt::Mark;
use crate::model::fault::{Class, Fault};
use crate::model::name::VendorId;
use crate::model::observed::Listing;
use crate::model::payload::Outputs;

/// No record has this id: whoever may ask for it gets 404, whoever may not, 401 (contract 6.2). A
/// fetch is not under the list calls' rate limit.
const NOBODY: &str = "c000000000000000000000000";

impl ChatBotKit {
    pub(super) fn user<'a>(&self, place: Place<'a>) -> Result<&'a str, Fault> {
        place.options.text("user").ok_or_else(|| self.missing("`user`"))
    }

    fn at(&self, user: &str) -> String {
        format!("at chatbotkit `{}`, child account `{user}`", self.name)
    }

    /// The path family: the older one has a word in front.
    fn path<'p>(&self, rest: &[&'p str]) -> Vec<&'p str> {
        let root: &[&'p str] = if self.partner { &["partner", "user"] } else { &["user"] };
        root.iter().chain(rest).copied().collect()
    }

    pub(super) async fn check_user(&self, user: &str) -> Result<(), Fault> {
        let doing = format!("looking up the child account {}", self.at(user));
        let (request, answer) = self.call(self.get(&doing, &self.path(&[user, "fetch"]))?).await?;
        let shown: Option<wire::Done> = answer.proof(&[200]);
        shown.filter(|shown| shown.id == user).map(drop).ok_or_else(|| self.fault(&request, &answer))
    }

    pub(super) async fn tokens(&self, user: &str) -> Result<Listing, Fault> {
        let doing = format!("listing API tokens {}", self.at(user));
        let path = self.path(&[user, "token", "list"]);
        let (mut credentials, mut unreadable) = (Vec::new(), 0_usize);
        let walked = self.walk(
            || self.get(&doing, &path),
            |entry| match wire::Token::deserialize(entry).ok().and_then(wire::Token::listed) {
                Some(listed) => credentials.push(listed),
                None => unreadable += 1,
            },
        );
        let at = walked.await?;
        if unreadable > 0 {
            let answer = format!("{unreadable} of the listed tokens can't be read, so the list is not used");
            return Err(Fault::new(Class::Retry { after: None }, doing, answer));
        }
        // A page border can move under a walk and show an entry twice.
        let mut known = HashSet::new();
        credentials.retain(|one| known.insert(one.id.clone()));
        Ok(Listing { at: Self::dated(&doing, at)?, credentials })
    }

    pub(super) async fn mint(&self, user: &str, mark: &Mark) -> Result<Minted, Fault> {
        let doing = format!("creating an API token {}", self.at(user));
        let body = json!({
            "name": mark.as_str(),
            "description": "managed by keyferry",
            "meta": { wire::META_MANAGER: wire::MANAGER, wire::META_MARK: mark.as_str() },
        });
        let request = self.post(&doing, &self.path(&[user, "token", "create"]), Effect::Once, body)?;
        let (request, answer) = self.call(request).await?;
        let created: Option<wire::Created> = answer.proof(&[200]);
        let created = created.ok_or_else(|| self.fault(&request, &answer))?;
        let token = created.token.0;
        match VendorId::new(&created.id) {
            Ok(id) if http::bearer(&token).is_some() && !token.is_empty() => {
                let outputs =
                    Outputs::default().secret("token", token).public("token_id", created.id).public("user", user);
                Ok(Minted { id, outputs })
            }
            _ => {
                let id = answer.shown_id(&created.id).map_or(String::new(), |id| format!("; its id is {id}"));
                let said = format!("answered with a token that lacks its id or its text{id}");
                Err(Fault::new(Class::InDoubt, doing, said))
            }
        }
    }

    pub(super) async fn log_in(&self, user: &str, outputs: &Outputs) -> Result<Verdict, Fault> {
        let doing = format!("logging in with a candidate {}", self.at(user));
        let token = outputs.get("token").filter(|token| !token.is_empty());
        let header = token.and_then(|token| http::bearer(&token));
        let header = header.ok_or_else(|| Fault::new(Class::Rejected, &doing, "the stored value has no `token`"))?;
        let request = self.get(&doing, &["secret", NOBODY, "fetch"])?.authorization(header);
        let answer = self.line.send(&request).await?;
        match answer.status() {
            // Only in the vendor's own words: a proxy in front has its own 401 and 404.
            401 if Self::says(&answer, "NOT_AUTHENTICATED") => {
                Ok(Verdict::Bad { answer: "401 NOT_AUTHENTICATED".into() })
            }
            // Whoever is told that there is no such record was let in.
            404 if Self::says(&answer, "NOT_FOUND") => Ok(Verdict::Good),
            _ => {
                let mut fault = self.fault(&request, &answer);
                fault.class = Class::Retry { after: answer.retry_after() };
                Err(fault.with_hint("this says nothing about the credential; it is tried again"))
            }
        }
    }

    /// The vendor's 404 does not tell a missing token from a missing account, so the account is asked
    /// for.
    pub(super) async fn delete(&self, user: &str, id: &VendorId) -> Result<Ended, Fault> {
        let doing = format!("deleting API token {id} {}", self.at(user));
        let path = self.path(&[user, "token", id.as_str(), "delete"]);
        let request = self.post(&doing, &path, Effect::Idempotent, json!({}))?;
        let (request, answer) = self.call(request).await?;
        if answer.proof::<wire::Done>(&[200]).is_some_and(|done| done.id == id.as_str()) {
            return Ok(Ended::Confirmed);
        }
        match answer.status() {
            404 if Self::is_absent(&answer) => {
                self.check_user(user).await?;
                Ok(Ended::UnknownToVendor)
            }
            200..=299 | 404 | 410 => {
                Err(answer.unproved(&request, "only 200 with the id of this token confirms a delete"))
            }
            _ => Err(self.fault(&request, &answer)),
        }
    }
}
