//! Values that keyferry supplies itself, and credentials that feed one another.

use super::*;
use crate::model::option::Value;
use crate::model::source::Source;

const HEAD: &str = "deployment = \"prod\"\n[aws]\nregion = \"eu-central-1\"\n\
     [vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"ID\" }\nclient_secret = { env = \"S\" }\n\
     [vendors.cbk]\nkind = \"chatbotkit\"\ntoken = { env = \"T\" }\n[defaults]\nrotate = \"30d\"\n";

/// A secret of this name, with the lines that a case is about.
fn kept(name: &str, lines: &str) -> String {
    format!("[[credential]]\nname = \"{name}\"\nvendor = \"cbk\"\ntype = \"secret\"\nalias = \"{name}\"\n{lines}\n")
}

fn minted(name: &str) -> String {
    format!("[[credential]]\nname = \"{name}\"\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"{name}\"\n")
}

/// The problems of a declaration: code and message with its help.
fn problems(credentials: &str) -> Vec<(String, String)> {
    match load_text(&[("x.toml", &format!("{HEAD}{credentials}"))]) {
        Ok(_) => Vec::new(),
        Err(report) => {
            let told = |problem: &Problem| {
                let help = problem.help.clone().unwrap_or_default();
                (problem.code.as_str().to_owned(), format!("{} {} {help}", problem.message, problem.label))
            };
            let shown = format!("{}{}{report:?}", report.render(false), report.to_json());
            assert!(!shown.contains("CANARY"), "{shown}");
            report.problems.iter().map(told).collect()
        }
    }
}

#[test]
fn each_mistake_is_told_and_no_value_is_shown() {
    let long = format!("value = {{ generate = {{ length = 40, alphabet = \"{}\" }} }}", "a\\nb");
    let rows: Vec<(String, &str, &str)> = vec![
        (kept("a", "value = \"CANARY\""), "KF0107", "never write a secret inline|{ generate"),
        (kept("a", "value = { generate = { length = 8 } }"), "KF0113", "could be guessed|96 bits"),
        (kept("a", "value = { generate = { length = 40, alphabet = \"ab\" } }"), "KF0113", "could be guessed"),
        (kept("a", "value = { generate = { length = 0 } }"), "KF0104", "1 to 4096"),
        (kept("a", "value = { generate = { length = -1 } }"), "KF0104", "1 to 4096"),
        (kept("a", "value = { generate = { lenght = 40 } }"), "KF0101", "did you mean `length`"),
        (kept("a", "value = { generate = { format = \"hexx\" } }"), "KF0104", "did you mean `hex`"),
        (kept("a", "value = { generate = { format = \"hex\", alphabet = \"abc\" } }"), "KF0112", "both say"),
        (kept("a", &long), "KF0104", "visible ASCII"),
        (kept("a", "value = { generate = {}, env = \"CANARY\" }"), "KF0112", "`env` does not go with `generate`"),
        (kept("a", "value = { sandbox = true }"), "KF0104", "sandbox's own secret can't be"),
        (kept("a", "value = { file = \"CANARY\" }"), "KF0107", "absolute path"),
        (kept("a", "value = {}"), "KF0103", "refers to nothing"),
        (kept("a", "value = { credential = \"b\" }"), "KF0103", "without `output`"),
        (
            kept("a", "value = { credential = \"billin\", output = \"client_id\" }") + &minted("billing"),
            "KF0105",
            "no credential `billin`|did you mean `billing`",
        ),
        (
            kept("a", "value = { credential = \"billing\", output = \"client_secrt\" }") + &minted("billing"),
            "KF0105",
            "has no output `client_secrt`|did you mean `client_secret`",
        ),
        (kept("a", "value = { credential = \"a\", output = \"value\" }"), "KF0112", "`a` feeds itself"),
        (
            kept("a", "value = { credential = \"b\", output = \"value\" }")
                + &kept("b", "value = { credential = \"c\", output = \"value\" }")
                + &kept("c", "value = { credential = \"a\", output = \"value\" }"),
            "KF0112",
            "feed one another|break the circle",
        ),
        (kept("a", "usage = \"bearer\""), "KF0112", "needs a `value`"),
        (kept("a", "kind = \"personal\"\nvalue = { generate = {} }"), "KF0112", "personal secret can't have a value"),
        (kept("a", "usage = \"reference\"\nvalue = { generate = {} }"), "KF0112", "no value of its own"),
        (
            kept("a", "value = { generate = {} }").replace("alias = \"a\"", "alias = \"A!\""),
            "KF0112",
            "would refuse this alias",
        ),
        (
            kept("a", "usage = \"oauth\"\nconfig = { client_id = \"x\" }"),
            "KF0112",
            "reads no `client_id`|write `clientId`",
        ),
        (kept("a", "usage = \"oauth\"\nconfig = { clientSecret = \"CANARY\" }"), "KF0107", "stands in the declaration"),
        (
            kept("a", "usage = \"basic\"\nvalue = { env = \"V\" }\nconfig = { password = \"CANARY\" }"),
            "KF0112",
            "gives `password` back in clear",
        ),
        (kept("a", "value = { generate = {} }\nmeta = { managedBy = \"me\" }"), "KF0112", "keyferry's own"),
        (kept("a", "value = { generate = {} }\nmeta = { _x = \"me\" }"), "KF0112", "begins like this"),
        (kept("a", "value = { generate = {} }\nmeta = { d = 2026-01-01 }"), "KF0102", "a date as a string"),
        (kept("a", "value = { generate = {} }\nability = { skillset = \"s\" }"), "KF0112", "its skillset and its id"),
        (kept("a", "value = { generate = {} }\nability = { skilset = \"s\" }"), "KF0101", "has no `skilset`"),
        (kept("a", "usage = \"bearr\"\nvalue = { generate = {} }"), "KF0104", "did you mean `bearer`"),
        (
            kept("a", "value = { generate = {} }\n[credential.secret]\nvalue = \"{client_secret}\""),
            "KF0115",
            "not an output of this type",
        ),
        (
            kept("a", "value = { generate = {} }")
                + &kept("a", "value = { generate = {} }").replacen("\"a\"", "\"b\"", 1),
            "KF0106",
            "in one record",
        ),
    ];
    for (declared, code, words) in rows {
        let told = problems(&declared);
        let fits = |(own, text): &(String, String)| own == code && words.split('|').all(|word| text.contains(word));
        assert!(told.iter().any(fits), "{declared}\nexpected {code} {words}\n{told:#?}");
        assert_eq!(told.len(), 1, "{declared}\n{told:#?}");
    }
}

#[test]
fn a_circle_shows_both_of_its_ends() {
    let declared = kept("a", "value = { credential = \"b\", output = \"value\" }")
        + &kept("b", "value = { credential = \"a\", output = \"value\" }");
    let report = load_text(&[("x.toml", &format!("{HEAD}{declared}"))]).unwrap_err();
    let [problem] = report.problems.as_slice() else { panic!("{report}") };
    assert_eq!(problem.message, "`a` and `b` feed one another");
    assert!(problem.other.as_ref().is_some_and(|(_, label)| label == "and this leads back"));
}

#[test]
fn what_is_supplied_is_what_a_stored_value_holds() {
    let declared = kept("plain", "value = { generate = {} }")
        + &kept(
            "oauth",
            "usage = \"oauth\"\nconfig = { grantType = \"client_credentials\", expiresInSeconds = 600, \
             clientId = { credential = \"src\", output = \"client_id\" }, \
             clientSecret = { credential = \"src\", output = \"client_secret\" } }",
        )
        + &kept("personal", "kind = \"personal\"\nusage = \"oauth\"\nconfig = { clientId = \"public\" }")
        + &minted("src");
    let loaded = load_text(&[("x.toml", &format!("{HEAD}{declared}"))]).unwrap_or_else(|report| panic!("{report}"));
    let find = |name: &str| loaded.declaration.credentials.iter().find(|one| one.name.as_str() == name).unwrap();
    let shape = |name: &str| find(name).destination.shape.names().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(shape("plain"), ["value"]);
    assert_eq!(shape("oauth"), ["client_id", "client_secret"]);
    assert_eq!(shape("personal"), ["alias"], "nothing is supplied: the secret says where the record is");
    let oauth = find("oauth").options.object("config").unwrap();
    assert_eq!(oauth.fixed("expiresInSeconds"), Some(&600.into()));
    assert_eq!(oauth.pieces.len(), 2);
    let Some(Value::Source(piece)) = find("plain").options.get("value") else { panic!("a source") };
    assert!(matches!(&piece.source, Source::Generate(rule) if rule.length() == 48 && rule.bits() > 285.0));
}
