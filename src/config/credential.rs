//! `[[credential]]`: one table becomes one `model::credential::Credential`, with everything it
//! leaves out taken from the defaults and the vendor's table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::delivery::{self, Filling, NameTemplate, Pieces, Tags, Value};
use super::diagnostic::{Code, Problem};
use super::fingerprint;
use super::frame::{Frame, Vendor};
use super::notes::{Notes, Span, listed, shortened};
use super::options::{self, Inherited};
use super::proof::{Places, Stance};
use super::schedule::Patterns;
use super::timing::Timing;
use super::tree::Table;
use crate::model::capability::Marking;
use crate::model::credential::{Credential, Destination};
use crate::model::name::{Name, SecretName, TargetName};
use crate::model::option::{Kind, Options, Reference};
use crate::model::policy::{Takeover, Wanted};
use crate::vendors::{self, Type};

pub(super) const KEYS: [&str; 16] = [
    "name",
    "vendor",
    "type",
    "rotate",
    "overlap",
    "consumers",
    "retire_when",
    "window",
    "freeze",
    "state",
    "takeover",
    "allow_shape_change",
    "ownership",
    "verify",
    "aws",
    "secret",
];
const SECRET_KEYS: [&str; 7] = ["name", "description", "kms_key_id", "tags", "value", "create", "aws"];

/// What may be there only once, and where it was seen first.
#[derive(Default)]
pub(super) struct Index<'t> {
    names: HashMap<&'t str, Span>,
    secrets: HashMap<(TargetName, SecretName), Span>,
    /// Records at vendors that keep one value in place.
    records: HashMap<String, Span>,
    places: Places,
}

/// Reads one credential; `None` when anything about it is wrong.
pub(super) fn read<'t>(
    notes: &mut Notes<'_>,
    frame: &Frame<'t>,
    patterns: &mut Patterns,
    index: &mut Index<'t>,
    table: Table<'t>,
) -> Option<Arc<Credential>> {
    let name = name(notes, index, table);
    let of = name.as_ref().map_or("this credential".into(), |(name, _)| format!("`{name}`"));
    let (vendor, kind) = vendor_and_type(notes, frame, table);
    let made_at = vendor.zip(kind);
    unknown_keys(notes, vendor, kind, table);
    let options = made_at.and_then(|(vendor, kind)| options(notes, frame, vendor, kind, table, &of));
    let timing = Timing::read(notes, frame, patterns, table, kind, &of);
    let state = state(notes, table);
    let takeover = takeover(notes, table);
    let reshape = reshape(notes, table);
    let pieces = made_at.and_then(|(vendor, kind)| pieces(vendor, kind, options.as_ref()));
    let stance = Stance::read(notes, frame, table, kind);
    let side = Side::read(notes, table, pieces.as_ref());
    let target = target(notes, frame, table, side.as_ref(), &of);

    // Each setting was looked at by itself; from here on, what belongs together is judged.
    let (vendor, kind) = made_at?;
    let mut policy = vendor.good.then_some(target.as_ref()).flatten().and_then(|target| {
        let lifted = vendor.loopback && frame.targets.is_loopback(target);
        timing.policy(notes, kind, lifted)
    });
    let stance = options.as_ref().and_then(|options| {
        let place = fingerprint::place(&vendor.instance, kind, options);
        stance.judged(notes, vendor, kind, options, (table, &mut index.places, &place))
    });
    let (name, at) = name?;
    let (side, target) = (side?, target?);
    let taken_over = takeover == Some(Takeover::Rotate);
    let subject = Subject { name: &name, at, vendor, kind, target: &target, taken_over };
    let (secret_name, tags) = deliver(notes, frame, index, table, &subject, &side)?;
    let (options, mut policy) = (options?, policy.take()?);
    policy.wanted = state?;
    policy.place = fingerprint::place(&vendor.instance, kind, &options);
    (policy.verify, policy.ownership) = stance?;
    policy.create_secret = side.create;
    policy.takeover = takeover?;
    policy.allow_shape_change = reshape?;
    if supplied(kind) {
        one_record(notes, index, table, kind, &policy.place)?;
    }
    policy.at = fingerprint::at(&vendor.instance, kind, &options, policy.ownership);
    policy.seed = fingerprint::seed(&frame.deployment, &name);
    let fingerprint = fingerprint::of(vendor.instance.spec.kind, kind.name, &options, &side.value);
    Some(Arc::new(Credential {
        name,
        deployment: frame.deployment.clone(),
        vendor: vendor.instance.name.clone(),
        type_name: kind.name,
        options,
        policy,
        destination: Destination {
            target,
            name: secret_name,
            description: side.description,
            kms_key_id: side.kms_key_id.or_else(|| frame.defaults.kms_key_id.clone()).filter(|_| side.create),
            tags,
            shape: side.value.shape,
        },
        fingerprint,
    }))
}

/// What a stored value may hold. What a broken option would have supplied is not known; all else is.
fn pieces(vendor: &Vendor, kind: &Type, options: Option<&Options>) -> Option<Pieces> {
    match options {
        Some(options) => Some(Pieces::of(vendor.instance.spec, kind, options)),
        None if supplied(kind) => None,
        None => Some(Pieces::of(vendor.instance.spec, kind, &Options::default())),
    }
}

/// `takeover`: what becomes of a secret of that name that is not ours.
fn takeover(notes: &mut Notes<'_>, table: Table<'_>) -> Option<Takeover> {
    if !table.has("takeover") {
        return Some(Takeover::Refuse);
    }
    notes.word(table, "takeover", &[("refuse", Takeover::Refuse), ("rotate", Takeover::Rotate)])
}

/// `allow_shape_change`: whether one that is adopted may be stored in another shape.
fn reshape(notes: &mut Notes<'_>, table: Table<'_>) -> Option<bool> {
    let before = notes.error_count();
    let allowed = notes.flag(table, "allow_shape_change").unwrap_or(false);
    (notes.error_count() == before).then_some(allowed)
}

/// Two credentials can't keep their values in one record.
fn one_record(notes: &mut Notes<'_>, index: &mut Index<'_>, table: Table<'_>, kind: &Type, place: &str) -> Option<()> {
    let at = kind.place.first().and_then(|key| table.get(key)).map_or(table.span, |item| item.span);
    if let Some(first) = index.records.get(place) {
        let problem = Problem::error(Code::Duplicate, at, "two credentials would keep their values in one record");
        notes.push(problem.other(*first, "the first one").help("give one of them a record of its own"));
        return None;
    }
    index.records.insert(place.to_owned(), at);
    Some(())
}

/// Whether keyferry supplies what is kept at the vendor.
fn supplied(kind: &Type) -> bool {
    kind.capabilities.marking == Marking::InPlace
}

fn name<'t>(notes: &mut Notes<'_>, index: &mut Index<'t>, table: Table<'t>) -> Option<(Name, Span)> {
    if !table.has("name") {
        notes.missing(table, "name", "this credential", "give it a name that stays: `name = \"billing-worker\"`");
        return None;
    }
    let text = notes.text(table, "name", "name = \"billing-worker\"")?;
    let name = match Name::new(text.text) {
        Ok(name) => name,
        Err(rule) => {
            let message = format!("`{}` can't be the name of a credential", shortened(text.text));
            notes.push(Problem::error(Code::BadValue, text.span, message).help(format!("write {rule}")));
            return None;
        }
    };
    if let Some(first) = index.names.get(text.text) {
        notes.push(
            Problem::error(Code::Duplicate, text.span, format!("two credentials have the name `{name}`"))
                .other(*first, "the first one")
                .help("a name stands for one credential for ever: rename or remove one of them"),
        );
        return None;
    }
    index.names.insert(text.text, text.span);
    Some((name, text.span))
}

fn vendor_and_type<'f>(
    notes: &mut Notes<'_>,
    frame: &'f Frame<'_>,
    table: Table<'_>,
) -> (Option<&'f Vendor>, Option<&'static Type>) {
    let mut vendor = None;
    if table.has("vendor") {
        if let Some(text) = notes.text(table, "vendor", "vendor = \"keycard\"") {
            match frame.vendors.get(text.text) {
                Some(found) => vendor = found.as_ref(),
                None => {
                    let help = match frame.vendors.is_empty() {
                        true => format!("declare it: `[vendors.{}]` with its `kind`", shortened(text.text)),
                        false => {
                            notes.did_you_mean(text.text, frame.vendors.keys().map(String::as_str), "declared vendors")
                        }
                    };
                    let message = format!("there is no vendor `{}`", shortened(text.text));
                    notes.push(Problem::error(Code::UnknownName, text.span, message).help(help));
                }
            }
        }
    } else {
        let help = "name the table it comes from: `vendor = \"keycard\"` for `[vendors.keycard]`";
        notes.missing(table, "vendor", "this credential", help);
    }
    (vendor, vendor.and_then(|vendor| kind(notes, vendor, table)))
}

fn kind(notes: &mut Notes<'_>, vendor: &Vendor, table: Table<'_>) -> Option<&'static Type> {
    let spec = vendor.instance.spec;
    let words = || spec.types.iter().map(|kind| kind.name);
    if !table.has("type") {
        let help = format!("types of {}: {}", spec.title, listed(words()));
        notes.missing(table, "type", "this credential", help);
        return None;
    }
    let text = notes.text(table, "type", "type = \"password\"")?;
    let kind = spec.types.iter().find(|kind| kind.name == text.text);
    if kind.is_none() {
        let help = notes.did_you_mean(text.text, words(), "its types");
        let message = format!("{} has no credential type `{}`", spec.title, shortened(text.text));
        notes.push(Problem::error(Code::UnknownName, text.span, message).help(help));
    }
    kind
}

/// Refuses keys that are neither ours nor the type's; where the type is not known, nor those of any
/// type that it could be.
fn unknown_keys(notes: &mut Notes<'_>, vendor: Option<&Vendor>, kind: Option<&'static Type>, table: Table<'_>) {
    let elsewhere = Some((&SECRET_KEYS[..], "[credential.secret]"));
    if let Some(kind) = kind {
        let guarded = kind.fields.iter().any(|field| field.kind == Kind::Secret);
        notes.unknown_keys(
            table,
            KEYS.into_iter().chain(kind.fields.iter().map(|field| field.name)),
            guarded,
            elsewhere,
        );
        return;
    }
    let specs = vendors::ALL.iter().filter(|spec| vendor.is_none_or(|own| own.instance.spec.kind == spec.kind));
    let fields = specs.flat_map(|spec| spec.types).flat_map(|kind| kind.fields).map(|field| field.name);
    notes.unknown_keys(table, KEYS.into_iter().chain(fields), true, elsewhere);
}

/// The type's own options, with the vendor's for those that are left out.
fn options(
    notes: &mut Notes<'_>,
    frame: &Frame<'_>,
    vendor: &Vendor,
    kind: &'static Type,
    table: Table<'_>,
    of: &str,
) -> Option<Options> {
    let place = format!("`[vendors.{}]`", vendor.instance.name);
    let inherited = Inherited {
        options: &vendor.instance.options,
        fields: vendor.instance.spec.fields,
        wrong: &vendor.wrong,
        place: &place,
    };
    let read = options::read(notes, table, kind.fields, Some(inherited), &frame.targets, of);
    if vendor.good {
        sandbox_stays_home(notes, vendor, kind, &read.options, table)?;
    }
    if !read.wrong.is_empty() {
        return None;
    }
    let objections = (vendor.instance.spec.judge)(kind, &read.options);
    for objection in &objections {
        let at = table.get(objection.field).map_or(table.span, |item| item.span);
        let problem = Problem::error(Code::Disagreement, at, format!("{of}: {}", objection.message));
        notes.push(problem.help(objection.help.clone()));
    }
    objections.is_empty().then_some(read.options)
}

fn sandbox_stays_home(
    notes: &mut Notes<'_>,
    vendor: &Vendor,
    kind: &Type,
    options: &Options,
    table: Table<'_>,
) -> Option<()> {
    for field in kind.fields {
        let sandbox = options.references().any(|(name, from)| name == field.name && *from == Reference::Sandbox);
        if sandbox && !vendor.loopback {
            let at = table.get(field.name).map_or(table.span, |item| item.span);
            let message = "the sandbox's own secret is for a vendor on a loopback address only";
            let problem = Problem::error(Code::LoopbackOnly, at, message).other(vendor.at, "this vendor");
            notes.push(problem.help("write a real reference, such as { env = \"NAME\" }"));
            return None;
        }
    }
    Some(())
}

/// `state`: whether the credential is wanted.
fn state(notes: &mut Notes<'_>, table: Table<'_>) -> Option<Wanted> {
    if !table.has("state") {
        return Some(Wanted::Present);
    }
    notes.word(table, "state", &[("present", Wanted::Present), ("retired", Wanted::Retired)])
}

/// `[credential.secret]`, by itself.
struct Side<'t> {
    table: Option<Table<'t>>,
    name: Option<NameTemplate<'t>>,
    description: Option<String>,
    kms_key_id: Option<String>,
    tags: Tags<'t>,
    create: bool,
    value: Value,
}

impl<'t> Side<'t> {
    fn read(notes: &mut Notes<'_>, credential: Table<'t>, pieces: Option<&Pieces>) -> Option<Self> {
        let Some(item) = credential.get("secret") else {
            return Some(Self {
                table: None,
                name: None,
                description: None,
                kms_key_id: None,
                tags: Tags::default(),
                create: true,
                value: delivery::standard_value(pieces?),
            });
        };
        let Some(table) = item.as_table() else {
            super::mask::leaves(notes, item);
            notes.wrong_type("secret", item, "a table", "[credential.secret]");
            return None;
        };
        let before = notes.error_count();
        notes.unknown_keys(
            table,
            SECRET_KEYS.into_iter(),
            false,
            Some((&KEYS, "[[credential]], above [credential.secret]")),
        );
        let name = notes
            .text(table, "name", "name = \"{deployment}/{vendor}/{name}\"")
            .and_then(|text| NameTemplate::read(notes, text));
        let description = delivery::description(notes, table);
        let kms_key_id = delivery::kms_key(notes, table);
        let tags = delivery::tags(notes, table);
        let create = notes.flag(table, "create").unwrap_or(true);
        if !create {
            for key in ["tags", "kms_key_id", "description"] {
                if let Some(at) = table.key_span(key) {
                    let message = format!("`{key}` has no effect beside `create = false`");
                    notes.push(
                        Problem::error(Code::Disagreement, at, message)
                            .other_if(table.key_span("create"), "whoever creates the secret decides about it")
                            .help(format!("remove `{key}`, or let keyferry create the secret")),
                    );
                }
            }
        }
        // Without a known type, only the rest of the table can be judged.
        let pieces = pieces?;
        let value = match table.get("value") {
            Some(item) => delivery::value(notes, item, pieces),
            None => Some(delivery::standard_value(pieces)),
        };
        let good = notes.error_count() == before;
        let (tags, value) = (tags?, value?);
        good.then_some(Self { table: Some(table), name, description, kms_key_id, tags, create, value })
    }
}

/// `aws`, of the credential or of its secret, or the only target there is.
fn target(
    notes: &mut Notes<'_>,
    frame: &Frame<'_>,
    table: Table<'_>,
    side: Option<&Side<'_>>,
    of: &str,
) -> Option<TargetName> {
    let inner = side.and_then(|side| side.table).filter(|inner| inner.has("aws"));
    if let (Some(at), Some(other)) = (table.key_span("aws"), inner.and_then(|inner| inner.key_span("aws"))) {
        let problem = Problem::error(Code::Duplicate, other, "`aws` is given twice").other(at, "the other one");
        notes.push(problem.help("keep one of them"));
        return None;
    }
    let from = if table.has("aws") { Some(table) } else { inner };
    match from {
        Some(from) => {
            let text = notes.text(from, "aws", "aws = \"main\"")?;
            frame.targets.find(notes, text)
        }
        None => frame.targets.only(notes, table.span, of),
    }
}

/// Which credential it is, and where it comes from and goes to.
struct Subject<'a> {
    name: &'a Name,
    at: Span,
    vendor: &'a Vendor,
    kind: &'a Type,
    target: &'a TargetName,
    /// The secret is there already, and keyferry is to take it over.
    taken_over: bool,
}

/// The name and tags of the AWS secret, with the defaults filled in.
fn deliver(
    notes: &mut Notes<'_>,
    frame: &Frame<'_>,
    index: &mut Index<'_>,
    table: Table<'_>,
    subject: &Subject<'_>,
    side: &Side<'_>,
) -> Option<(SecretName, BTreeMap<String, String>)> {
    let filling = Filling {
        deployment: frame.deployment.as_str(),
        vendor: subject.vendor.instance.name.as_str(),
        name: subject.name.as_str(),
        type_name: subject.kind.name,
    };
    let own = side.table.and_then(|table| table.get("name")).map(|item| item.span);
    let template = match &side.name {
        Some(template) => template,
        None => frame.defaults.secret_name.as_ref()?,
    };
    let secret = template.name(notes, &filling, subject.at, side.create && !subject.taken_over)?;
    let here = own.unwrap_or(subject.at);
    let key = (subject.target.clone(), secret.clone());
    if let Some(first) = index.secrets.get(&key) {
        notes.push(
            Problem::error(Code::Duplicate, here, format!("two credentials would write the AWS secret `{secret}`"))
                .other(*first, "the first one")
                .help("give one of them another `name` in `[credential.secret]`, or another target"),
        );
        return None;
    }
    index.secrets.insert(key, here);
    let tags = match (&frame.defaults.tags, side.create) {
        (_, false) => Some(BTreeMap::new()),
        (None, true) => None,
        (Some(defaults), true) => {
            let span = side.table.and_then(|table| table.get("tags")).map_or(table.span, |item| item.span);
            delivery::merged(notes, defaults, &side.tags, span)
        }
    };
    Some((secret, tags?))
}
