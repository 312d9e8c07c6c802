//! Hashes that stand for a declaration where the declaration itself is not at hand.

use sha2::{Digest, Sha256};

use super::VendorInstance;
use super::delivery::Value;
use crate::model::capability::Marking;
use crate::model::name::{Deployment, Name, TargetName};
use crate::model::option::{self, Options, Reference};
use crate::model::place::At;
use crate::model::policy::Ownership;
use crate::model::source::Source;
use crate::vendors::Type;

/// 16 hex digits over all that makes the value what it is. Each piece goes in with its length, so
/// that no two lists of pieces look alike.
pub(super) fn of(vendor_kind: &str, type_name: &str, options: &Options, value: &Value) -> String {
    let mut digest = Sha256::new();
    let mut add = |piece: &str| {
        digest.update((piece.len() as u64).to_be_bytes());
        digest.update(piece);
    };
    add(vendor_kind);
    add(type_name);
    for (name, value) in options.iter() {
        add(name);
        match value {
            option::Value::Text(text) => add(text),
            option::Value::Bool(flag) => add(if *flag { "true" } else { "false" }),
            option::Value::Secret(reference) => add(&canonical(reference)),
            option::Value::Source(piece) => add(&canonical_source(&piece.source)),
            option::Value::Object(object) => {
                add(&serde_json::Value::Object(object.fixed.clone()).to_string());
                for (key, piece) in &object.pieces {
                    add(key);
                    add(&canonical_source(&piece.source));
                }
            }
        }
    }
    add("value");
    for (key, template) in &value.canonical {
        add(if key.is_some() { "field" } else { "plain" });
        add(key.as_deref().unwrap_or_default());
        add(template);
    }
    digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical_source(source: &Source) -> String {
    match source {
        Source::Generate(rule) => format!("generate {} {}", rule.length(), rule.alphabet()),
        Source::Read(reference) => canonical(reference),
        Source::Credential { name, output } => format!("credential {name} {output}"),
    }
}

/// 16 hex digits over all that says where at the vendor a credential lives, and what it is there.
pub(super) fn place(vendor: &VendorInstance, kind: &Type, options: &Options) -> String {
    // An address that a credential may have too counts only where the type says so.
    let own = |field: &&option::Field| kind.fields.iter().all(|other| other.name != field.name);
    let urls = vendor.spec.fields.iter().filter(|field| field.kind == option::Kind::Url).filter(own);
    let service = urls.map(|field| vendor.options.text(field.name).unwrap_or_default());
    let where_at = kind.place.iter().map(|name| options.text(name).unwrap_or_default());
    let who = [vendor.name.as_str(), vendor.spec.kind, kind.name];
    // A type without such options keeps the hash that it always had.
    let what = kind.content.iter().map(|name| options.text(name).unwrap_or_default());
    short_digest(who.into_iter().chain(service).chain(where_at).chain(what))
}

/// The place in words. Its home is what a move can't change: the vendor instance, the service
/// behind it, and how its credentials are told from others.
pub(super) fn at(vendor: &VendorInstance, kind: &Type, options: &Options, ownership: Ownership) -> Option<At> {
    let marking = match kind.capabilities.marking {
        Marking::Named => "named",
        Marking::Unnamed => "unnamed",
        Marking::InPlace => "in-place",
    };
    let own = |field: &&option::Field| kind.fields.iter().all(|other| other.name != field.name);
    let urls = vendor.spec.fields.iter().filter(|field| field.kind == option::Kind::Url).filter(own);
    let service = urls.filter_map(|field| vendor.options.text(field.name));
    let service: Vec<String> = service.map(|url| short_digest([url].into_iter())).collect();
    let home = [vendor.name.as_str(), vendor.spec.kind, marking];
    let home: Vec<&str> = home.into_iter().chain(service.iter().map(String::as_str)).collect();
    let options = kind.place.iter().map(|name| (*name, options.text(name).unwrap_or_default()));
    At::new(&home, kind.name, options, ownership)
}

fn short_digest<'a>(pieces: impl Iterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for piece in pieces {
        digest.update((piece.len() as u64).to_be_bytes());
        digest.update(piece);
    }
    digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seed for a credential's jitter.
pub(super) fn seed(deployment: &Deployment, name: &Name) -> u64 {
    let mut digest = Sha256::new();
    digest.update(deployment.as_str());
    digest.update("\n");
    digest.update(name.as_str());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.finalize()[..8]);
    u64::from_be_bytes(first)
}

fn canonical(reference: &Reference) -> String {
    match reference {
        Reference::Env(name) => format!("env {name}"),
        Reference::File(path) => format!("file {}", path.display()),
        Reference::SystemdCredential(name) => format!("systemd {name}"),
        Reference::AwsSecret { target, name, key } => {
            let target = target.as_ref().map(TargetName::as_str).unwrap_or_default();
            format!("aws {target} {name} {}", key.as_deref().unwrap_or_default())
        }
        Reference::Sandbox => "sandbox".into(),
    }
}
