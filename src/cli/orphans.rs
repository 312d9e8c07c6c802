//! `orphans`: what each credential is that a vendor lists where declared ones are made: owned,
//! orphan or foreign. `orphans revoke ID` ends one that nobody tracks: the only way in which
//! keyferry ever ends a credential that is not its own.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::report::{Output, Printer, Wrong, say};
use crate::cli::select::{self, Selection};
use crate::cli::{Source, code};
use crate::engine::Engine;
use crate::engine::person::Glance;
use crate::engine::reconcile::AskVendor;
use crate::model::credential::Credential;
use crate::model::fault::Fault;
use crate::model::name::{Name, SecretName, VendorId};
use crate::model::observed::Listing;
use crate::model::time::{Now, Timestamp, human};
use crate::rotation::census::{self, Counted, Resident, Standing, Undeclared};
use crate::rotation::{Reason, Turn, adopt};
use crate::vendors::Ended;

/// Options of `orphans`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    which: Selection,
}

/// What to do about one.
#[derive(clap::Subcommand)]
enum Verb {
    /// End one credential at the vendor, by its id, if nothing tracks it.
    Revoke(Revoke),
}

/// Options of `orphans revoke`.
#[derive(clap::Args)]
struct Revoke {
    /// The vendor's id, as `orphans` shows it.
    #[arg(value_name = "ID", value_parser = vendor_id)]
    id: VendorId,
    /// A declared credential of the place in which it is; needed when several places list it.
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

/// Reads a vendor's id.
///
/// # Errors
/// Says what one looks like.
pub fn vendor_id(text: &str) -> Result<VendorId, String> {
    VendorId::new(text).map_err(|rule| format!("not a vendor's id: {rule}"))
}

/// Lists, or ends one.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    match &arguments.verb {
        Some(Verb::Revoke(asked)) => revoke(&engine, asked, printer).await,
        None => {
            let wanted = arguments.which.pick(engine.declaration(), "nothing was looked at")?;
            list(&engine, &wanted, printer).await
        }
    }
}

/// One place at a vendor, with all declared credentials that are made in it.
struct Place {
    residents: Vec<Arc<Credential>>,
}

/// What a place showed.
struct Shown {
    glances: Vec<Glance>,
    listing: Listing,
    counted: Vec<Counted>,
}

impl Place {
    /// The places of `wanted`; a place has all its residents, wanted or not, by whatever name each
    /// declares it.
    async fn of(wanted: &[Arc<Credential>], engine: &Engine) -> Vec<Self> {
        let mut places: Vec<Self> = Vec::new();
        let mut known = BTreeMap::new();
        for credential in wanted {
            if places.iter().any(|place| place.residents.iter().any(|one| one.name == credential.name)) {
                continue;
            }
            let mut residents = Vec::new();
            let all = engine.declaration().credentials.iter();
            for one in all.filter(|one| one.vendor == credential.vendor && one.type_name == credential.type_name) {
                for each in [credential, one] {
                    if !known.contains_key(&each.name) {
                        // What can't be told now is told when the place is listed.
                        known.insert(each.name.clone(), engine.whereabouts(each).await.ok().flatten());
                    }
                }
                let same = known[&one.name].is_some() && known[&one.name] == known[&credential.name];
                if same || one.policy.place == credential.policy.place {
                    residents.push(Arc::clone(one));
                }
            }
            places.push(Self { residents });
        }
        places
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.residents.iter().map(|one| one.name.as_str()).collect();
        names.join(", ")
    }

    fn residents<'a>(&'a self, glances: &'a [Glance], vendor: Timestamp) -> Vec<Resident<'a>> {
        let pairs = self.residents.iter().zip(glances);
        pairs
            .map(|(credential, glance)| Resident {
                name: &credential.name,
                secret: glance.view.secret.as_ref(),
                policy: &credential.policy,
                now: Now { store: glance.now.store, vendor: Some(vendor) },
            })
            .collect()
    }

    /// Looks at every resident's secret, and at the vendor.
    async fn look(&self, engine: &Engine, undeclared: &[Undeclared]) -> Result<Shown, Fault> {
        // The vendor first: what is made and stored meanwhile is then tracked and not listed,
        // rather than listed and not tracked.
        let listing = engine.list(&self.residents[0]).await?;
        let mut glances = Vec::new();
        for credential in &self.residents {
            glances.push(engine.glance(credential, AskVendor::Never).await?);
        }
        let counted = census::census(&listing, &self.residents(&glances, listing.at), undeclared);
        Ok(Shown { glances, listing, counted })
    }
}

async fn list(engine: &Engine, wanted: &[Arc<Credential>], printer: &Printer) -> anyhow::Result<u8> {
    let (undeclared, mut unseen) = match engine.undeclared().await {
        Ok(undeclared) => (undeclared, Vec::new()),
        Err(fault) => (Vec::new(), vec![fault]),
    };
    let mut rows = Vec::new();
    let places = Place::of(wanted, engine).await;
    let bar = printer.progress(places.len(), "looking at");
    let (mut owned, mut orphans, mut foreign) = (0, 0, 0);
    for place in places {
        let shown = place.look(engine, &undeclared).await;
        bar.inc(1);
        match shown {
            Err(fault) => unseen.push(fault),
            Ok(shown) => {
                for one in &shown.counted {
                    match one.standing {
                        Standing::Owned { .. } | Standing::Undeclared { .. } => owned += 1,
                        Standing::Orphan { .. } => orphans += 1,
                        Standing::Foreign { .. } => foreign += 1,
                    }
                }
                rows.push((place, shown));
            }
        }
    }
    bar.finish_and_clear();
    let worst = if unseen.is_empty() { code::FINE } else { code::FAILING };
    match printer.output() {
        Output::Json => {
            let places: Vec<Value> = rows.iter().map(|(place, shown)| document(place, shown)).collect();
            let unseen: Vec<String> = unseen.iter().map(ToString::to_string).collect();
            printer.json(&json!({ "places": places, "not_seen": unseen, "exit_code": worst }));
        }
        Output::Text => {
            for (place, shown) in &rows {
                say(text(place, shown));
            }
            say(format_args!("{owned} owned, {orphans} orphan, {foreign} foreign; nothing was changed"));
            for fault in &unseen {
                say(format_args!("\nnot seen: {fault}"));
                if let Some(hint) = &fault.hint {
                    say(format_args!("  hint: {hint}"));
                }
            }
        }
    }
    Ok(worst)
}

fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Owned { .. } | Standing::Undeclared { .. } => "owned",
        Standing::Orphan { .. } => "orphan",
        Standing::Foreign { .. } => "foreign",
    }
}

fn sentence(one: &Counted, place: &Place, shown: &Shown) -> String {
    match &one.standing {
        Standing::Owned { credential, version, stage: Some(stage) } => {
            format!("`{credential}`, {stage}, version {version}")
        }
        Standing::Owned { credential, version, stage: None } => {
            format!("`{credential}`, out of use and about to be revoked, version {version}")
        }
        Standing::Undeclared { secret } => format!("AWS secret {secret}, which is not declared any more"),
        Standing::Orphan { credential, swept_from: None } => {
            format!(
                "a leftover of `{credential}`, or its next value in the making: told apart when its attempt is over"
            )
        }
        Standing::Orphan { credential, swept_from: Some(date) } => {
            let at = place.residents.iter().position(|resident| resident.name == *credential);
            let glance = at.map(|at| &shown.glances[at]);
            let parked = glance
                .map(|glance| glance.decision.reason())
                .filter(|reason| matches!(reason.turn(), Turn::Person | Turn::Cause | Turn::Paused));
            let when = glance
                .filter(|glance| *date > glance.now.store)
                .map_or("now".into(), |glance| format!("from {date} on (in {})", human(date.since(glance.now.store))));
            match parked {
                None => format!("a leftover of `{credential}`: swept {when}"),
                Some(reason) => format!("a leftover of `{credential}`: not swept while this stands: {reason}"),
            }
        }
        Standing::Foreign { marked: true } => {
            "carries a keyferry mark of another secret: perhaps another deployment's, and in use".into()
        }
        Standing::Foreign { marked: false } => match adopts(one, place, shown) {
            Some((credential, secret)) => format!(
                "not keyferry's, and never touched unasked; if AWS secret {secret} holds it: `keyferry adopt \
                 {credential} {}`",
                one.id
            ),
            None => "not keyferry's, and never touched unasked".into(),
        },
    }
}

/// The declared credential that may be adopted with this one: its secret has a value that is not
/// keyferry's, and nothing else that the vendor lists could be in it.
fn adopts<'a>(one: &Counted, place: &'a Place, shown: &Shown) -> Option<(&'a Name, &'a SecretName)> {
    let mut there = place.residents.iter().zip(&shown.glances).filter(|(_, glance)| {
        matches!(glance.decision.reason(), Reason::NotOurs | Reason::ForeignCurrent)
            && glance.view.secret.as_ref().and_then(|secret| adopt::only(secret, &shown.listing)) == Some(&one.id)
    });
    let (resident, _) = there.next().filter(|_| there.next().is_none())?;
    Some((&resident.name, &resident.destination.name))
}

fn text(place: &Place, shown: &Shown) -> String {
    let first = &place.residents[0];
    let mut lines = vec![format!("{} {} of {}", first.vendor, first.type_name, place.names())];
    for one in &shown.counted {
        lines.push(format!("  {:<7}  {}", word(&one.standing), one.id));
        lines.push(format!("           {}", sentence(one, place, shown)));
        let used = one.last_used.map_or(String::new(), |date| format!(", last used {date}"));
        lines.push(format!("           made {}{used}", one.created));
    }
    if shown.counted.is_empty() {
        lines.push("  none".into());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn document(place: &Place, shown: &Shown) -> Value {
    let first = &place.residents[0];
    let names: Vec<&str> = place.residents.iter().map(|one| one.name.as_str()).collect();
    let row = |one: &Counted| {
        let (credential, swept_from) = match &one.standing {
            Standing::Owned { credential, .. } => (Some(credential), None),
            Standing::Orphan { credential, swept_from } => (Some(credential), *swept_from),
            Standing::Undeclared { .. } | Standing::Foreign { .. } => (None, None),
        };
        json!({
            "id": one.id.as_str(),
            "standing": word(&one.standing),
            "message": sentence(one, place, shown),
            "credential": credential.map(|name| name.as_str()),
            "swept_from": swept_from.map(|date| date.to_string()),
            "created": one.created.to_string(),
            "last_used": one.last_used.map(|date| date.to_string()),
        })
    };
    json!({
        "vendor": first.vendor.as_str(),
        "type": first.type_name,
        "declared": names,
        "at": shown.listing.at.to_string(),
        "credentials": shown.counted.iter().map(row).collect::<Vec<_>>(),
    })
}

async fn revoke(engine: &Engine, asked: &Revoke, printer: &Printer) -> anyhow::Result<u8> {
    const NOTHING: &str = "nothing was revoked";
    let wanted = match &asked.credential {
        Some(name) => vec![select::by_name(name, engine.declaration(), NOTHING)?],
        None => engine.declaration().credentials.clone(),
    };
    // Whether a secret that is not declared any more tracks it must be known, not assumed.
    let undeclared = engine.undeclared().await?;
    let mut found = Vec::new();
    let mut unseen = Vec::new();
    for place in Place::of(&wanted, engine).await {
        match place.look(engine, &undeclared).await {
            Ok(shown) if shown.counted.iter().any(|one| one.id == asked.id) => found.push((place, shown)),
            Ok(_) => {}
            Err(fault) => unseen.push(fault),
        }
    }
    if found.len() > 1 {
        let places: Vec<String> = found.iter().map(|(place, _)| place.names()).collect();
        return Err(Wrong::new(format!("{} places list `{}`; {NOTHING}", found.len(), asked.id))
            .with_hint(format!("say which, with --credential and one of each: {}", places.join(" / ")))
            .into());
    }
    let Some((place, shown)) = found.pop() else {
        if let Some(fault) = unseen.into_iter().next() {
            return Err(fault.into());
        }
        return Err(Wrong::new(format!("no place lists a credential `{}`; {NOTHING}", asked.id))
            .with_hint("`keyferry orphans` lists them, with their ids")
            .into());
    };
    let residents = place.residents(&shown.glances, shown.listing.at);
    let one = match census::may_revoke(&shown.counted, &residents, &asked.id) {
        Ok(one) => one,
        Err(kept) => return Ok(told(asked, false, code::FAILING, &format!("NOT revoked: {kept}"), None, printer)),
    };
    if !asked.yes {
        let about = format!("{}\nmade {}", sentence(one, &place, &shown), one.created);
        confirmed(&asked.id, &about, printer)?;
    }
    // A person takes time to type; what was true before is looked at again.
    let again = place.look(engine, &engine.undeclared().await?).await?;
    let residents = place.residents(&again.glances, again.listing.at);
    let one = match census::may_revoke(&again.counted, &residents, &asked.id) {
        Ok(one) => one,
        Err(kept) => return Ok(told(asked, false, code::FAILING, &format!("NOT revoked: {kept}"), None, printer)),
    };
    match engine.revoke(&place.residents[0], one).await {
        Ok(Ended::Confirmed) => Ok(told(asked, true, code::FINE, "revoked; the vendor confirmed it", None, printer)),
        Ok(Ended::UnknownToVendor | Ended::NotListed) => {
            Ok(told(asked, true, code::FINE, "the vendor does not know it any more", None, printer))
        }
        Err(fault) => {
            let text = format!("NOT revoked: {fault}");
            Ok(told(asked, false, code::FAILING, &text, fault.hint.as_deref(), printer))
        }
    }
}

fn told(asked: &Revoke, revoked: bool, code: u8, text: &str, hint: Option<&str>, printer: &Printer) -> u8 {
    match printer.output() {
        Output::Json => printer.json(&json!({
            "id": asked.id.as_str(), "revoked": revoked, "message": text, "hint": hint, "exit_code": code,
        })),
        Output::Text => {
            say(format_args!("{}: {text}", asked.id));
            if let Some(hint) = hint {
                say(format_args!("  hint: {hint}"));
            }
        }
    }
    code
}

/// Asks for the id again, on a terminal.
fn confirmed(id: &VendorId, about: &str, printer: &Printer) -> Result<(), Wrong> {
    let asks = printer.output() == Output::Text && std::io::stdin().is_terminal();
    if !asks {
        return Err(Wrong::new(format!("`{id}` would be revoked for good; nothing was revoked"))
            .with_hint("add `--yes` where nobody can be asked"));
    }
    say(format_args!("{id}: {about}\nRevoked, it is dead for good, whoever uses it. Type the id again to revoke it:"));
    let _ = std::io::stdout().flush();
    let mut typed = String::new();
    let read = std::io::stdin().lock().read_line(&mut typed);
    if read.is_ok() && typed.trim() == id.as_str() {
        return Ok(());
    }
    Err(Wrong::new("that is another id; nothing was revoked"))
}
