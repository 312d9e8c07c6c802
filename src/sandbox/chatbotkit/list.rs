//! Lists: filters, paging, and the line-by-line form.

use serde_json::{Value, json};

use super::words::Refusal;

/// Items on a page when nothing is asked, and at most.
const TAKE_MAX: usize = 100;

/// One item of a list and its place in the order of creation.
pub(super) struct Row {
    pub(super) sequence: u64,
    pub(super) json: Value,
}

/// What a list was asked.
pub(super) struct Asked<'q> {
    query: &'q [(String, String)],
}

impl<'q> Asked<'q> {
    pub(super) fn new(query: &'q [(String, String)]) -> Self {
        Self { query }
    }

    pub(super) fn first(&self, name: &str) -> Option<&'q str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// 1 to 100; zero and junk mean the standard.
    fn take(&self) -> usize {
        let asked = self.first("take").and_then(|text| text.parse().ok()).filter(|take| *take > 0);
        asked.unwrap_or(TAKE_MAX).min(TAKE_MAX)
    }

    fn matches(&self, item: &Value) -> bool {
        self.query.iter().all(|(key, wanted)| {
            let path = key.strip_prefix("meta.").map(str::to_owned).or_else(|| {
                let inner = key.strip_prefix("meta[")?.strip_suffix(']')?;
                Some(inner.replace("][", "."))
            });
            match (path, key.as_str()) {
                (Some(path), _) => equals(path.split('.').fold(&item["meta"], |at, part| &at[part]), wanted),
                (None, "blueprintId") => item["blueprintId"] == Value::String(wanted.clone()),
                (None, _) => true,
            }
        })
    }
}

/// Everything compares as text, but `true` and `false` as booleans: numbers never match.
fn equals(found: &Value, wanted: &str) -> bool {
    match wanted {
        "true" | "false" => *found == Value::Bool(wanted == "true"),
        _ => found.as_str() == Some(wanted),
    }
}

/// One page. Its cursor is the id of its last item, also on the last page; an empty page has none.
pub(super) fn page(mut rows: Vec<Row>, asked: &Asked<'_>, stuck: bool) -> Result<Vec<Value>, Refusal> {
    rows.retain(|row| asked.matches(&row.json));
    let ascending = match asked.first("order") {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(Refusal::bad("\"order\" must be one of [asc, desc]")),
    };
    rows.sort_by_key(|row| row.sequence);
    if !ascending {
        rows.reverse();
    }
    let from = match asked.first("cursor").filter(|cursor| !cursor.is_empty() && !stuck) {
        None => 0,
        Some(cursor) => {
            let last = rows.iter().position(|row| row.json["id"].as_str() == Some(cursor));
            last.map_or(rows.len(), |last| last + 1)
        }
    };
    Ok(rows.into_iter().skip(from).take(asked.take()).map(|row| row.json).collect())
}

/// The usual form.
pub(super) fn envelope(items: Vec<Value>) -> Value {
    match items.last().map(|last| last["id"].clone()) {
        Some(cursor) => json!({ "items": items, "cursor": cursor }),
        None => json!({ "items": [] }),
    }
}

/// `application/jsonl`: all items, a line each.
pub(super) fn lines(items: &[Value]) -> String {
    items.iter().map(|item| format!("{}\n", json!({ "type": "item", "data": item }))).collect()
}
