//! `[aws]` and `[aws.<name>]`: where secrets lie.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::diagnostic::{Code, Problem, Severity};
use super::file::TOP;
use super::notes::{Notes, Span, listed, shortened};
use super::target::{AssumeRole, Credentials, Target};
use super::texts;
use super::tree::{Table, Text};
use crate::files::Content;
use crate::model::name::TargetName;

const KEYS: [&str; 10] = [
    "region",
    "account",
    "assume_role",
    "external_id",
    "endpoint_url",
    "allow_http",
    "sts_endpoint_url",
    "proxy",
    "ca_file",
    "credentials",
];

/// Name of the target of a declaration that names none.
const UNNAMED: &str = "default";

/// Every target that has a table, also those that are wrong: what refers to one of these needs no
/// second complaint.
#[derive(Default)]
pub(super) struct Targets(BTreeMap<String, Option<Checked>>);

pub(super) struct Checked {
    pub target: Target,
    pub loopback: bool,
}

impl Targets {
    /// Reads `aws` of the declaration.
    pub fn read(notes: &mut Notes<'_>, root: Table<'_>) -> Self {
        let mut targets = Self::default();
        let Some(item) = root.get("aws") else {
            targets.0.insert(UNNAMED.into(), Some(implicit()));
            return targets;
        };
        let Some(aws) = item.as_table() else {
            notes.wrong_type("aws", item, "a table", "[aws]");
            return targets;
        };
        let named: Vec<_> =
            aws.iter().filter(|(key, _, item)| item.as_table().is_some() && !KEYS.contains(key)).collect();
        if named.is_empty() {
            let checked = TargetName::new(UNNAMED).ok().and_then(|name| target(notes, aws, name));
            targets.0.insert(UNNAMED.into(), checked);
            return targets;
        }
        for (key, at, item) in aws.iter() {
            let Some(table) = item.as_table().filter(|_| !KEYS.contains(&key)) else {
                let (_, named_at, _) = named[0];
                notes.push(
                    Problem::error(Code::Disagreement, at, "`[aws]` has settings of its own and named targets")
                        .other(named_at, "a named target")
                        .help(format!(
                            "move `{}` into a named table, such as `[aws.{}]`",
                            shortened(key),
                            shortened(named[0].0)
                        )),
                );
                continue;
            };
            let checked = match TargetName::new(key) {
                Ok(name) => target(notes, table, name),
                Err(rule) => {
                    let message = format!("`{}` can't be the name of a target", shortened(key));
                    notes.push(Problem::error(Code::BadValue, at, message).help(format!("write {rule}")));
                    None
                }
            };
            targets.0.insert(key.into(), checked);
        }
        targets
    }

    /// The target that a text names; notes it when there is none.
    pub fn find(&self, notes: &mut Notes<'_>, text: Text<'_>) -> Option<TargetName> {
        match self.0.get(text.text) {
            Some(checked) => checked.as_ref().map(|checked| checked.target.name.clone()),
            None => {
                let help = notes.did_you_mean(text.text, self.0.keys().map(String::as_str), "declared targets");
                let message = format!("there is no AWS target `{}`", shortened(text.text));
                notes.push(Problem::error(Code::UnknownName, text.span, message).help(help));
                None
            }
        }
    }

    /// The target where none is named; notes it when there are several.
    pub fn only(&self, notes: &mut Notes<'_>, at: Span, of: &str) -> Option<TargetName> {
        let mut all = self.0.values();
        match (all.next(), all.next()) {
            (Some(only), None) => only.as_ref().map(|checked| checked.target.name.clone()),
            (None, _) => None,
            (Some(_), Some(_)) => {
                let message = format!("{of} does not say in which AWS target it lies, and there are several");
                let targets = listed(self.0.keys().map(String::as_str));
                notes.push(
                    Problem::error(Code::MissingKey, at, message).help(format!("write `aws = \"…\"`: {targets}")),
                );
                None
            }
        }
    }

    /// Whether two names lead to the same secrets: two targets in one account and Region do.
    pub fn are_same(&self, one: &TargetName, other: &TargetName) -> bool {
        let target = |name: &TargetName| self.0.get(name.as_str()).and_then(Option::as_ref).map(|found| &found.target);
        let place = |target: &Target| (target.region.clone(), target.account.clone(), target.endpoint_url.clone());
        one == other
            || target(one)
                .zip(target(other))
                .is_some_and(|(one, other)| one.region.is_some() && one.account.is_some() && place(one) == place(other))
    }

    pub fn is_loopback(&self, name: &TargetName) -> bool {
        self.0.get(name.as_str()).and_then(Option::as_ref).is_some_and(|checked| checked.loopback)
    }

    /// The targets, when all of them are good.
    pub fn finish(self) -> Option<BTreeMap<TargetName, Target>> {
        self.0
            .into_values()
            .map(|checked| checked.map(|checked| (checked.target.name.clone(), checked.target)))
            .collect()
    }
}

fn implicit() -> Checked {
    let target = Target {
        name: TargetName::new(UNNAMED).expect("the name is valid"),
        region: None,
        account: None,
        assume_role: None,
        endpoint_url: None,
        allow_http: false,
        sts_endpoint_url: None,
        proxy: None,
        ca_file: None,
        credentials: Credentials::Chain,
        pacing: crate::stores::aws::Pacing::default(),
    };
    Checked { target, loopback: false }
}

fn target(notes: &mut Notes<'_>, table: Table<'_>, name: TargetName) -> Option<Checked> {
    let before = notes.error_count();
    notes.unknown_keys(table, KEYS.into_iter(), true, Some(TOP));
    let mut checked = implicit();
    let own = &mut checked.target;
    own.name = name;
    own.region =
        checked_text(notes, table, "region", "region = \"eu-central-1\"", "letters, digits and hyphens", |text| {
            text.len() <= 64
                && text.contains('-')
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        });
    own.account = checked_text(notes, table, "account", "account = \"111122223333\"", "12 digits, in quotes", |text| {
        text.len() == 12 && text.chars().all(|c| c.is_ascii_digit())
    });
    own.assume_role = assume_role(notes, table, own.account.as_deref());
    let ways = [("chain", Credentials::Chain), ("sandbox", Credentials::Sandbox)];
    own.credentials = notes.word(table, "credentials", &ways).unwrap_or(Credentials::Chain);
    checked.loopback = endpoint(notes, table, own);
    sts_endpoint(notes, table, own);
    if let Some(text) = notes.text(table, "proxy", "proxy = \"http://proxy.example.com:3128\"")
        && texts::any_url(notes, "proxy", text).is_some()
    {
        own.proxy = Some(text.text.to_owned());
    }
    own.ca_file = checked_text(
        notes,
        table,
        "ca_file",
        "ca_file = \"/etc/ssl/own-ca.pem\"",
        "an absolute path: a relative one would depend on where keyferry was started",
        |text| text.starts_with('/') && !text.chars().any(char::is_control),
    )
    .map(PathBuf::from);
    if let (Some(path), Some(item)) = (&own.ca_file, table.get("ca_file")) {
        notes.doubts(path, Content::Public, item.span);
    }
    let home = checked.loopback || own.allow_http;
    if own.credentials == Credentials::Sandbox && !home && !endpoint_is_wrong(table, own) {
        let at = table.get("credentials").map_or(table.span, |item| item.span);
        notes.push(
            Problem::error(Code::LoopbackOnly, at, "the sandbox's credentials are for the sandbox only")
                .other_if(table.get("endpoint_url").map(|item| item.span), "not a loopback address")
                .help("set `endpoint_url = \"http://127.0.0.1:7701\"`, or remove `credentials`"),
        );
    }
    (notes.error_count() == before).then_some(checked)
}

/// Reads `endpoint_url`, and `allow_http` beside it; gives whether it leads to this very machine.
fn endpoint(notes: &mut Notes<'_>, table: Table<'_>, own: &mut Target) -> bool {
    let at = table.key_span("allow_http").filter(|_| notes.flag(table, "allow_http") == Some(true));
    let text = notes.text(table, "endpoint_url", "endpoint_url = \"https://…\"");
    let url = text.and_then(|text| match at {
        Some(_) => texts::any_url(notes, "endpoint_url", text),
        None => texts::url(notes, "endpoint_url", text),
    });
    let loopback = url.as_ref().is_some_and(texts::is_loopback);
    let (Some(at), false) = (at, text.is_some() && url.is_none()) else {
        own.endpoint_url = url.and(text).map(|text| text.text.to_owned());
        return loopback;
    };
    let aws = url.as_ref().is_some_and(is_aws);
    let wrong = match &url {
        None => Some("`allow_http` means nothing: there is no `endpoint_url`"),
        Some(url) if url.scheme() != "http" => Some("`allow_http` means nothing beside an https address"),
        Some(_) if aws => Some("this is AWS itself, and no emulator's address"),
        Some(_) if own.credentials != Credentials::Sandbox => {
            Some("plain http is for an emulator's address only, and these AWS credentials may be real ones")
        }
        Some(_) => None,
    };
    let place = table.get("endpoint_url").map(|item| item.span);
    if let Some(message) = wrong {
        let problem = Problem::error(Code::LoopbackOnly, at, message).other_if(place, "the address");
        notes.push(problem.help("for an emulator write its http address and `credentials = \"sandbox\"`, which are keys that open nothing; or remove `allow_http`"));
        if !aws {
            own.endpoint_url = url.and(text).map(|text| text.text.to_owned());
        }
        return loopback;
    }
    let message = format!("target `{}` is an emulator that keyferry speaks to in the clear", own.name);
    let problem = Problem::error(Code::LoopbackOnly, at, message).other_if(place, "the address");
    let problem = problem.help("whoever is on that network can read every value: use it for tests only");
    notes.push(Problem { severity: Severity::Warning, ..problem });
    own.endpoint_url = text.map(|text| text.text.to_owned());
    own.allow_http = true;
    loopback
}

/// Whether a host is one of AWS's own.
fn is_aws(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    ["amazonaws.com", "amazonaws.com.cn", "api.aws"].iter().any(|end| host.ends_with(end))
}

/// Where STS is; in the clear only where Secrets Manager's own address may be.
fn sts_endpoint(notes: &mut Notes<'_>, table: Table<'_>, own: &mut Target) {
    const KEY: &str = "sts_endpoint_url";
    let Some(text) = notes.text(table, KEY, "sts_endpoint_url = \"https://…\"") else { return };
    let url = match own.allow_http {
        true => texts::any_url(notes, KEY, text),
        false => texts::url(notes, KEY, text),
    };
    let Some(url) = url else { return };
    if own.allow_http && url.scheme() == "http" && is_aws(&url) {
        let problem = Problem::error(Code::LoopbackOnly, text.span, "this is AWS itself, and no emulator's address");
        notes.push(problem.help("write the emulator's address, or https"));
        return;
    }
    if own.credentials == Credentials::Sandbox && !own.allow_http && !texts::is_loopback(&url) {
        let problem =
            Problem::error(Code::LoopbackOnly, text.span, "the sandbox's credentials are for the sandbox only");
        notes.push(problem.help("set `sts_endpoint_url = \"http://127.0.0.1:7709\"`, or remove `credentials`"));
    }
    own.sts_endpoint_url = Some(text.text.to_owned());
}

/// The role to assume, with its external id; it must be in `account`.
fn assume_role(notes: &mut Notes<'_>, table: Table<'_>, account: Option<&str>) -> Option<AssumeRole> {
    let role = checked_text(
        notes,
        table,
        "assume_role",
        "assume_role = \"arn:aws:iam::111122223333:role/keyferry\"",
        "the ARN of a role, `arn:aws:iam::111122223333:role/name`",
        |text| role_account(text).is_some(),
    );
    // Length and characters as in the AWS STS API reference, AssumeRole.
    let external_id = checked_text(
        notes,
        table,
        "external_id",
        "external_id = \"…\"",
        "2 to 1224 of letters, digits and `_+=,.@:/-`",
        |text| {
            (2..=1_224).contains(&text.len())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c))
        },
    );
    if let (Some(at), false) = (table.key_span("external_id"), table.has("assume_role")) {
        let problem = Problem::error(Code::Disagreement, at, "`external_id` means nothing without `assume_role`");
        notes.push(problem.help("add `assume_role`, or remove it"));
    }
    if let (Some(role), Some(account)) = (&role, account)
        && role_account(role) != Some(account)
    {
        let role_at = table.get("assume_role").map_or(table.span, |item| item.span);
        notes.push(
            Problem::error(Code::Disagreement, role_at, "this role is in another account than `account`")
                .other_if(table.get("account").map(|item| item.span), "the account it must be")
                .help("with `assume_role`, `account` is the role's own account"),
        );
    }
    Some(AssumeRole { arn: role?, external_id })
}

/// There is an endpoint, but it was refused already.
fn endpoint_is_wrong(table: Table<'_>, target: &Target) -> bool {
    table.has("endpoint_url") && target.endpoint_url.is_none()
}

/// The account of a role's ARN; `None` when it is not one.
fn role_account(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let good = arn == "arn"
        && partition.starts_with("aws")
        && (service, region) == ("iam", "")
        && account.len() == 12
        && account.chars().all(|c| c.is_ascii_digit())
        && resource.strip_prefix("role/").is_some_and(|name| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_/-".contains(c))
        });
    good.then_some(account)
}

fn checked_text(
    notes: &mut Notes<'_>,
    table: Table<'_>,
    key: &str,
    example: &str,
    rule: &str,
    valid: impl Fn(&str) -> bool,
) -> Option<String> {
    let text = notes.text(table, key, example)?;
    if valid(text.text) {
        return Some(text.text.to_owned());
    }
    let message = format!("`{key}` can't be `{}`", shortened(text.text));
    notes.push(
        Problem::error(Code::BadValue, text.span, message).help(format!("write {rule}; for example `{example}`")),
    );
    None
}
