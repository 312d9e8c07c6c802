//! The AWS side of a credential: the secret's name, tags, key, and the shape of its value.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::diagnostic::{Code, Problem, Severity};
use super::notes::{Notes, Span, listed, shortened};
use super::texts;
use super::tree::{Item, Table, Text};
use crate::model::capability::{Marking, Proof};
use crate::model::name::SecretName;
use crate::model::option::{Kind, Options};
use crate::model::payload::{Letters, Malformed, Shape, Template};
use crate::model::source::Source;
use crate::vendors::{Spec, Type};

/// AWS allows 50 tags on a resource; eight are keyferry's own (`model::label`).
const TAG_COUNT_MAX: usize = 42;
const TAG_KEY_CHAR_COUNT_MAX: usize = 128;
const TAG_VALUE_CHAR_COUNT_MAX: usize = 256;
/// Longest description and KMS key id (Secrets Manager API reference, CreateSecret).
const AWS_TEXT_CHAR_COUNT_MAX: usize = 2_048;
const PLACEHOLDERS: [&str; 4] = ["deployment", "vendor", "name", "type"];
const STANDARD_NAME: &str = "{deployment}/{vendor}/{name}";

/// A text with `{deployment}`, `{vendor}`, `{name}` and `{type}` in it.
#[derive(Clone)]
pub(super) struct NameTemplate<'t> {
    text: &'t str,
    span: Option<Span>,
}

impl Default for NameTemplate<'_> {
    fn default() -> Self {
        Self { text: STANDARD_NAME, span: None }
    }
}

/// What stands in the places of a name template.
pub(super) struct Filling<'a> {
    pub deployment: &'a str,
    pub vendor: &'a str,
    pub name: &'a str,
    pub type_name: &'a str,
}

impl<'t> NameTemplate<'t> {
    /// Checks the places; what a template gives can only be checked once it is filled in.
    pub fn read(notes: &mut Notes<'_>, text: Text<'t>) -> Option<Self> {
        let probe = Filling { deployment: "", vendor: "", name: "", type_name: "" };
        match fill(text.text, &probe) {
            Ok(_) => Some(Self { text: text.text, span: Some(text.span) }),
            Err(place) => {
                let at = text.part(notes, place.clone());
                let inner = text.text[place].trim_matches(['{', '}']);
                let help = notes.did_you_mean(inner, PLACEHOLDERS.into_iter(), "places");
                let message = format!("`{{{}}}` is not a place in a name", shortened(inner));
                notes.push(Problem::error(Code::Template, at, message).help(help));
                None
            }
        }
    }

    /// The name for one credential; `at` is the credential's own name, where the template is not its own.
    /// `new`: whether keyferry is to create the secret.
    pub fn name(&self, notes: &mut Notes<'_>, filling: &Filling<'_>, at: Span, new: bool) -> Option<SecretName> {
        let text = fill(self.text, filling).ok()?;
        match SecretName::new(&text) {
            Ok(name) if name.is_managed() => {
                let message = format!("`{}` is the name of a secret that an AWS service manages", shortened(&text));
                let help = "no one else may write such a secret; a source (`aws_secret`) may have this name";
                notes.push(self.problem(at, message).help(help));
                None
            }
            Ok(name) => {
                if new && name.looks_like_arn() {
                    let message =
                        format!("the name `{name}` ends in a hyphen and six characters, as the end of an ARN does");
                    let help = "AWS advises against such names for new secrets: end it with a longer or shorter word, \
                                for example with `/{type}`. keyferry itself reads by the full name, so a secret that is \
                                already there may keep it (`create = false` says so)";
                    notes.push(Problem { severity: Severity::Warning, ..self.problem(at, message).help(help) });
                }
                Some(name)
            }
            Err(rule) => {
                let message = format!("`{}` can't be the name of an AWS secret", shortened(&text));
                notes.push(self.problem(at, message).help(format!("a name is {rule}")));
                None
            }
        }
    }

    fn problem(&self, at: Span, message: String) -> Problem {
        match self.span {
            Some(span) if !self.text.contains('{') => Problem::error(Code::Template, span, message),
            Some(span) => Problem::error(Code::Template, at, message).other(span, "made by this template"),
            None => Problem::error(Code::Template, at, message)
                .label(format!("made by the standard template, `{STANDARD_NAME}`")),
        }
    }
}

/// Fills a template in, or says which bytes of it are no place.
fn fill(template: &str, filling: &Filling<'_>) -> Result<String, std::ops::Range<usize>> {
    let mut text = String::with_capacity(template.len() + 32);
    let mut at = 0;
    while let Some(open) = template[at..].find(['{', '}']).map(|offset| at + offset) {
        text.push_str(&template[at..open]);
        let Some(close) = template[open..].find('}').map(|offset| open + offset) else {
            return Err(open..template.len());
        };
        text.push_str(match &template[open..=close] {
            "{deployment}" => filling.deployment,
            "{vendor}" => filling.vendor,
            "{name}" => filling.name,
            "{type}" => filling.type_name,
            _ => return Err(open..close + 1),
        });
        at = close + 1;
    }
    text.push_str(&template[at..]);
    Ok(text)
}

/// Tags, with where each stands.
pub(super) type Tags<'t> = BTreeMap<&'t str, (&'t str, Span)>;

/// Reads `tags`; `None` when one of them is wrong.
pub(super) fn tags<'t>(notes: &mut Notes<'_>, table: Table<'t>) -> Option<Tags<'t>> {
    let mut tags = Tags::default();
    if !table.has("tags") {
        return Some(tags);
    }
    let table = notes.table(table, "tags", "tags = { CostCenter = \"42\" }")?;
    let mut good = true;
    for (key, at, item) in table.iter() {
        let Some(value) = item.as_text() else {
            notes.wrong_type(key, item, "a string", "tags = { CostCenter = \"42\" }");
            good = false;
            continue;
        };
        let mut refuse = |span, message: String, help: &str| {
            notes.push(Problem::error(Code::Tag, span, message).help(help));
            good = false;
        };
        let lower = key.to_lowercase();
        if lower.starts_with("aws:") {
            refuse(at, "tag keys with `aws:` belong to AWS".into(), "choose another key");
        } else if lower.starts_with("keyferry:") {
            refuse(at, "tag keys with `keyferry:` belong to keyferry".into(), "choose another key");
        } else if !(1..=TAG_KEY_CHAR_COUNT_MAX).contains(&key.chars().count()) {
            refuse(at, format!("a tag key has 1 to {TAG_KEY_CHAR_COUNT_MAX} characters"), "shorten it");
        } else if !key.chars().all(tag_character) {
            refuse(at, "a tag key can't have these characters".into(), TAG_CHARACTERS);
        }
        if value.text.chars().count() > TAG_VALUE_CHAR_COUNT_MAX {
            refuse(value.span, format!("a tag has at most {TAG_VALUE_CHAR_COUNT_MAX} characters"), "shorten it");
        } else if !value.text.chars().all(tag_character) {
            refuse(value.span, "a tag can't have these characters".into(), TAG_CHARACTERS);
        }
        tags.insert(key, (value.text, at));
    }
    good.then_some(tags)
}

const TAG_CHARACTERS: &str = "write letters, digits, spaces and `:_@/+=.-`";

fn tag_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || " :_@/+=.-".contains(character)
}

/// The defaults' tags under the credential's own.
pub(super) fn merged(
    notes: &mut Notes<'_>,
    defaults: &Tags<'_>,
    own: &Tags<'_>,
    at: Span,
) -> Option<BTreeMap<String, String>> {
    let all: BTreeMap<String, String> =
        defaults.iter().chain(own).map(|(key, (value, _))| ((*key).to_owned(), (*value).to_owned())).collect();
    if all.len() > TAG_COUNT_MAX {
        let message = format!("{} tags are too many: at most {TAG_COUNT_MAX}", all.len());
        notes.push(
            Problem::error(Code::Tag, at, message).help("AWS allows 50 on a secret, and keyferry needs six of them"),
        );
        return None;
    }
    Some(all)
}

/// Reads a KMS key: an ARN, an id, or an alias.
pub(super) fn kms_key(notes: &mut Notes<'_>, table: Table<'_>) -> Option<String> {
    let text = notes.text(table, "kms_key_id", "kms_key_id = \"alias/keyferry\"")?;
    let good = (1..=AWS_TEXT_CHAR_COUNT_MAX).contains(&text.text.len())
        && text.text.chars().all(|c| c.is_ascii_alphanumeric() || "-_/:.".contains(c))
        && (!text.text.starts_with("arn:") || text.text.split(':').nth(2) == Some("kms"));
    if !good {
        notes.push(
            Problem::error(Code::BadValue, text.span, "this is not a KMS key")
                .help("write its ARN (`arn:aws:kms:…`), its id, or an alias (`alias/…`)"),
        );
        return None;
    }
    Some(text.text.to_owned())
}

/// Reads a description.
pub(super) fn description(notes: &mut Notes<'_>, table: Table<'_>) -> Option<String> {
    let text = notes.text(table, "description", "description = \"…\"")?;
    texts::plain(notes, "description", text, AWS_TEXT_CHAR_COUNT_MAX)?;
    Some(text.text.to_owned())
}

/// A shape, and its canonical form: the key (none for plain text) and template of each piece.
pub(super) struct Value {
    pub shape: Shape,
    pub canonical: Vec<(Option<String>, String)>,
}

/// Which outputs a stored value of one credential may hold, and which it must.
#[derive(Clone)]
pub(super) struct Pieces {
    /// Each with the characters that it can have.
    pub known: Vec<(&'static str, Letters)>,
    pub needed: Vec<&'static str>,
    /// What is stored where nothing is declared: what it must hold, or all where none is a secret.
    pub standard: Vec<&'static str>,
}

impl Pieces {
    /// Those of a type; where keyferry supplies what is kept at the vendor, all that it supplies has
    /// to be stored, and nothing else of the kind is there.
    pub fn of(spec: &Spec, kind: &Type, options: &Options) -> Self {
        let letters = |name: &'static str| (name, letters(spec, kind, options, name));
        if kind.capabilities.marking != Marking::InPlace {
            let (known, needed) = (kind.outputs.iter().copied().map(letters).collect(), kind.proof_outputs.to_vec());
            let standard = match kind.capabilities.proof {
                Proof::Existence => kind.outputs.to_vec(),
                Proof::Login | Proof::LoginAt(_) | Proof::Impossible => needed.clone(),
            };
            return Self { known, needed, standard };
        }
        let possible = |output: &str| {
            kind.fields.iter().any(|field| match field.kind {
                Kind::Source { output: own } => own == output,
                Kind::Object { sources, .. } => sources.iter().any(|(_, own)| *own == output),
                Kind::Text { .. } | Kind::Url | Kind::OneOf(_) | Kind::Bool | Kind::Secret => false,
            })
        };
        let mut supplied: Vec<&'static str> = options.pieces().iter().map(|piece| piece.output).collect();
        let there = kind.outputs.iter().copied().filter(|name| !possible(name) || supplied.contains(name));
        let known = there.map(letters).collect();
        if supplied.is_empty() {
            supplied = kind.proof_outputs.to_vec();
        }
        Self { known, needed: supplied.clone(), standard: supplied }
    }
}

/// Which characters an output can have: those of what is declared to become it, or what the vendor says.
fn letters(spec: &Spec, kind: &Type, options: &Options, output: &str) -> Letters {
    let supplied = options.pieces().into_iter().find(|piece| piece.output == output);
    match (supplied.map(|piece| &piece.source), options.text(output)) {
        (Some(Source::Generate(rule)), _) => Letters::Of(rule.alphabet().into()),
        (Some(Source::Read(_) | Source::Credential { .. }), _) => Letters::Any,
        (None, Some(text)) if kind.capabilities.marking == Marking::InPlace => Letters::Of(text.into()),
        (None, _) => (spec.letters)(kind, output),
    }
}

/// The shape where none is declared.
pub(super) fn standard_value(pieces: &Pieces) -> Value {
    let mut names = pieces.standard.clone();
    names.sort_unstable();
    let canonical = names.iter().map(|name| (Some((*name).into()), format!("{{{name}}}"))).collect();
    Value { shape: Shape::of_outputs(&names), canonical }
}

/// Reads `value`: one text, or a table of texts.
pub(super) fn value(notes: &mut Notes<'_>, item: Item<'_>, pieces: &Pieces) -> Option<Value> {
    let (shape, canonical) = match item.value {
        DeValue::String(_) => {
            let text = item.as_text()?;
            let template = template(notes, text, pieces)?;
            (Shape::Plain(template), vec![(None, text.text.to_owned())])
        }
        DeValue::Table(_) => {
            let table = item.as_table()?;
            let (mut fields, mut canonical, mut good) = (Vec::new(), Vec::new(), true);
            for (key, at, inner) in table.iter() {
                let Some(text) = inner.as_text() else {
                    notes.wrong_type(key, inner, "a string", "value = { CLIENT_ID = \"{client_id}\" }");
                    good = false;
                    continue;
                };
                if key.is_empty() {
                    let problem = Problem::error(Code::BadValue, at, "a key of the stored value can't be empty");
                    notes.push(problem.help("give it a name"));
                    good = false;
                }
                match template(notes, text, pieces) {
                    Some(template) => fields.push((key.to_owned(), template)),
                    None => good = false,
                }
                canonical.push((Some(key.to_owned()), text.text.to_owned()));
            }
            if !good {
                return None;
            }
            (Shape::Object(fields), canonical)
        }
        _ => {
            notes.wrong_type("value", item, "a string or a table", "value = { CLIENT_ID = \"{client_id}\" }");
            return None;
        }
    };
    let lacking: Vec<&str> =
        pieces.needed.iter().copied().filter(|name| !shape.names().any(|there| there == *name)).collect();
    if !lacking.is_empty() {
        hide_constants(notes, item);
        let message = format!("the stored value lacks {}", listed(lacking.iter().copied()));
        let add = lacking.iter().map(|name| format!("`{{{name}}}`")).collect::<Vec<_>>().join(" and ");
        notes.push(
            Problem::error(Code::Shape, item.span, message)
                .label("a candidate could not be proved after a crash")
                .help(format!(
                    "add {add}: keyferry proves what it stored before it publishes it, also when it was stopped in \
                     between and has nothing else left"
                )),
        );
        return None;
    }
    told_apart(notes, item, &shape)?;
    Some(Value { shape, canonical })
}

/// Refuses a value of which nothing tells where one output ends and the next begins.
fn told_apart(notes: &mut Notes<'_>, item: Item<'_>, shape: &Shape) -> Option<()> {
    let Some(blurred) = shape.blurred() else { return Some(()) };
    let (left, right) = (&blurred.left, &blurred.right);
    let template = format!("{{{left}}}{}{{{right}}}", blurred.between);
    let inner: Vec<Item<'_>> =
        item.as_table().map(|table| table.iter().map(|(.., item)| item).collect()).unwrap_or_default();
    let holds = |item: &&Item<'_>| item.as_text().is_some_and(|text| text.text.contains(&template));
    let at = inner.iter().find(holds).unwrap_or(&item).span;
    let message = format!(
        "keyferry could not separate `{{{left}}}` and `{{{right}}}` again: both can contain the `{}` between them",
        shortened(&blurred.between)
    );
    let alone = format!("store each under its own key: value = {{ A = \"{{{left}}}\", B = \"{{{right}}}\" }}");
    let help = match blurred.separator {
        Some(letter) => format!(
            "put a character between them that one of them never contains: `{{{left}}}{letter}{{{right}}}`; or {alone}"
        ),
        None => alone,
    };
    notes.push(Problem::error(Code::Template, at, message).label("this value has two readings").help(help));
    None
}

fn template(notes: &mut Notes<'_>, text: Text<'_>, pieces: &Pieces) -> Option<Template> {
    match Template::parse(text.text, &pieces.known) {
        Ok(template) => Some(template),
        Err(problem) => {
            let help = match &problem {
                Malformed::Unknown(name) => {
                    notes.did_you_mean(name, pieces.known.iter().map(|(known, _)| *known), "outputs")
                }
                Malformed::Unbalanced => "write `{client_id}` for an output, `{{` and `}}` for braces".into(),
                Malformed::Adjacent => {
                    "put a character between them that none of them can have, such as a space".into()
                }
            };
            let message = match problem {
                Malformed::Unknown(name) => format!("`{{{}}}` is not an output of this type", shortened(&name)),
                Malformed::Unbalanced | Malformed::Adjacent => problem.to_string(),
            };
            notes.push(Problem::error(Code::Template, text.span, message).help(help));
            None
        }
    }
}

/// A text without any place, where an output was expected, may be the secret itself.
fn hide_constants(notes: &mut Notes<'_>, item: Item<'_>) {
    let inner = item.as_table().map(|table| table.iter().map(|(_, _, item)| item).collect());
    for item in inner.unwrap_or_else(|| vec![item]) {
        if item.as_text().is_some_and(|text| !text.text.contains('{')) {
            notes.mask(item.span);
        }
    }
}
