//! Secrets: one record each, found by its alias, set in place.
//!
//! ```text
//! find    @alias, or else what carries the alias in our part of its meta
//!   ├ none           create: kind always sent, or the value is thrown away
//!   ├ not ours       refuse
//!   └ ours           personal that should be shared: the kind first, by itself
//!                    update: alias always sent, or it is erased; meta merged, config whole
//! prove   fetch: our mark, kind, type, visibility, config; verify: a value is stored
//! link    the ability, once
//! ```

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::http::{Answer, Effect, Request};
use super::super::{Place, Verdict};
use super::{ChatBotKit, wire};
use crate::model::attempt::Mark;
use crate::model::fault::{Class, Fault};
use crate::model::name::VendorId;
use crate::model::observed::Listing;
use crate::model::option::{Object, Options};
use crate::model::payload::Outputs;
use crate::model::time::Timestamp;

/// What a fetch shows in place of a stored client secret; sent in an update, it keeps that.
const MASK: &str = "********";
/// Characters of a mark that are the same for all attempts of one AWS secret (`model::attempt`).
const MARK_OWNER_CHAR_COUNT: usize = "kf-000000000000-".len();

/// A place's options, read, with the words that name it in every sentence.
pub(super) struct Spot<'a> {
    options: &'a Options,
    alias: &'a str,
    usage: &'a str,
    kind: &'a str,
    at: String,
}

impl ChatBotKit {
    pub(super) fn spot<'a>(&self, place: Place<'a>) -> Result<Spot<'a>, Fault> {
        let options = place.options;
        let alias = options.text("alias").ok_or_else(|| self.missing("`alias`"))?;
        let usage = options.text("usage").unwrap_or("plain");
        let kind = options.text("kind").unwrap_or("shared");
        Ok(Spot { options, alias, usage, kind, at: format!("at chatbotkit `{}`, secret `@{alias}`", self.name) })
    }

    /// The record, the blueprint and the ability, as far as they are named.
    pub(super) async fn check_record(&self, spot: &Spot<'_>) -> Result<(), Fault> {
        let (record, _) = self.find(spot).await?;
        if let Some(blueprint) = spot.options.text("blueprint") {
            self.blueprint(spot, blueprint).await?;
        }
        if let Some((skillset, ability)) = ability(spot.options) {
            let linked = self.linked(spot, skillset, ability).await?;
            let own = record.as_ref().map(|record| record.id.as_str());
            self.links_to(spot, ability, linked.as_deref(), own)?;
        }
        Ok(())
    }

    /// The record as a listing of none or one. One that is not as declared is left out: to the rules
    /// it is not there, and so is set again as a whole. An ability that uses another secret is told.
    ///
    /// What can't be seen: a value or a client secret that somebody *replaced*. `updatedAt` moves with
    /// every write, ChatBotKit's own included, and writing down when ours was would move it again; so
    /// such a value stands until the next rotation. One that is *missing* is seen.
    pub(super) async fn record(&self, spot: &Spot<'_>) -> Result<Listing, Fault> {
        let doing = format!("looking up the record {}", spot.at);
        let (record, at) = self.find(spot).await?;
        let missing = match &record {
            Some(record) => self.strays(spot, record).await?,
            None => None,
        };
        if let Some(what) = &missing {
            tracing::warn!("{doing}: {what}; it is set again");
        }
        let record = record.filter(|_| missing.is_none());
        let listed = record.map(|record| {
            record.listed().ok_or_else(|| Fault::new(Class::Retry { after: None }, &doing, "its id can't be read"))
        });
        Ok(Listing { at: Self::dated(&doing, at)?, credentials: listed.transpose()?.into_iter().collect() })
    }

    /// What about our record asks for setting it again, if anything does.
    async fn strays(&self, spot: &Spot<'_>, record: &wire::Record) -> Result<Option<String>, Fault> {
        if let Some(what) = differs(spot, record, &Outputs::default()) {
            return Ok(Some(format!("its {what} is not as declared")));
        }
        if let Some((skillset, ability)) = ability(spot.options) {
            let linked = self.linked(spot, skillset, ability).await?;
            self.links_to(spot, ability, linked.as_deref(), Some(&record.id))?;
            if linked.is_none() {
                return Ok(Some(format!("ability `{ability}` does not use it any more")));
            }
        }
        Ok(self.unstored(spot, &record.id).await?.map(Into::into))
    }

    /// Sets the record and proves it.
    pub(super) async fn put(&self, spot: &Spot<'_>, mark: &Mark, outputs: &Outputs) -> Result<Verdict, Fault> {
        let (found, _) = self.find(spot).await?;
        if let Some(other) = found.as_ref().and_then(|record| record.mark()).filter(|other| !same_owner(mark, other)) {
            let answer = match other.starts_with("kf-") {
                true => "another AWS secret keeps its value in this record",
                false => "its mark can't be read",
            };
            let fault = Fault::new(Class::Rejected, format!("setting the value {}", spot.at), answer);
            return Err(fault.with_hint(
                "give this credential another alias, or delete the record in ChatBotKit if nothing uses it",
            ));
        }
        let id = match found {
            None => self.create_record(spot, mark, outputs).await?,
            Some(record) => {
                if record.kind == "personal" && spot.kind == "shared" {
                    // An update is judged by the stored kind: with this one, the value would be dropped.
                    let doing = format!("making the record shared {}", spot.at);
                    let body = json!({ "alias": spot.alias, "kind": "shared" });
                    let path = ["secret", &record.id, "update"];
                    self.update(self.post(&doing, &path, Effect::Idempotent, body)?, &record.id).await?;
                }
                let doing = format!("setting the value {}", spot.at);
                let body = self.body(spot, mark, outputs, Some(&record));
                let request = self.post(&doing, &["secret", &record.id, "update"], Effect::Idempotent, body)?;
                self.update(hiding(request, spot, outputs), &record.id).await?
            }
        };
        let verdict = self.prove(spot, mark, &id, outputs).await?;
        if verdict == Verdict::Good
            && let Some((skillset, ability)) = ability(spot.options)
        {
            self.link(spot, skillset, ability, &id).await?;
        }
        Ok(verdict)
    }

    /// The record and the vendor's date. One that has the alias and is not ours is refused.
    async fn find(&self, spot: &Spot<'_>) -> Result<(Option<wire::Record>, Option<Timestamp>), Fault> {
        let doing = format!("looking up the record {}", spot.at);
        let reference = format!("@{}", spot.alias);
        let (request, answer) = self.call(self.get(&doing, &["secret", &reference, "fetch"])?).await?;
        if !Self::is_absent(&answer) {
            let record: wire::Record = self.read(&request, &answer)?;
            if record.alias.as_deref() != Some(spot.alias) {
                return Err(Fault::new(Class::Retry { after: None }, doing, "answered with a record of another alias"));
            }
            if !record.is_managed() {
                let answer = "a record has this alias that keyferry did not make; it was not touched";
                return Err(Fault::new(Class::Rejected, doing, answer).with_hint(format!(
                    "give this credential another alias, or add `{}: \"{}\"` to that record's meta to hand it over",
                    wire::META_MANAGER,
                    wire::MANAGER
                )));
            }
            return Ok((Some(record), answer.date()));
        }
        // Whoever updates a record without its alias erases it.
        let (mut found, mut more) = (None, false);
        let at = self
            .walk(
                || {
                    let request = self.get(&doing, &["secret", "list"])?;
                    let managed = format!("meta.{}", wire::META_MANAGER);
                    let own = format!("meta.{}", wire::META_ALIAS);
                    Ok(request.query(&managed, wire::MANAGER).query(&own, spot.alias))
                },
                |entry| {
                    let record = wire::Record::deserialize(entry).ok();
                    let own = |record: &wire::Record| record.is_managed() && record.own_alias() == Some(spot.alias);
                    if let Some(record) = record.filter(own) {
                        more |= found.is_some();
                        found = Some(record);
                    }
                },
            )
            .await?;
        if more {
            let answer = "no record has the alias, and more than one had it when keyferry set it";
            return Err(Fault::new(Class::Rejected, doing, answer)
                .with_hint("give the right one its alias back in ChatBotKit, and delete the others"));
        }
        Ok((found, at))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, request: &Request, answer: &Answer) -> Result<T, Fault> {
        answer.proof(&[200]).ok_or_else(|| self.fault(request, answer))
    }

    async fn create_record(&self, spot: &Spot<'_>, mark: &Mark, outputs: &Outputs) -> Result<String, Fault> {
        let doing = format!("creating the record {}", spot.at);
        let request = self.post(&doing, &["secret", "create"], Effect::Once, self.body(spot, mark, outputs, None))?;
        let request = hiding(request, spot, outputs);
        let (request, answer) = self.call(request).await?;
        if answer.status() == 409 {
            // The alias was free a moment ago: look again whose it is now.
            let fault = self.fault(&request, &answer);
            return Err(Fault { class: Class::Taken, ..fault });
        }
        let done: wire::Done = self.read(&request, &answer)?;
        match VendorId::new(&done.id) {
            Ok(_) => Ok(done.id),
            Err(_) => Err(answer.unproved(&request, "only the id of the record confirms its create")),
        }
    }

    async fn update(&self, request: Request, id: &str) -> Result<String, Fault> {
        let (request, answer) = self.call(request).await?;
        let done: wire::Done = self.read(&request, &answer)?;
        match done.id == id {
            true => Ok(done.id),
            false => Err(answer.unproved(&request, "only the id of this record confirms its update")),
        }
    }

    /// What is sent: all that is declared, and the alias in any case.
    fn body(&self, spot: &Spot<'_>, mark: &Mark, outputs: &Outputs, old: Option<&wire::Record>) -> Value {
        let options = spot.options;
        let mut body = json!({
            "alias": spot.alias,
            "name": options.text("title").unwrap_or(spot.alias),
            "kind": spot.kind,
            "type": spot.usage,
            "visibility": options.text("visibility").unwrap_or("private"),
        });
        let mut add = |key: &str, value: Value| drop(body.as_object_mut().map(|body| body.insert(key.into(), value)));
        if let Some(description) = options.text("description") {
            add("description", description.into());
        }
        if let Some(blueprint) = options.text("blueprint") {
            add("blueprintId", blueprint.into());
        }
        match (outputs.get("value").filter(|_| sourced(options, "value")), spot.kind) {
            (Some(value), "shared") => add("value", value.expose().into()),
            // Else a value from before stays in storage.
            (_, "personal") if old.is_some_and(|old| old.kind == "shared") => add("value", Value::Null),
            (_, _) => {}
        }
        if let Some(config) = options.object("config") {
            add("config", Value::Object(sent_config(config, outputs, old)));
        }
        let mut meta = options.object("meta").map(|meta| meta.fixed.clone()).unwrap_or_default();
        meta.insert(wire::META_MANAGER.into(), wire::MANAGER.into());
        meta.insert(wire::META_ALIAS.into(), spot.alias.into());
        meta.insert(wire::META_MARK.into(), mark.as_str().into());
        // A create knows no merging, an update without it drops what others wrote.
        add("meta", if old.is_some() { json!({ "$update": meta }) } else { Value::Object(meta) });
        body
    }

    /// As far as ChatBotKit lets it be proved: the record is as declared and carries the mark of
    /// this very attempt, and *some* value is stored. That it is ours follows from one update
    /// having set both.
    async fn prove(&self, spot: &Spot<'_>, mark: &Mark, id: &str, outputs: &Outputs) -> Result<Verdict, Fault> {
        let doing = format!("looking at what was set {}", spot.at);
        let (request, answer) = self.call(self.get(&doing, &["secret", id, "fetch"])?).await?;
        let record: wire::Record = self.read(&request, &answer)?;
        if record.id != id {
            return Err(answer.unproved(&request, "another record was shown"));
        }
        let again = |answer: String| Err(Fault::new(Class::Retry { after: None }, &doing, answer));
        if record.mark() != Some(mark.as_str()) {
            return again("the record carries another mark: someone set it meanwhile, or this read is old".into());
        }
        let differs = differs(spot, &record, outputs);
        let differs = if self.stands_in(spot, &record).await? { differs } else { Some("blueprint") };
        if let Some(what) = differs {
            return Ok(Verdict::Bad { answer: format!("its {what} is not as it was set") });
        }
        Ok(match self.unstored(spot, id).await? {
            None => Verdict::Good,
            Some(what) => Verdict::Bad { answer: what.into() },
        })
    }

    /// What is wrong with the stored value, as far as ChatBotKit tells; nothing where it tells nothing:
    /// of the other types it judges what follows from the value, not that there is one.
    async fn unstored(&self, spot: &Spot<'_>, id: &str) -> Result<Option<&'static str>, Fault> {
        let tells = matches!(spot.usage, "plain" | "basic" | "bearer" | "jwt" | "template");
        if spot.kind != "shared" || !tells || !sourced(spot.options, "value") {
            return Ok(None);
        }
        // Nothing is changed by it, so it may be sent again.
        let doing = format!("asking whether a value is stored {}", spot.at);
        let request = self.post(&doing, &["secret", id, "verify"], Effect::Nothing, json!({}))?;
        let (request, answer) = self.call(request).await?;
        if spot.usage == "jwt" && matches!(answer.status(), 400 | 409) {
            return Ok(Some("it is no private key that ChatBotKit can sign with"));
        }
        let verified: wire::Verified = self.read(&request, &answer)?;
        if verified.id != id {
            return Err(answer.unproved(&request, "another record was asked about"));
        }
        Ok((verified.status == wire::Status::Unauthenticated).then_some("no value is stored"))
    }

    /// Whether the record stands in the declared blueprint.
    async fn stands_in(&self, spot: &Spot<'_>, record: &wire::Record) -> Result<bool, Fault> {
        let Some(wanted) = spot.options.text("blueprint") else { return Ok(true) };
        if record.blueprint_id.as_deref() == Some(wanted) {
            return Ok(true);
        }
        Ok(record.blueprint_id == Some(self.blueprint(spot, wanted).await?))
    }

    async fn blueprint(&self, spot: &Spot<'_>, reference: &str) -> Result<String, Fault> {
        let doing = format!("looking up blueprint `{reference}` {}", spot.at);
        let (request, answer) = self.call(self.get(&doing, &["blueprint", reference, "fetch"])?).await?;
        let found: Result<wire::Blueprint, Fault> = self.read(&request, &answer);
        match found {
            Ok(found) => Ok(found.id),
            Err(fault) if fault.class == Class::Gone => {
                let fault = Fault { class: Class::Rejected, answer: "there is no such blueprint".into(), ..fault };
                Err(fault.with_hint("make it in ChatBotKit, or correct `blueprint`"))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn linked(&self, spot: &Spot<'_>, skillset: &str, ability: &str) -> Result<Option<String>, Fault> {
        let doing = format!("looking up ability `{ability}` of skillset `{skillset}` {}", spot.at);
        let path = ["skillset", skillset, "ability", ability, "fetch"];
        let (request, answer) = self.call(self.get(&doing, &path)?).await?;
        let found: Result<wire::Ability, Fault> = self.read(&request, &answer);
        match found {
            Ok(found) => Ok(found.linked_secret_id.filter(|id| !id.is_empty())),
            Err(fault) if fault.class == Class::Gone => {
                let fault = Fault { class: Class::Rejected, answer: "there is no such ability".into(), ..fault };
                Err(fault.with_hint("correct `ability`: the ids stand in the skillset's own page"))
            }
            Err(fault) => Err(fault),
        }
    }

    /// An ability that uses another secret is somebody's decision.
    fn links_to(&self, spot: &Spot<'_>, ability: &str, linked: Option<&str>, own: Option<&str>) -> Result<(), Fault> {
        if linked.is_none() || linked == own {
            return Ok(());
        }
        let doing = format!("linking ability `{ability}` {}", spot.at);
        let fault = Fault::new(Class::Rejected, doing, "it uses another secret; it was not touched");
        Err(fault.with_hint("unlink it in ChatBotKit, or remove `ability` from this credential"))
    }

    /// Links the ability where it uses no secret yet; a rotation in place never has to again.
    async fn link(&self, spot: &Spot<'_>, skillset: &str, ability: &str, id: &str) -> Result<(), Fault> {
        let linked = self.linked(spot, skillset, ability).await?;
        self.links_to(spot, ability, linked.as_deref(), Some(id))?;
        if linked.is_some() {
            return Ok(());
        }
        let doing = format!("linking ability `{ability}` {}", spot.at);
        let path = ["skillset", skillset, "ability", ability, "update"];
        let request = self.post(&doing, &path, Effect::Idempotent, json!({ "linkedSecretId": id }))?;
        let (request, answer) = self.call(request).await?;
        self.read::<wire::Done>(&request, &answer)?;
        match self.linked(spot, skillset, ability).await? {
            Some(linked) if linked == id => Ok(()),
            Some(_) | None => Err(Fault::new(Class::Retry { after: None }, doing, "the link is not there yet")),
        }
    }
}

/// The request, whose answer may not get any of the sent values printed.
fn hiding(request: Request, spot: &Spot<'_>, outputs: &Outputs) -> Request {
    let pieces = spot.options.pieces().into_iter().map(|piece| piece.output).filter(|name| *name != "client_id");
    pieces.filter_map(|name| outputs.get(name)).fold(request, |request, value| request.hiding(&value))
}

/// The first thing about a record that is not as declared, as far as a fetch shows it. Pieces that
/// are not among `outputs` are not compared.
fn differs(spot: &Spot<'_>, record: &wire::Record, outputs: &Outputs) -> Option<&'static str> {
    let options = spot.options;
    let is = |shown: &Option<String>, wanted: &str| shown.as_deref() == Some(wanted);
    // An older deployment may not show it.
    let visibility = options.text("visibility").unwrap_or("private");
    let config = options.object("config").is_none_or(|config| {
        let shown = record.config.clone().unwrap_or_default();
        let secret = config.pieces.iter().all(|(key, _)| key != "clientSecret" || shown.get(key) == Some(&MASK.into()));
        let wanted = config_of(config, outputs);
        secret && wanted.iter().all(|(key, value)| key == "clientSecret" || shown.get(key) == Some(value))
    });
    let meta = options.object("meta").is_none_or(|meta| {
        let shown = record.meta.clone().unwrap_or_default();
        meta.fixed.iter().all(|(key, value)| shown.get(key) == Some(value))
    });
    // Another blueprint by its alias can only be told by asking for it.
    let blueprint = options.text("blueprint").filter(|wanted| !wanted.starts_with(['@', '(']));
    let rows = [
        ("alias", is(&record.alias, spot.alias)),
        ("kind", record.kind == spot.kind),
        ("type", record.usage == spot.usage),
        ("visibility", record.visibility.is_none() || is(&record.visibility, visibility)),
        ("name", is(&record.name, options.text("title").unwrap_or(spot.alias))),
        ("description", options.text("description").is_none_or(|wanted| is(&record.description, wanted))),
        ("blueprint", options.text("blueprint").is_none() || record.blueprint_id.is_some()),
        ("blueprint", blueprint.is_none_or(|wanted| is(&record.blueprint_id, wanted))),
        ("config", config),
        ("meta", meta),
    ];
    rows.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
}

/// Whether two marks are of the same AWS secret.
fn same_owner(mark: &Mark, other: &str) -> bool {
    mark.as_str().get(..MARK_OWNER_CHAR_COUNT) == other.get(..MARK_OWNER_CHAR_COUNT)
}

fn sourced(options: &Options, output: &str) -> bool {
    options.pieces().iter().any(|piece| piece.output == output)
}

fn ability(options: &Options) -> Option<(&str, &str)> {
    let ability = options.object("ability")?;
    let text = |key: &str| ability.fixed(key).and_then(Value::as_str);
    Some((text("skillset")?, text("id")?))
}

/// The declared configuration with its sourced parts filled in.
fn config_of(config: &Object, outputs: &Outputs) -> Map<String, Value> {
    let mut whole = config.fixed.clone();
    for (key, piece) in &config.pieces {
        if let Some(value) = outputs.get(piece.output) {
            whole.insert(key.clone(), value.expose().into());
        }
    }
    whole
}

/// What is sent as `config`, which replaces the stored one. What the server registered for itself
/// at a `resourceUrl` is kept: the client id as shown, the client secret by its mask.
pub(super) fn sent_config(config: &Object, outputs: &Outputs, old: Option<&wire::Record>) -> Map<String, Value> {
    let mut whole = config_of(config, outputs);
    let kept = old.and_then(|old| old.config.as_ref()).filter(|_| whole.contains_key("resourceUrl"));
    for key in ["clientId", "clientSecret"] {
        if let Some(value) = kept.and_then(|kept| kept.get(key)).filter(|value| value.is_string()) {
            whole.entry(key).or_insert_with(|| value.clone());
        }
    }
    whole
}
