//! Lists: filters, substring search, sorting, and the two forms of paging.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};

use super::settings::{ListShape, Settings};
use super::words::Refusal;

/// One item of a list and its place in the order of creation.
pub(super) struct Row {
    pub(super) sequence: u64,
    pub(super) json: Value,
}

/// What a list can be asked. Parameters it does not know are ignored, as the service does.
pub(super) struct Rules {
    /// Parameter and the field it must equal; a repeated parameter means any of its values.
    pub(super) equal: &'static [(&'static str, &'static str)],
    /// Parameter and the fields of which one must contain it, in any case.
    pub(super) contains: &'static [(&'static str, &'static [&'static str])],
    /// Whether `filter[id]` and `sort` are understood.
    pub(super) rich: bool,
    /// Organization-level lists say `has_prev_page`, all others `has_previous_page`.
    pub(super) previous: &'static str,
}

pub(super) const ORGANIZATIONS: Rules = Rules { equal: &[], contains: &[], rich: false, previous: "has_prev_page" };

pub(super) const ZONES: Rules = Rules {
    equal: &[("slug", "slug"), ("filter[organization_id]", "organization_id")],
    contains: &[],
    rich: false,
    previous: "has_previous_page",
};

pub(super) const APPLICATIONS: Rules = Rules {
    equal: &[
        ("slug", "slug"),
        ("identifier", "identifier"),
        ("filter[slug]", "slug"),
        ("filter[identifier]", "identifier"),
        ("filter[id]", "id"),
    ],
    contains: &[
        ("query[name]", &["name"]),
        ("query[identifier]", &["identifier"]),
        ("query[]", &["name", "identifier", "slug"]),
    ],
    rich: true,
    previous: "has_previous_page",
};

pub(super) const PROVIDERS: Rules = Rules {
    equal: &[
        ("slug", "slug"),
        ("identifier", "identifier"),
        ("type", "type"),
        ("filter[slug]", "slug"),
        ("filter[identifier]", "identifier"),
        ("filter[type]", "type"),
        ("filter[id]", "id"),
    ],
    ..APPLICATIONS
};

pub(super) const CREDENTIALS: Rules = Rules {
    equal: &[("applicationId", "application_id"), ("slug", "slug")],
    contains: &[],
    rich: false,
    previous: "has_previous_page",
};

pub(super) const CREDENTIALS_OF_ONE: Rules = Rules { equal: &[], ..CREDENTIALS };

/// The answer to a list call.
pub(super) fn answer(
    mut rows: Vec<Row>,
    query: &[(String, String)],
    rules: &Rules,
    settings: &Settings,
) -> Result<Value, Refusal> {
    let by_id = rules.rich && given(query, "filter[id]").next().is_some();
    let after = cursor(query, "after")?.or(cursor(query, "cursor")?);
    let before = cursor(query, "before")?;
    if by_id && (after.is_some() || before.is_some()) {
        return Err(Refusal::BadRequest("filter[id] cannot be combined with after or before".into()));
    }
    if by_id && given(query, "filter[id]").count() > 100 {
        return Err(Refusal::BadRequest("filter[id] takes at most 100 ids".into()));
    }
    let limit = limit(query)?;
    rows.retain(|row| matches(&row.json, query, rules));
    if rules.rich {
        sort(&mut rows, query)?;
    }
    let paged = match settings.list_shape {
        ListShape::Cursors | ListShape::PageInfo => !by_id,
        ListShape::Legacy | ListShape::LegacyNull => false,
    };
    let total = rows.len();
    let (from, to) = if paged {
        let size = limit.min(settings.page_count_max.clamp(1, 100));
        let (after, before) = if settings.cursor_stuck { (None, None) } else { (after, before) };
        window(&rows, after, before, size)
    } else {
        (0, total)
    };
    let mark = |row: Option<&Row>| row.filter(|_| paged).map(|row| encode(row.sequence));
    let (first, last) = (mark(rows.get(from)), mark(rows[..to].last()));
    let has_next = to < total || (settings.cursor_stuck && paged && total > 0);
    let mut envelope = json!({ "page_info": {
        "has_next_page": has_next, "start_cursor": first, "end_cursor": last,
    } });
    envelope["page_info"][rules.previous] = json!(from > 0);
    match settings.list_shape {
        ListShape::Cursors => {
            envelope["pagination"] = json!({
                "after_cursor": last.filter(|_| has_next),
                "before_cursor": first.filter(|_| from > 0),
            });
            if given(query, "expand[]").any(|what| what == "total_count") {
                envelope["pagination"]["total_count"] = json!(total);
            }
        }
        ListShape::LegacyNull => envelope["pagination"] = Value::Null,
        ListShape::PageInfo | ListShape::Legacy => {}
    }
    envelope["items"] = rows.drain(from..to).map(|row| row.json).collect();
    Ok(envelope)
}

fn given<'a>(query: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn matches(json: &Value, query: &[(String, String)], rules: &Rules) -> bool {
    let field = |name: &str| json[name].as_str().unwrap_or_default();
    rules.equal.iter().all(|(parameter, name)| {
        let mut wanted = given(query, parameter).peekable();
        wanted.peek().is_none() || wanted.any(|value| value == field(name))
    }) && rules.contains.iter().all(|(parameter, names)| {
        given(query, parameter).all(|part| {
            let part = part.to_lowercase();
            names.iter().any(|name| field(name).to_lowercase().contains(&part))
        })
    })
}

fn sort(rows: &mut [Row], query: &[(String, String)]) -> Result<(), Refusal> {
    let Some(wanted) = given(query, "sort").next() else { return Ok(()) };
    let (name, descending) = wanted.strip_prefix('-').map_or((wanted, false), |name| (name, true));
    if !["created_at", "name", "identifier"].contains(&name) {
        return Err(Refusal::BadRequest(format!("sort must be created_at, name or identifier, not {name:?}")));
    }
    // Creation order decides between equals, so that pages never overlap.
    rows.sort_by(|one, other| {
        let order = one.json[name].as_str().cmp(&other.json[name].as_str()).then(one.sequence.cmp(&other.sequence));
        if descending { order.reverse() } else { order }
    });
    Ok(())
}

fn limit(query: &[(String, String)]) -> Result<usize, Refusal> {
    match given(query, "limit").next().map(str::parse) {
        None => Ok(100),
        Some(Ok(limit @ 1..=100)) => Ok(limit),
        Some(Ok(_) | Err(_)) => Err(Refusal::BadRequest("limit must be a number from 1 to 100".into())),
    }
}

/// First and one-past-last index of the page. A cursor's item may be gone by now: then the page
/// goes on behind the place where it stood.
fn window(rows: &[Row], after: Option<u64>, before: Option<u64>, size: usize) -> (usize, usize) {
    let place = |cursor: u64, past: usize| match rows.iter().position(|row| row.sequence == cursor) {
        Some(position) => position + past,
        None => rows.iter().position(|row| row.sequence > cursor).unwrap_or(rows.len()),
    };
    if let Some(cursor) = before {
        let to = place(cursor, 0);
        return (to.saturating_sub(size), to);
    }
    let from = after.map_or(0, |cursor| place(cursor, 1));
    (from, rows.len().min(from + size))
}

fn encode(sequence: u64) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("item:{sequence}"))
}

fn cursor(query: &[(String, String)], name: &str) -> Result<Option<u64>, Refusal> {
    let Some(text) = given(query, name).next() else { return Ok(None) };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    let plain = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let sequence = plain.and_then(|plain| plain.strip_prefix("item:")?.parse().ok());
    sequence.map(Some).ok_or_else(|| Refusal::BadRequest(format!("{name} is not a cursor of this list")))
}
