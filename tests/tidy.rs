//! The rules of the house that a machine can check: the map in `lib.rs` names every room, and no
//! room names one that it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may name besides itself. `cli` may name anything; nobody may name `cli`.
const MAY_NAME: [(&str, &[&str]); 11] = [
    ("model", &[]),
    ("rotation", &["model"]),
    ("vendors", &["model"]),
    ("stores", &["model"]),
    ("sandbox", &["model"]),
    ("config", &["model", "vendors", "stores"]),
    ("engine", &["model", "rotation", "config", "vendors", "stores", "audit", "clock", "telemetry"]),
    ("schedule", &["model", "engine", "clock"]),
    ("serve", &["model", "engine", "telemetry"]),
    ("clock", &["model"]),
    ("telemetry", &["model"]),
];

/// Lines of one source file; beyond it, a file becomes a folder. Tables of tests may be longer.
const LINE_COUNT_MAX: usize = 500;
const TEST_LINE_COUNT_MAX: usize = 800;

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
        if lines > most {
            wrong.push(format!("src/{}: {lines} lines, more than {most}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_rule_that_forbids_can_see() {
    // The checks above would pass on an empty list: show that the reader of names reads.
    let rooms = rooms();
    assert_eq!(names("use crate::engine::Engine; // crate::cli", &rooms), ["engine"]);
    assert_eq!(names("let x = crate::vendors::find(crate::model::x());", &rooms), ["vendors", "model"]);
    assert!(rooms.len() >= 10, "{:?}", rooms.keys());
}
