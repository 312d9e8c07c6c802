//! The rules of the house that a machine can check: the map in `lib.rs` names every room, no room names
//! one that it must not, files of one folder do not name each other in circles, and files and functions
//! stay small. The tables of what is still allowed only ever shrink: an entry that nothing needs any more
//! fails as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may name besides itself. `cli` may name anything; nobody may name `cli`.
const MAY_NAME: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("rotation", &["model"]),
    ("vendors", &["model"]),
    ("stores", &["model", "files"]),
    ("sandbox", &["model"]),
    ("config", &["model", "files", "vendors", "stores"]),
    ("engine", &["model", "rotation", "config", "vendors", "stores", "files", "clock"]),
    ("schedule", &["model", "engine"]),
    ("serve", &["model", "engine"]),
    ("clock", &["model"]),
    ("files", &["model"]),
    ("telemetry", &["model"]),
];

/// Lines of one source file; beyond it, a file becomes a folder. Tables of tests may be longer.
const LINE_COUNT_MAX: usize = 500;
const TEST_LINE_COUNT_MAX: usize = 800;
/// Lines of one function, tests apart.
const FUNCTION_LINE_COUNT_MAX: usize = 70;

/// Files that are longer.
const LONG_FILES: &[&str] = &[
    "src/engine/reconcile.rs",
    "src/rotation/decide/tests/mod.rs",
    "src/rotation/guard/mod.rs",
    "src/vendors/keycard/tests.rs",
];

/// Functions that are longer, by file and name.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    ("src/cli/plan.rs", "run"),
    ("src/cli/rotate.rs", "run"),
    ("src/rotation/reason.rs", "words"),
    ("src/vendors/chatbotkit/judge.rs", "judge"),
];

/// Circles that there are, by folder: each file or folder of these names another of them, and is named
/// by one.
const CIRCLES: &[(&str, &[&str])] = &[
    ("engine", &["look", "reconcile"]),
    ("rotation", &["bootstrap", "decide", "person", "sweep"]),
    ("rotation", &["facts", "seen", "view"]),
    ("sandbox", &["faults", "gate", "line", "world"]),
    ("sandbox/chatbotkit", &["rules", "secrets"]),
    ("sandbox/keycard", &["oauth", "wire"]),
    ("sandbox/secrets_manager", &["checks", "settings", "state", "wire"]),
    ("sandbox/secrets_manager", &["list", "reads"]),
    ("vendors/keycard", &["types", "wire"]),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder is readable") {
        let path = entry.expect("a source folder is readable").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with the room it stands in.
fn rooms() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    files(&source(), &mut found);
    let mut rooms: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for path in found {
        let relative = path.strip_prefix(source()).expect("it was found there").to_owned();
        let first = relative.components().next().expect("a file has a name").as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).expect("a source file is UTF-8");
        rooms.entry(room).or_default().push((relative, text));
    }
    rooms
}

#[test]
fn the_map_names_every_room() {
    let map = fs::read_to_string(source().join("lib.rs")).expect("lib.rs is readable");
    let on_map: BTreeSet<String> = map
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `")?.split_once('`').map(|(room, _)| room.to_owned()))
        .collect();
    let mut there: BTreeSet<String> = rooms().into_keys().collect();
    there.remove("lib");
    there.remove("main");
    assert_eq!(on_map, there, "the table in src/lib.rs and the rooms in src/ differ");
}

#[test]
fn no_room_names_one_that_it_must_not() {
    let may: BTreeMap<&str, &[&str]> = MAY_NAME.into_iter().collect();
    let rooms = rooms();
    let mut wrong = Vec::new();
    for (room, files) in &rooms {
        if ["cli", "lib", "main"].contains(&room.as_str()) {
            continue;
        }
        let allowed = may.get(room.as_str()).unwrap_or_else(|| panic!("room `{room}` is not in MAY_NAME"));
        for (path, text) in files {
            for (number, line) in text.lines().enumerate() {
                for named in names(line, &rooms) {
                    if named != *room && !allowed.contains(&named.as_str()) {
                        wrong.push(format!("src/{}:{}: `{room}` names `{named}`", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rooms that a line of code names by `crate::<room>`.
fn names(line: &str, rooms: &BTreeMap<String, Vec<(PathBuf, String)>>) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let follow = code.split("crate::").skip(1);
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    follow.map(word).filter(|named| rooms.contains_key(named)).collect()
}

#[test]
fn every_file_opens_with_what_it_is_for_and_stays_small() {
    let mut wrong = Vec::new();
    for (path, text) in rooms().into_values().flatten() {
        if !text.starts_with("//!") {
            wrong.push(format!("src/{}: does not open with `//!`", path.display()));
        }
        let lines = text.lines().count();
        let tests = path.components().any(|part| part.as_os_str().to_string_lossy().trim_end_matches(".rs") == "tests");
        let most = if tests { TEST_LINE_COUNT_MAX } else { LINE_COUNT_MAX };
        let known = LONG_FILES.contains(&format!("src/{}", path.display()).as_str());
        match (lines > most, known) {
            (true, false) => wrong.push(format!("src/{}: {lines} lines, more than {most}", path.display())),
            (false, true) => wrong.push(format!("src/{}: take it out of LONG_FILES", path.display())),
            (true, true) | (false, false) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_room_may_name_what_it_does_not_name() {
    let rooms = rooms();
    let mut stale = Vec::new();
    for (room, allowed) in MAY_NAME {
        let Some(files) = rooms.get(room) else {
            stale.push(format!("`{room}` is no room"));
            continue;
        };
        let named: BTreeSet<String> =
            files.iter().flat_map(|(_, text)| text.lines()).flat_map(|line| names(line, &rooms)).collect();
        let idle = allowed.iter().filter(|other| !named.contains(**other));
        stale.extend(idle.map(|other| format!("`{room}` does not name `{other}` any more")));
    }
    assert!(stale.is_empty(), "take it out of MAY_NAME: {}", stale.join(", "));
}

/// Functions longer than they may be, by file and name, tests left out. Formatted code ends a function
/// with a brace that stands as far in as its first line.
fn long_functions() -> BTreeMap<(String, String), usize> {
    let mut long = BTreeMap::new();
    for (path, text) in rooms().into_values().flatten() {
        let text = without_tests(&text);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = function(line) else { continue };
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            let length = lines[at..].iter().take_while(|line| **line != end).count() + 1;
            let is_test = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
            if length > FUNCTION_LINE_COUNT_MAX && !is_test && !line.trim_end().ends_with(';') {
                long.insert((format!("src/{}", path.display()), name.to_owned()), length);
            }
        }
    }
    long
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "fn" => return words.next()?.split(['(', '<']).next(),
            "pub" | "const" | "async" | "unsafe" => {}
            word if word.starts_with("pub(") => {}
            _ => return None,
        }
    }
    None
}

/// A file's own code: its tests come last.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

#[test]
fn functions_stay_small() {
    let known: BTreeSet<(String, String)> =
        LONG_FUNCTIONS.iter().map(|(file, name)| ((*file).into(), (*name).into())).collect();
    let long = long_functions();
    let new: Vec<_> = long.iter().filter(|(function, _)| !known.contains(function)).collect();
    assert!(new.is_empty(), "over {FUNCTION_LINE_COUNT_MAX} lines: {new:#?}");
    let stale: Vec<_> = known.iter().filter(|function| !long.contains_key(function)).collect();
    assert!(stale.is_empty(), "take out of LONG_FUNCTIONS what is short now: {stale:#?}");
}

/// A module, by its path below `crate`.
type Module = Vec<String>;

/// Every module's file, its tests and comments left out.
fn modules() -> BTreeMap<Module, String> {
    let mut modules = BTreeMap::new();
    for (path, text) in rooms().into_values().flatten() {
        let mut module: Module =
            path.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        module.pop_if(|last| last == "mod");
        if !module.iter().any(|part| part == "tests") {
            let code: Vec<&str> =
                without_tests(&text).lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
            modules.insert(module, code.join("\n"));
        }
    }
    modules
}

/// Every path that the code of `module` names from `crate::` or `super::` on, written out from `crate`.
fn paths(module: &Module, code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut from = match start {
                "crate::" => Vec::new(),
                "self::" => module.clone(),
                _ => module[..module.len() - 1].to_vec(),
            };
            let mut rest = &code[at + start.len()..];
            while let Some(more) = rest.strip_prefix("super::") {
                from.pop();
                rest = more;
            }
            tree(rest, from, &mut found);
        }
    }
    found
}

/// Reads `a::b` or `a::{b, c::d}` and gives what is left after it.
fn tree<'t>(text: &'t str, from: Module, found: &mut Vec<Module>) -> &'t str {
    let mut text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest, from.clone(), found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let length = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut path = from;
    if length > 0 && &text[..length] != "self" {
        path.push(text[..length].to_owned());
    }
    text = &text[length..];
    if let Some(rest) = text.strip_prefix("::") {
        return tree(rest, path, found);
    }
    found.push(path);
    // `use a::b as c`
    text.strip_prefix(" as ").map_or(text, |rest| rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The module that a path leads to; what a module passes on stands where it comes from.
fn target(path: &Module, modules: &BTreeMap<Module, String>, passed: &BTreeMap<Module, Module>) -> Module {
    let mut here = Module::new();
    for part in path {
        here.push(part.clone());
        // A function may be called as its module is.
        if modules.contains_key(&here) {
            continue;
        }
        if let Some(origin) = passed.get(&here) {
            return target(origin, modules, passed);
        }
        here.pop();
        break;
    }
    here
}

/// What modules pass on with `pub use`: the path that others write, and the one that it stands for.
fn passed_on(modules: &BTreeMap<Module, String>) -> BTreeMap<Module, Module> {
    let mut passed = BTreeMap::new();
    for (module, code) in modules {
        for (at, _) in code.match_indices("pub use ").chain(code.match_indices("pub(crate) use ")) {
            let text = code[at..].split_once("use ").map_or("", |(_, rest)| rest);
            let statement = &text[..text.find(';').unwrap_or(text.len())];
            let whole = if ["crate::", "self::", "super::"].iter().any(|start| statement.starts_with(start)) {
                statement.to_owned()
            } else {
                format!("self::{statement}")
            };
            for origin in paths(module, &whole) {
                let Some(name) = origin.last() else { continue };
                let own = [module.as_slice(), std::slice::from_ref(name)].concat();
                if own != origin {
                    passed.insert(own, origin);
                }
            }
        }
    }
    passed
}

/// By folder, which of its files and folders name which others, whatever stands between.
fn neighbours() -> BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> {
    let modules = modules();
    let passed = passed_on(&modules);
    let mut folders: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, code) in &modules {
        for path in paths(module, code) {
            let far = target(&path, &modules, &passed);
            let shared = module.iter().zip(&far).take_while(|(one, other)| one == other).count();
            if let (1.., Some(own), Some(other)) = (shared, module.get(shared), far.get(shared)) {
                let folder = folders.entry(module[..shared].to_vec()).or_default();
                folder.entry(own.clone()).or_default().insert(other.clone());
            }
        }
    }
    folders
}

/// By folder, the circles: those that lead to each other.
fn circles() -> BTreeSet<(String, Vec<String>)> {
    let mut circles = BTreeSet::new();
    for (folder, named) in neighbours() {
        let reach = |from: &String| {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&String> = named.get(from).into_iter().flatten().collect();
            while let Some(one) = next.pop() {
                if reached.insert(one.clone()) {
                    next.extend(named.get(one).into_iter().flatten());
                }
            }
            reached
        };
        let reached: BTreeMap<&String, BTreeSet<String>> = named.keys().map(|one| (one, reach(one))).collect();
        for (one, far) in reached.iter().filter(|(one, far)| far.contains(**one)) {
            let back = |other: &&String| reached.get(other).is_some_and(|its| its.contains(*one));
            circles.insert((folder.join("/"), far.iter().filter(back).cloned().collect()));
        }
    }
    circles
}

#[test]
fn files_of_a_folder_do_not_name_each_other_in_circles() {
    let known: BTreeSet<(String, Vec<String>)> = CIRCLES
        .iter()
        .map(|(folder, names)| ((*folder).into(), names.iter().map(|name| (*name).into()).collect()))
        .collect();
    let circles = circles();
    let new: Vec<_> = circles.difference(&known).collect();
    assert!(new.is_empty(), "these name each other in a circle: {new:#?}");
    let stale: Vec<_> = known.difference(&circles).collect();
    assert!(stale.is_empty(), "take out of CIRCLES what is no circle any more: {stale:#?}");
}

#[test]
fn a_rule_that_forbids_can_see() {
    // The checks above would pass on an empty list: show that the reader of names reads.
    let rooms = rooms();
    assert_eq!(names("use crate::engine::Engine; // crate::cli", &rooms), ["engine"]);
    assert_eq!(names("let x = crate::vendors::find(crate::model::x());", &rooms), ["vendors", "model"]);
    assert!(rooms.len() >= 10, "{:?}", rooms.keys());
    // So would those of functions and of circles.
    assert_eq!(function("    pub(super) async fn long<T>(of: T) {"), Some("long"));
    assert_eq!(function("let x = fn_pointer(1);"), None);
    let here: Module = vec!["rotation".into(), "sweep".into()];
    let named = paths(&here, "use crate::model::{label::Label, name as x};\nsuper::view::look();");
    let named: Vec<String> = named.iter().map(|path| path.join("::")).collect();
    assert_eq!(named, ["model::label::Label", "model::name", "rotation::view::look"]);
    let modules = modules();
    let passed = passed_on(&modules);
    let reason = target(&vec!["rotation".into(), "Reason".into()], &modules, &passed);
    assert_eq!(reason, ["rotation", "reason"], "what a folder passes on is its file's");
    assert!(neighbours().len() >= 10);
}
