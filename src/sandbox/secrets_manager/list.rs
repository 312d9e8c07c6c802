//! ListSecrets: filters, order and pages.
//!
//! A page token carries the place of the last entry served, not a number, so entries that come and
//! go between two pages neither repeat others nor hide them. It is good only for the list that gave it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::checks;
use super::errors::{self, AwsError};
use super::reads::{described, set};
use super::settings::{Opposite, Settings};
use super::state::{Call, Secret, State, digest};
use super::wire::{Filter, Request};

const FILTER_COUNT_MAX: usize = 10;

/// A place in a list: first by the number, then by the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Cursor(pub(super) i64, pub(super) String);

/// Entries, and the token for more.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

/// Which page is asked for.
pub(super) struct Paging {
    list: u64,
    count_max: usize,
    after: Option<Cursor>,
    is_empty_page: bool,
}

#[derive(Serialize, Deserialize)]
struct Token {
    list: u64,
    after: Option<Cursor>,
}

impl State {
    pub(super) fn list_secrets(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let page = self.listed(call, request, 100)?;
        let mut entries: Vec<Value> =
            page.items.iter().map(|secret| described(secret, "SecretVersionsToStages")).collect();
        if self.settings.does(Opposite::ListWithoutLabels) {
            for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                entry.remove("SecretVersionsToStages");
            }
        }
        let mut answer = json!({ "SecretList": entries });
        set(&mut answer, "NextToken", page.next);
        Ok(answer)
    }

    /// The page of secrets that a request's filters, order and token mean.
    pub(super) fn listed(
        &mut self,
        call: &Call,
        request: &Request,
        count_max: usize,
    ) -> Result<Page<Arc<Secret>>, AwsError> {
        let filters = request.filters.as_deref().unwrap_or_default();
        check_filters(filters)?;
        let sort_by = chosen("sortBy", request.sort_by.as_deref(), &SORT_BY)?.unwrap_or("created-date");
        let is_down = chosen("sortOrder", request.sort_order.as_deref(), &["asc", "desc"])? == Some("desc");
        self.settings.authorize(call, "ListSecrets", "", "*")?;
        let planned = request.include_planned_deletion.unwrap_or(false);
        let shape: Vec<_> = filters.iter().map(|filter| (&filter.key, &filter.values)).collect();
        let list = format!("{} {sort_by} {is_down} {planned} {shape:?}", call.region);
        let paging = Paging::read(request, &list, count_max, &self.settings)?;
        let moment = if call.stale { self.stale_moment(call, None) } else { None };
        let entries = self
            .secrets(call, moment)
            .into_iter()
            .filter(|secret| planned || secret.deleted.is_none())
            .filter(|secret| filters.iter().all(|filter| matches(filter, secret)))
            .map(|secret| (place(&secret, sort_by), secret))
            .collect();
        Ok(paging.cut(entries, is_down))
    }
}

impl Paging {
    /// Reads `MaxResults` and `NextToken`; `list` says which list, so that a token of another one is refused.
    pub(super) fn read(request: &Request, list: &str, count_max: usize, settings: &Settings) -> Result<Self, AwsError> {
        let list = digest(list);
        let asked = request.max_results.map(|count| checks::number("maxResults", count, 1, count_max)).transpose()?;
        let token = request.next_token.as_deref().map(|text| read_token(text, list)).transpose()?;
        let is_empty_page = settings.empty_pages && token.is_none();
        Ok(Self {
            list,
            count_max: asked.unwrap_or(count_max),
            after: token.and_then(|token| token.after),
            is_empty_page,
        })
    }

    /// The page, in rising or falling order.
    pub(super) fn cut<T>(self, mut entries: Vec<(Cursor, T)>, is_down: bool) -> Page<T> {
        if self.is_empty_page {
            return Page { items: Vec::new(), next: Some(token(self.list, None)) };
        }
        entries.sort_by(|(left, _), (right, _)| if is_down { right.cmp(left) } else { left.cmp(right) });
        if let Some(after) = &self.after {
            entries.retain(|(place, _)| if is_down { place < after } else { place > after });
        }
        let has_more = entries.len() > self.count_max;
        entries.truncate(self.count_max);
        let last = entries.last().map(|(place, _)| place.clone()).filter(|_| has_more);
        let next = last.map(|place| token(self.list, Some(place)));
        Page { items: entries.into_iter().map(|(_, entry)| entry).collect(), next }
    }
}

fn token(list: u64, after: Option<Cursor>) -> String {
    let text = serde_json::to_string(&Token { list, after }).expect("numbers and text are always JSON");
    URL_SAFE_NO_PAD.encode(text)
}

fn read_token(text: &str, list: u64) -> Result<Token, AwsError> {
    checks::hidden_size("nextToken", text.len(), 1, 4_096)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| errors::bad_page_token())?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| errors::bad_page_token())?;
    if token.list == list { Ok(token) } else { Err(errors::bad_page_token()) }
}

const SORT_BY: [&str; 4] = ["created-date", "last-accessed-date", "last-changed-date", "name"];
const FILTER_KEYS: [&str; 7] =
    ["description", "name", "tag-key", "tag-value", "primary-region", "owning-service", "all"];

fn chosen<'a>(field: &str, value: Option<&'a str>, known: &[&str]) -> Result<Option<&'a str>, AwsError> {
    let Some(value) = value else { return Ok(None) };
    if known.contains(&value) {
        return Ok(Some(value));
    }
    let rule = format!("Member must satisfy enum value set: [{}]", known.join(", "));
    Err(checks::constraint(field, Some(&format!("'{value}'")), &rule))
}

fn place(secret: &Secret, sort_by: &str) -> Cursor {
    let millis = match sort_by {
        "name" => 0,
        "last-changed-date" => secret.changed.millis(),
        "last-accessed-date" => secret.accessed.unwrap_or_default().millis(),
        _ => secret.created.millis(),
    };
    Cursor(millis, secret.name.clone())
}

fn check_filters(filters: &[Filter]) -> Result<(), AwsError> {
    checks::hidden_size("filters", filters.len(), 0, FILTER_COUNT_MAX)?;
    for filter in filters {
        let key = filter.key.as_deref().ok_or_else(|| errors::invalid_parameter("A filter must have a Key."))?;
        chosen("filters.member.key", Some(key), &FILTER_KEYS)?;
        let values = filter.values.as_deref().unwrap_or_default();
        checks::hidden_size("filters.member.values", values.len(), 1, 10)?;
        for value in values {
            checks::length("filters.member.values.member", value, 0, 512)?;
            let fine = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" :_@/+=.-!".contains(&byte));
            if !fine {
                let rule = r"Member must satisfy regular expression pattern: ^\!?[a-zA-Z0-9 :_@\/\+\=\.\-\!]*$";
                return Err(checks::constraint("filters.member.values.member", Some(&format!("'{value}'")), rule));
            }
        }
    }
    Ok(())
}

/// Any of the plain values (if there are some), and none of the negated ones.
fn matches(filter: &Filter, secret: &Secret) -> bool {
    let (key, values) = (filter.key.as_deref().unwrap_or_default(), filter.values.as_deref().unwrap_or_default());
    let (refused, wanted): (Vec<&str>, Vec<&str>) =
        values.iter().map(String::as_str).partition(|value| value.starts_with('!'));
    let is_refused = refused.iter().any(|value| value_matches(key, &value[1..], secret));
    !is_refused && (wanted.is_empty() || wanted.iter().any(|value| value_matches(key, value, secret)))
}

fn value_matches(key: &str, value: &str, secret: &Secret) -> bool {
    let starts = |text: &Option<String>| text.as_ref().is_some_and(|text| text.starts_with(value));
    let mut tags = secret.tags.iter().flatten();
    match key {
        "name" => secret.name.starts_with(value),
        "tag-key" => tags.any(|(key, _)| key.starts_with(value)),
        "tag-value" => tags.any(|(_, text)| text.starts_with(value)),
        "primary-region" => starts(&secret.primary_region),
        "owning-service" => starts(&secret.owning_service),
        "description" => has_words(value, secret.description.iter().map(String::as_str)),
        _ => {
            let own = [Some(&secret.name), secret.description.as_ref()];
            let others = [secret.primary_region.as_ref(), secret.owning_service.as_ref()];
            let tags = tags.flat_map(|(key, text)| [key, text]);
            let texts = own.into_iter().chain(others).flatten().chain(tags);
            has_words(value, texts.map(String::as_str))
        }
    }
}

/// Whether every word of `wanted` begins some word of `texts`, in whatever case.
fn has_words<'a>(wanted: &str, texts: impl Iterator<Item = &'a str>) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    let known: Vec<String> = texts.flat_map(words).collect();
    words(wanted).iter().all(|word| known.iter().any(|text| text.starts_with(word.as_str())))
}
