//! A few problems in full, as a person and as a program gets them.

use insta::assert_snapshot;

use super::*;

fn rendered(fragment: &str) -> String {
    load_with(How::Add(Part::Credential), fragment).unwrap_err().render(false)
}

#[test]
fn a_misspelt_key() {
    assert_snapshot!(rendered("rotat = \"30d\""), @r#"
    error[KF0101]: unknown key `rotat`
      --> keyferry.toml:16:1
       |
    16 | rotat = "30d"
       | ^^^^^ did you mean `rotate`?
       |
       = help: write `rotate`, or remove it
    "#);
}

#[test]
fn two_settings_that_disagree() {
    assert_snapshot!(rendered("overlap = \"3h\"\nconsumers = { refresh_within = \"6h\" }"), @r#"
    error[KF0112]: the overlap is shorter than consumers may hold a value
      --> keyferry.toml:16:11
       |
    16 | overlap = "3h"
       |           ^^^^ the old credential lives 3h longer
    17 | consumers = { refresh_within = "6h" }
       |                                ---- held up to 6h
       |
       = help: consumers may hold a value for 6h: make `overlap` at least that long, or have them refresh sooner and say so in `consumers = { refresh_within = "…" }`
    "#);
}

#[test]
fn a_state_that_is_none() {
    assert_snapshot!(rendered("state = \"retire\""), @r#"
    error[KF0104]: `state` can't be `retire`
      --> keyferry.toml:16:9
       |
    16 | state = "retire"
       |         ^^^^^^^^
       |
       = help: did you mean `retired`?
    "#);
}

#[test]
fn evidence_that_the_vendor_does_not_give() {
    assert_snapshot!(rendered("retire_when = \"unused\""), @r#"
    error[KF0117]: the vendor does not show when a credential of type `password` was last used
      --> keyferry.toml:16:15
       |
    16 | retire_when = "unused"
       |               ^^^^^^^^ nobody could tell when it is unused
       |
       = help: write `confirmed`, and have consumers say so with `keyferry confirm`; or `overlap`, and wait for nothing else
    "#);
}

#[test]
fn a_longest_wait_beyond_the_next_rotation() {
    let fragment = "rotate = \"7d\"\nretire_when = { when = \"confirmed\", max = \"7d\" }";
    assert_snapshot!(rendered(fragment), @r#"
    error[KF0112]: the next rotation may come while the old credential still waits for evidence
      --> keyferry.toml:17:43
       |
    16 | rotate = "7d"
       |          ---- every 7d
    17 | retire_when = { when = "confirmed", max = "7d" }
       |                                           ^^^^ for up to 7d
       |
       = help: rotate every 7d 1h 30m or less often, or wait less: `retire_when = { when = "…", max = "…" }`
    "#);
}

#[test]
fn two_settings_in_two_files() {
    let main = compose(How::Add(Part::Root), "include = [\"b.toml\"]").0;
    let report = load_text(&[("keyferry.toml", &main), ("b.toml", STANDARD[4].1)]).unwrap_err();
    assert_snapshot!(report.render(false), @r#"
    error[KF0106]: two credentials have the name `a`
      --> b.toml:2:8
       |
     2 | name = "a"
       |        ^^^
       |
      ::: keyferry.toml:13:8
       |
    13 | name = "a"
       |        --- the first one
       |
       = help: a name stands for one credential for ever: rename or remove one of them
    "#);
}

#[test]
fn a_secret_is_overwritten_where_it_stands() {
    let fragment = "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = \"hunter2-ü\"";
    let report = load_with(How::Instead(Part::Vendor), fragment).unwrap_err();
    assert_snapshot!(report.render(false), @r#"
    error[KF0107]: `client_secret` stands in the declaration itself
     --> keyferry.toml:8:17
      |
    8 | client_secret = "**********"
      |                 ^^^^^^^^^^^^ not shown
      |
      = help: never write a secret inline; write a reference: { env = "NAME" }, { file = "/run/secrets/name" }, { systemd_credential = "name" } or { aws_secret = { name = "…", key = "…" } }. If this was the secret, replace it: it has been in a file
    "#);
    assert_snapshot!(format!("{:#}", report.to_json()), @r#"
    {
      "left_out": 0,
      "problems": [
        {
          "code": "KF0107",
          "column": 17,
          "file": "keyferry.toml",
          "help": "never write a secret inline; write a reference: { env = \"NAME\" }, { file = \"/run/secrets/name\" }, { systemd_credential = \"name\" } or { aws_secret = { name = \"…\", key = \"…\" } }. If this was the secret, replace it: it has been in a file",
          "label": "not shown",
          "line": 8,
          "message": "`client_secret` stands in the declaration itself",
          "other": null,
          "severity": "error",
          "text": "\"**********\""
        }
      ]
    }
    "#);
}

#[test]
fn colours_are_only_for_terminals() {
    let report = load_with(How::Add(Part::Credential), "rotat = \"30d\"").unwrap_err();
    assert!(report.render(true).contains("\u{1b}["));
    assert!(!report.render(false).contains('\u{1b}'));
    assert_eq!(report.render(false), report.to_string());
}

/// A few characters that a terminal obeys, or that nobody sees.
const TRICKS: [char; 9] =
    ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{e0041}', '\u{2028}'];

#[test]
fn nothing_that_a_terminal_obeys_comes_out_of_a_declaration() {
    for trick in TRICKS {
        let escaped = format!("\\U{:08X}", u32::from(trick));
        for (how, fragment) in [
            (How::Add(Part::Credential), format!("\"a{escaped}b\" = 1")),
            (How::Add(Part::Root), format!("\"a{escaped}b\" = 1")),
            (How::Add(Part::Root), format!("include = [\"a{escaped}b*.toml\"]")),
            (How::Add(Part::Root), format!("discovery = \"a{escaped}b\"")),
            (How::Add(Part::Aws), format!("account = \"a{escaped}b\"")),
            (How::Add(Part::Vendor), format!("\"a{escaped}b\" = 1")),
            (How::Instead(Part::Vendor), format!("[vendors.\"a{escaped}b\"]")),
            (How::Add(Part::Credential), format!("secret = {{ value = \"{{a{escaped}b}}\" }}")),
            (
                How::Add(Part::Credential),
                format!("secret = {{ name = \"{{a{escaped}b}}\", tags = {{ \"a{escaped}b\" = 1 }} }}"),
            ),
        ] {
            // As an escape in the file, and, where TOML takes it, as it is.
            for fragment in [fragment.clone(), fragment.replace(&escaped, &trick.to_string())] {
                let (text, _) = compose(how, &fragment);
                let report = load_text(&[(&format!("key{trick}ferry.toml"), &text)]).unwrap_err();
                for shown in [report.render(false), report.to_json().to_string()] {
                    assert!(!shown.contains(trick), "U+{:04X} of {fragment:?}: {shown:?}", u32::from(trick));
                }
            }
        }
    }
}

#[test]
fn a_key_of_a_megabyte_is_cut() {
    let long = "k".repeat(1 << 20);
    for fragment in [
        format!("{long} = 1"),
        format!("rotat{long} = {{ {long} = 1 }}"),
        format!("discovery = \"{long}\""),
        format!("[aws.\"{long}\"]"),
        format!("[vendors.{long}]\nkind = \"keycard\""),
        format!("[{long}"),
        format!("x = '{long}"),
        format!("{long} = 1 # {long}\n\"{long}\" = 2"),
    ] {
        let (text, _) = compose(How::Add(Part::Root), &fragment);
        let report = load_text(&[("x.toml", &text)]).unwrap_err();
        for shown in [report.render(false), report.render(true), report.to_json().to_string()] {
            assert!(shown.len() < 20_000, "{} bytes for {:.20}…: {:.300}", shown.len(), fragment, shown);
            assert!(!shown.is_empty());
        }
    }
}
