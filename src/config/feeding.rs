//! Credentials that feed one another: the names and outputs they refer to must be there, and no
//! credential may feed itself, by whatever way round.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::diagnostic::{Code, Problem};
use super::notes::{Notes, shortened};
use super::tree::{Table, Text};
use crate::model::credential::Credential;

/// One reference from a credential to another.
struct Feed<'t> {
    follower: &'t str,
    source: Text<'t>,
    output: Text<'t>,
}

/// Judges every reference; the credentials are those that are good by themselves. `false` when one
/// is wrong.
pub(super) fn check(notes: &mut Notes<'_>, credentials: &[Arc<Credential>], tables: &[Table<'_>]) -> bool {
    let mut feeds = Vec::new();
    let mut names = HashSet::new();
    for table in tables {
        let Some(name) = table.get("name").and_then(|item| item.as_text()) else { continue };
        names.insert(name.text);
        gather(name.text, *table, 3, &mut feeds);
    }
    let good: BTreeMap<&str, &Arc<Credential>> = credentials.iter().map(|one| (one.name.as_str(), one)).collect();
    let mut fine = true;
    for feed in &feeds {
        fine &= there(notes, feed, &names, &good);
    }
    fine && no_circle(notes, &feeds)
}

/// Finds the references in a table. `[credential.secret]` has none.
fn gather<'t>(follower: &'t str, table: Table<'t>, depth: usize, feeds: &mut Vec<Feed<'t>>) {
    let text = |key: &str| table.get(key).and_then(|item| item.as_text());
    if let (Some(source), Some(output)) = (text("credential"), text("output")) {
        feeds.push(Feed { follower, source, output });
    }
    if depth > 0 {
        let inner = table.iter().filter(|(key, ..)| *key != "secret");
        inner.filter_map(|(_, _, item)| item.as_table()).for_each(|inner| gather(follower, inner, depth - 1, feeds));
    }
}

fn there(
    notes: &mut Notes<'_>,
    feed: &Feed<'_>,
    names: &HashSet<&str>,
    good: &BTreeMap<&str, &Arc<Credential>>,
) -> bool {
    if !names.contains(feed.source.text) {
        let mut sorted: Vec<&str> = names.iter().copied().collect();
        sorted.sort_unstable();
        let help = notes.did_you_mean(feed.source.text, sorted.into_iter(), "declared credentials");
        let message = format!("there is no credential `{}`", shortened(feed.source.text));
        notes.push(Problem::error(Code::UnknownName, feed.source.span, message).help(help));
        return false;
    }
    // One that is wrong itself has been complained of.
    let Some(source) = good.get(feed.source.text) else { return true };
    let shape = &source.destination.shape;
    if shape.names().any(|name| name == feed.output.text) {
        return true;
    }
    let mut outputs: Vec<&str> = shape.names().collect();
    outputs.sort_unstable();
    outputs.dedup();
    let near = notes.did_you_mean(feed.output.text, outputs.into_iter(), "it stores");
    let message = format!("the stored value of `{}` has no output `{}`", source.name, shortened(feed.output.text));
    notes.push(
        Problem::error(Code::UnknownName, feed.output.span, message)
            .other(feed.source.span, "read from this one's AWS secret")
            .help(format!("{near}; or add it to `value` in that one's `[credential.secret]`")),
    );
    false
}

/// Follows every chain to its end; a chain longer than there are references goes in a circle.
fn no_circle(notes: &mut Notes<'_>, feeds: &[Feed<'_>]) -> bool {
    for first in feeds {
        let mut reached: Vec<&Feed<'_>> = vec![first];
        let mut seen = HashSet::new();
        while let Some(feed) = reached.pop() {
            if feed.source.text == first.follower {
                let message = format!("`{}` and `{}` feed one another", first.follower, first.source.text);
                let mut problem = Problem::error(Code::Disagreement, first.source.span, message).help(
                    "a value must come from somewhere: break the circle with `generate`, a file or another source",
                );
                if feed.source.span != first.source.span {
                    problem = problem.other(feed.source.span, "and this leads back");
                } else {
                    problem.message = format!("`{}` feeds itself", first.follower);
                }
                notes.push(problem);
                return false;
            }
            if seen.insert(feed.source.span) {
                reached.extend(feeds.iter().filter(|next| next.follower == feed.source.text));
            }
        }
    }
    true
}
