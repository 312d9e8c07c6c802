//! What good declarations become.

use std::fmt::Write as _;
use std::time::Duration;

use super::How::{Add, Instead};
use super::Part::{Aws, Credential, Defaults, Vendor};
use super::*;
use crate::model::option::Reference;
use crate::model::policy::{RetireWhen, Rotate, Takeover, Wanted};
use crate::model::time::Timestamp;
use crate::vendors;

fn only(how: How, fragment: &str) -> Arc<crate::model::credential::Credential> {
    let loaded = load_with(how, fragment).unwrap_or_else(|report| panic!("{fragment}\n{report}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.declaration.credentials[0].clone()
}

#[test]
fn the_shipped_files_load_without_a_word() {
    for entry in std::fs::read_dir("config").unwrap() {
        let path = entry.unwrap().path();
        let (text, path) = (std::fs::read_to_string(&path).unwrap(), path.display().to_string());
        let loaded = load_text(&[(&path, &text)]).unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert!(!loaded.declaration.credentials.is_empty(), "{path}");
        let names: Vec<_> = loaded.declaration.credentials.iter().map(|credential| &credential.name).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}

#[test]
fn the_sandbox_stays_on_this_machine_and_keeps_its_well_known_secret() {
    let text = include_str!("../../../config/sandbox.toml");
    let declaration = load_text(&[("sandbox.toml", text)]).unwrap().declaration;
    for target in declaration.targets.values() {
        assert_eq!(target.credentials, Credentials::Sandbox);
        assert!(target.endpoint_url.as_ref().is_some_and(|url| url.starts_with("http://127.0.0.1:")));
    }
    for vendor in declaration.vendors.values() {
        assert!(vendor.options.references().all(|(_, reference)| *reference == Reference::Sandbox));
    }
    let google =
        declaration.credentials.iter().find(|own| own.options.text("application") == Some("google-mcp-server"));
    assert_eq!(google.unwrap().destination.name.as_str(), "google-mcp-oauth-credentials");
    let custom = declaration.credentials.iter().filter(|own| {
        own.type_name == "password"
            && own.destination.shape != crate::model::payload::Shape::of_outputs(&["client_id", "client_secret"])
    });
    assert_eq!(custom.count(), 1);
}

#[test]
fn a_credential_takes_what_it_leaves_out_from_vendor_and_defaults() {
    let own = only(
        Instead(Defaults),
        "[defaults]\nrotate = { every = \"30d\", jitter = \"2h\" }\noverlap = \"12h\"\n[defaults.secret]\n\
         kms_key_id = \"alias/k\"\ntags = { A = \"1\", B = \"2\" }",
    );
    assert_eq!(own.options.text("zone"), Some("production"));
    assert_eq!(own.options.text("application"), Some("app"));
    assert!(matches!(own.policy.rotate, Rotate::Every(every) if every == Duration::from_secs(30 * 86_400)));
    assert_eq!(own.policy.jitter, Duration::from_secs(7_200));
    assert_eq!(own.policy.overlap, Duration::from_secs(43_200));
    assert_eq!(own.destination.name.as_str(), "prod/keycard/a");
    assert_eq!(own.destination.target.as_str(), "default");
    assert_eq!(own.destination.kms_key_id.as_deref(), Some("alias/k"));
    assert_eq!(own.destination.tags.len(), 2);
    assert!(own.policy.create_secret && own.policy.takeover == Takeover::Refuse);

    let own = only(
        Add(Credential),
        "zone = \"other\"\ntakeover = \"rotate\"\nstate = \"present\"\nrotate = \"manual\"\n[credential.secret]\n\
         name = \"x/{type}/{name}\"\ncreate = false",
    );
    assert_eq!(own.options.text("zone"), Some("other"));
    assert!(matches!(own.policy.rotate, Rotate::Manual));
    assert_eq!(own.destination.name.as_str(), "x/password/a");
    assert!(!own.policy.create_secret && own.policy.takeover == Takeover::Rotate);
}

#[test]
fn what_the_end_of_a_credential_waits_for_is_read_in_every_form() {
    let week = Duration::from_secs(7 * 86_400);
    let own = only(Add(Credential), "consumers = { refresh_within = \"3h\" }");
    assert_eq!((own.policy.retire_when, own.policy.wanted), (RetireWhen::OverlapOver, Wanted::Present));
    assert_eq!(own.policy.refresh, Duration::from_secs(3 * 3_600));
    for (how, fragment, expected) in [
        (Add(Credential), "retire_when = \"confirmed\"", RetireWhen::Confirmed { max: week }),
        (Add(Credential), "retire_when = { when = \"confirmed\" }", RetireWhen::Confirmed { max: week }),
        (
            Add(Credential),
            "retire_when = { when = \"confirmed\", max = \"2w\" }",
            RetireWhen::Confirmed { max: 2 * week },
        ),
        (Add(Defaults), "retire_when = \"confirmed\"", RetireWhen::Confirmed { max: week }),
        (Add(Credential), "retire_when = \"overlap\"", RetireWhen::OverlapOver),
    ] {
        assert_eq!(only(how, fragment).policy.retire_when, expected, "{fragment}");
    }
    assert_eq!(only(Add(Credential), "state = \"retired\"").policy.wanted, Wanted::Retired);
}

#[test]
fn own_tags_win_over_the_defaults() {
    let text = format!(
        "{}[defaults.secret]\ntags = {{ A = \"1\", B = \"2\" }}\n",
        compose(Add(Credential), "secret = { tags = { B = \"3\", C = \"4\" } }").0
    );
    let tags = load_text(&[("x", &text)]).unwrap().declaration.credentials[0].destination.tags.clone();
    let tags: Vec<_> = tags.iter().map(|(key, value)| format!("{key}{value}")).collect();
    assert_eq!(tags, ["A1", "B3", "C4"]);
    let mut many = String::from("secret = { tags = { ");
    for number in 0..46 {
        write!(many, "t{number} = \"\", ").unwrap();
    }
    let report = load_with(Add(Credential), &format!("{many}}} }}")).unwrap_err();
    assert_eq!(report.problems[0].message, "46 tags are too many: at most 42");
}

#[test]
fn windows_and_freezes_are_read_in_their_zone() {
    let own = only(
        Add(Credential),
        "window = [{ from = \"22:30\", to = \"00:00\", days = [\"fri\"], timezone = \"Europe/Berlin\" }, \
                   { from = 02:00, to = 05:00:00 }]\n\
         freeze = [{ from = \"2026-12-20\", to = \"2026-12-24\", timezone = \"Europe/Berlin\" }, \
                   { from = 2026-07-01, to = 2026-07-01T12:00:00Z }]",
    );
    let [evening, night] = own.policy.windows[..] else { panic!("two windows") };
    assert_eq!((evening.from_minute, evening.to_minute, night.from_minute, night.to_minute), (1_350, 0, 120, 300));
    assert_eq!(evening.days, [false, false, false, false, true, false, false]);
    assert_eq!((evening.zone, night.zone), (chrono_tz::Europe::Berlin, chrono_tz::UTC));
    let date = |text| Timestamp::parse_rfc3339(text).unwrap();
    let [christmas, summer] = own.policy.freezes[..] else { panic!("two freezes") };
    assert_eq!((christmas.from, christmas.to), (date("2026-12-19T23:00:00Z"), date("2026-12-24T23:00:00Z")));
    assert_eq!((summer.from, summer.to), (date("2026-07-01T00:00:00Z"), date("2026-07-01T12:00:00Z")));
}

#[test]
fn every_kind_of_reference_is_understood() {
    let mut vendor = String::from("[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\n");
    for (written, meant) in [
        ("{ env = \"A_1\" }", Reference::Env("A_1".into())),
        ("{ file = \"/run/x\" }", Reference::File("/run/x".into())),
        ("{ systemd_credential = \"x.y-z\" }", Reference::SystemdCredential("x.y-z".into())),
        (
            "{ aws_secret = { name = \"a/b\", key = \"k\", aws = \"default\" } }",
            Reference::AwsSecret {
                target: Some(crate::model::name::TargetName::new("default").unwrap()),
                name: crate::model::name::SecretName::new("a/b").unwrap(),
                key: Some("k".into()),
            },
        ),
    ] {
        vendor.truncate(vendor.find("client_secret").unwrap_or(vendor.len()));
        write!(vendor, "client_secret = {written}").unwrap();
        let declaration = load_with(Instead(Vendor), &vendor).unwrap().declaration;
        let options = &declaration.vendors.values().next().unwrap().options;
        assert_eq!(options.references().find(|(name, _)| *name == "client_secret").unwrap().1, &meant);
    }
}

#[test]
fn targets_may_be_one_many_or_none() {
    let full = "[aws.main]\nregion = \"eu-central-1\"\naccount = \"111122223333\"\nexternal_id = \"ab\"\n\
                assume_role = \"arn:aws:iam::111122223333:role/a/b\"\nproxy = \"http://proxy:3128\"\n\
                ca_file = \"/etc/ca.pem\"\ncredentials = \"chain\"";
    let targets = load_with(Instead(Aws), full).unwrap().declaration.targets;
    let main = targets.values().next().unwrap();
    assert_eq!((main.name.as_str(), main.account.as_deref()), ("main", Some("111122223333")));
    assert_eq!(main.assume_role.as_ref().unwrap().external_id.as_deref(), Some("ab"));
    assert_eq!(load_with(Instead(Aws), "").unwrap().declaration.targets.len(), 1);
    let (text, _) = compose(Instead(Aws), "[aws.a]\n[aws.b]");
    for inner in ["aws = \"b\"\n", "secret = { aws = \"b\" }\n"] {
        let loaded = load_text(&[("x", &format!("{text}{inner}"))]).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(loaded.declaration.credentials[0].destination.target.as_str(), "b");
    }
}

#[test]
fn floors_are_lifted_only_where_vendor_and_aws_are_on_loopback() {
    let aws = "[aws]\nendpoint_url = \"http://127.0.0.1:1\"\n";
    let rest = "[defaults]\nrotate = \"1h\"\noverlap = \"10m\"\nconsumers = { refresh_within = \"5m\" }\n";
    let load = |aws: &str, address: &str| {
        let vendor = format!("{}{address}\n", STANDARD[2].1);
        let text = format!("{}{aws}{vendor}{rest}{}", STANDARD[0].1, STANDARD[4].1);
        load_text(&[("x", &text)])
    };
    assert!(load(aws, "base_url = \"http://[::1]:2\"").is_ok());
    assert!(load(aws, "base_url = \"https://127.0.0.1:2\"").is_ok());
    assert!(load(aws, "base_url = \"https://example.com\"").is_err());
    assert!(load(aws, "").is_err());
    assert!(load("", "base_url = \"http://127.0.0.1:2\"").is_err());
    // Consumers' refresh time and an interval beyond the overlap are asked for even there.
    let (aws, base) = (aws, "base_url = \"http://127.0.0.1:2\"");
    for rest in [
        "rotate = \"10m\"\noverlap = \"10m\"",
        "rotate = \"1h\"\noverlap = \"10m\"\nconsumers = { refresh_within = \"11m\" }",
    ] {
        let text = format!("{}{aws}{}{base}\n[defaults]\n{rest}\n{}", STANDARD[0].1, STANDARD[2].1, STANDARD[4].1);
        let report = load_text(&[("x", &text)]).unwrap_err();
        assert_eq!(report.problems[0].code, diagnostic::Code::Disagreement, "{report}");
    }
}

#[test]
fn the_fingerprint_follows_the_value_and_nothing_else() {
    let of = |fragment| only(Add(Credential), fragment).fingerprint.clone();
    let base = of("");
    assert!(base.len() == 16 && base.chars().all(|c| c.is_ascii_hexdigit()));
    for same in [
        "rotate = \"60d\"\noverlap = \"4h\"",
        "zone = \"production\"",
        "secret = { name = \"x\", tags = { a = \"b\" } }",
        "secret = { value = { client_secret = \"{client_secret}\", client_id = \"{client_id}\" } }",
    ] {
        assert_eq!(of(same), base, "{same}");
    }
    let mut others = vec![base];
    for other in [
        "zone = \"staging\"",
        "resource = \"https://example.com\"",
        "secret = { value = { client_secret = \"{client_secret}\", id = \"{client_id}\" } }",
        "secret = { value = \"{client_id}:{client_secret}\" }",
        "secret = { value = \"{client_id} {client_secret}\" }",
    ] {
        others.push(of(other));
    }
    others.sort();
    others.dedup();
    assert_eq!(others.len(), 6);
}

#[test]
fn ten_thousand_credentials_are_read() {
    let mut text: String = STANDARD[..4].iter().map(|(_, part)| *part).collect();
    for number in 0..10_000 {
        write!(
            text,
            "[[credential]]\nname = \"app-{number}\"\nvendor = \"keycard\"\ntype = \"password\"\n\
             application = \"app-{number}\"\nrotate = {{ cron = \"{} 3 * * SUN\", timezone = \"Europe/Berlin\" }}\n\
             [credential.secret]\nname = \"apps/{number}/oauth\"\n",
            number % 60
        )
        .unwrap();
    }
    let loaded = load_text(&[("many.toml", &text)]).unwrap();
    assert_eq!(loaded.declaration.credentials.len(), 10_000);
    let patterns: std::collections::BTreeSet<_> = loaded
        .declaration
        .credentials
        .iter()
        .map(|own| match &own.policy.rotate {
            Rotate::Cron { pattern, .. } => Arc::as_ptr(pattern),
            Rotate::Manual | Rotate::Every(_) => panic!("a cron pattern was declared"),
        })
        .collect();
    assert_eq!(patterns.len(), 60, "equal patterns are compiled once");
}

#[test]
fn ten_thousand_problems_are_kept_in_bounds() {
    let mut text: String = STANDARD[..4].iter().map(|(_, part)| *part).collect();
    for number in 0..10_000 {
        write!(text, "[[credential]]\nname = \"a{number}\"\nvendor = \"keycrd\"\ntype = \"x\"\n").unwrap();
    }
    let report = load_text(&[("many.toml", &text)]).unwrap_err();
    assert_eq!((report.problems.len(), report.left_out), (1_000, 9_000));
    assert!(report.render(false).ends_with("and 9900 more problems"));
    assert_eq!(report.to_json()["left_out"], 9_000);
}

#[test]
fn a_wrong_default_is_told_once_for_all_credentials() {
    let mut text: String = STANDARD[..3].iter().map(|(_, part)| *part).collect();
    text.push_str("[defaults]\nrotate = \"1d\"\noverlap = \"2d\"\n");
    for name in ["a", "b", "c"] {
        text.push_str(&STANDARD[4].1.replace("\"a\"", &format!("\"{name}\"")));
    }
    let report = load_text(&[("x", &text)]).unwrap_err();
    assert_eq!(report.problems.len(), 1, "{report}");
}

#[test]
fn what_holds_no_secret_has_no_schedule_and_stores_all_that_its_users_need() {
    let typed = |fragment: &str| {
        only(Instead(Credential), &format!("[[credential]]\nname = \"a\"\nvendor = \"keycard\"\n{fragment}"))
    };
    for (fragment, outputs) in [
        ("type = \"public\"\napplication = \"app\"", 6),
        ("type = \"public\"\napplication = \"app\"\nrotate = \"manual\"", 6),
        ("type = \"url\"\napplication = \"app\"\nurl = \"https://a.example/c.json\"", 6),
        ("type = \"public-key\"\napplication = \"app\"\njwks_uri = \"https://a.example/jwks\"", 7),
        ("type = \"token\"\napplication = \"app\"\nprovider = \"ci\"", 7),
    ] {
        let own = typed(fragment);
        assert!(matches!(own.policy.rotate, Rotate::Manual), "the default of 30d is not for it: {fragment}");
        assert_eq!(own.destination.shape.names().count(), outputs, "{fragment}");
    }
    let places: std::collections::BTreeSet<String> = [
        "provider = \"ci\"",
        "provider = \"cd\"",
        "provider = \"ci\"\nsubject = \"x\"",
        "provider = \"ci\"\nzone = \"z\"",
    ]
    .into_iter()
    .map(|more| typed(&format!("type = \"token\"\napplication = \"app\"\n{more}")).policy.place.clone())
    .collect();
    assert_eq!(places.len(), 4, "each of these makes another credential of it");
}

#[test]
fn no_vendor_option_hides_a_key_of_ours() {
    for spec in vendors::ALL {
        assert!(spec.fields.iter().all(|field| field.name != "kind"), "{}", spec.kind);
        for kind in spec.types {
            for field in kind.fields {
                assert!(!credential::KEYS.contains(&field.name), "{} {}", spec.kind, field.name);
            }
            let named = kind.place.iter().chain(kind.content);
            assert!(named.clone().all(|name| kind.fields.iter().any(|field| field.name == *name)), "{}", kind.name);
            assert!(kind.proof_outputs.iter().all(|name| kind.outputs.contains(name)), "{}", kind.name);
        }
    }
}

#[test]
fn an_unnamed_vendor_s_credential_says_who_else_is_there_and_what_must_be_proved() {
    use crate::model::policy::{Ownership, Verify};
    let vendor = "[vendors.workos]\nkind = \"workos\"\napi_key = { env = \"KEY\" }\n";
    let one = |name: &str, more: &str| {
        format!(
            "[[credential]]\nname = \"{name}\"\nvendor = \"workos\"\ntype = \"client-secret\"\n\
             application = \"app\"\n{more}\n[credential.secret]\nname = \"{name}\"\n"
        )
    };
    let load = |vendor: &str, defaults: &str, credentials: &[String]| {
        let head = "deployment = \"prod\"\n[aws]\nregion = \"eu-central-1\"\n";
        let text = format!("{head}{vendor}[defaults]\nrotate = \"30d\"\n{defaults}\n{}", credentials.concat());
        load_text(&[("x.toml", &text)])
    };
    let domain = format!("{vendor}authkit_domain = \"https://a.authkit.app\"\n");
    let policies = |loaded: &Loaded| -> Vec<_> {
        loaded.declaration.credentials.iter().map(|one| (one.policy.verify, one.policy.ownership)).collect()
    };
    let standard = load(&domain, "", &[one("a", "")]).unwrap();
    assert_eq!(policies(&standard), [(Verify::Required, Ownership::Shared)]);
    let said = load(&domain, "verify = \"best-effort\"", &[one("a", "ownership = \"exclusive\"")]).unwrap();
    assert_eq!(policies(&said), [(Verify::BestEffort, Ownership::Exclusive)]);
    assert!(said.warnings.is_empty());
    // The address of the domain is not where a secret lives.
    let moved = domain.replace("a.authkit", "b.authkit");
    let moved = load(&moved, "", &[one("a", "")]).unwrap();
    assert_eq!(moved.declaration.credentials[0].policy.place, standard.declaration.credentials[0].policy.place);

    for (vendor, defaults, credentials, words) in [
        (vendor, "", vec![one("a", "")], &["without `authkit_domain` no login can prove", "best-effort"][..]),
        (&domain, "verify = \"maybe\"", vec![one("a", "")], &["`verify` can't be `maybe`", "required"]),
        (&domain, "", vec![one("a", "ownership = \"mine\"")], &["`ownership` can't be `mine`", "exclusive"]),
        (
            &domain,
            "",
            vec![one("a", "ownership = \"exclusive\""), one("b", "")],
            &["two credentials are made here", "the other one", "shared"],
        ),
        (
            &domain,
            "",
            vec![one("a", ""), one("b", "ownership = \"exclusive\"")],
            &["two credentials are made here", "the other one"],
        ),
    ] {
        let report = load(vendor, defaults, &credentials).unwrap_err().to_string();
        for word in words {
            assert!(report.contains(word), "{word}: {report}");
        }
    }
    assert!(load(&domain, "", &[one("a", ""), one("b", "")]).is_ok(), "both may be shared");
    let unproved = load(vendor, "verify = \"best-effort\"", &[one("a", "")]).unwrap();
    assert!(unproved.warnings.to_string().contains("published unverified"), "{}", unproved.warnings);
}

#[test]
fn a_name_like_the_end_of_an_arn_is_only_warned_about_where_the_secret_is_new() {
    let named = |fragment: &str| load_with(Add(Credential), fragment).unwrap_or_else(|report| panic!("{report}"));
    for name in ["prod/oauth-secret", "app-worker", "x-1a96be"] {
        let new = named(&format!("[credential.secret]\nname = \"{name}\""));
        assert_eq!(new.declaration.credentials[0].destination.name.as_str(), name);
        let warning = new.warnings.to_string();
        assert!(warning.starts_with("warning[KF0115]") && warning.contains(name), "{warning}");
        assert!(warning.contains("end of an ARN") && warning.contains("already there"), "{warning}");
        for there in ["create = false", "create = true"] {
            let takeover = if there == "create = true" { "takeover = \"rotate\"\n" } else { "" };
            let there = named(&format!("{takeover}[credential.secret]\nname = \"{name}\"\n{there}"));
            assert!(there.warnings.is_empty(), "{}", there.warnings);
        }
    }
    let template = named("[credential.secret]\nname = \"{name}-worker\"").warnings.to_string();
    assert!(template.contains("a-worker") && template.contains("made by this template"), "{template}");
    let vendor = "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\n\
                  client_secret = { aws_secret = { name = \"rds!cluster-1a96bebc\" } }";
    let report = load_with(Instead(Vendor), vendor);
    assert!(report.is_ok_and(|loaded| loaded.warnings.is_empty()), "a source may have any name that AWS gave it");
}

#[test]
fn an_output_s_characters_tell_where_it_ends() {
    for value in [
        "\"{client_id}:{client_secret}\"",
        "\"{client_secret}:{client_id}\"",
        "\"Basic {client_id} {client_secret}\"",
        "\"https://{client_id}:{client_secret}@host/{application_id}\"",
        "{ PAIR = \"{client_secret}-{client_id}\", ID = \"{client_id}\" }",
    ] {
        only(Add(Credential), &format!("[credential.secret]\nvalue = {value}"));
    }
    let made_up = |alphabet: &str| {
        let fragment = format!(
            "[vendors.cbk]\nkind = \"chatbotkit\"\ntoken = {{ env = \"T\" }}\n[[credential]]\nname = \"a\"\nvendor = \"cbk\"\n\
             type = \"secret\"\nalias = \"crm-x\"\nvalue = {{ generate = {{ length = 90, alphabet = \"{alphabet}\" }} }}\n\
             [credential.secret]\nvalue = \"{{alias}}-{{value}}\""
        );
        load_with(Instead(Credential), &fragment)
    };
    assert!(made_up("abcdef").is_ok(), "no `-` is ever made up");
    let report = made_up("abcdef-").unwrap_err().to_string();
    assert!(report.contains("could not separate"), "{report}");
}

#[test]
fn nicknames_of_schedules_and_zones_by_region_are_understood() {
    for (nickname, days) in [("@weekly", 7), ("@monthly", 28), ("@yearly", 365), ("@annually", 365)] {
        let own = only(Add(Credential), &format!("rotate = {{ cron = \"{nickname}\" }}"));
        let Rotate::Cron { text, .. } = &own.policy.rotate else { panic!("a pattern") };
        assert_eq!(&**text, nickname, "{days}");
    }
    let report = load_with(Add(Credential), "rotate = { cron = \"@daily\" }").unwrap_err().to_string();
    assert!(report.contains("before this one is over") && report.contains("every 1d"), "{report}");
    for (zone, words) in [
        ("Etc/GMT+2", &["2 hours behind UTC", "`Etc/GMT-2`"][..]),
        ("Etc/GMT-10", &["10 hours ahead of UTC", "`Etc/GMT+10`"]),
        ("EST", &["no summer time", "America/New_York"]),
    ] {
        let loaded = load_with(Add(Credential), &format!("rotate = {{ cron = \"@weekly\", timezone = \"{zone}\" }}"));
        let warnings = loaded.unwrap().warnings.to_string();
        assert!(words.iter().all(|word| warnings.contains(word)), "{zone}: {warnings}");
    }
    for zone in ["Etc/GMT", "Etc/UTC", "Etc/GMT+0", "UTC", "CET", "America/New_York"] {
        only(Add(Credential), &format!("rotate = {{ cron = \"@weekly\", timezone = \"{zone}\" }}"));
    }
}

#[test]
fn the_least_interval_that_is_told_is_taken() {
    for (rotate, overlap) in [("1d 1h 30m", "24h"), ("5h30m", "4h"), ("6h30m1s", "5h1s")] {
        only(Add(Credential), &format!("rotate = \"{rotate}\"\noverlap = \"{overlap}\""));
    }
    let fragment = "rotate = \"7d\"\nretire_when = { when = \"confirmed\", max = \"7d\" }";
    assert!(load_with(Add(Credential), fragment).unwrap_err().to_string().contains("every 7d 1h 30m or less often"));
    only(Add(Credential), &fragment.replacen("7d", "7d 1h 30m", 1));
}

#[test]
fn a_freeze_of_a_year_is_one() {
    only(Add(Credential), "freeze = [{ from = \"2026-01-01\", to = \"2026-12-31\" }]");
    only(
        Add(Credential),
        "freeze = [{ from = \"2026-01-01\", to = \"2026-12-31\" }, { from = \"2027-01-03\", to = \"2027-12-31\" }]",
    );
}

#[test]
fn an_emulator_may_be_spoken_to_in_clear_text_with_keys_that_open_nothing() {
    let fragment = "endpoint_url = \"http://localstack:4566\"\nallow_http = true\ncredentials = \"sandbox\"";
    let loaded = load_with(Add(Aws), fragment).unwrap_or_else(|report| panic!("{report}"));
    let own = loaded.declaration.targets.values().next().unwrap();
    assert!(own.allow_http && own.credentials == Credentials::Sandbox && !own.is_loopback());
    let warning = loaded.warnings.to_string();
    assert!(warning.contains("`default` is an emulator") && warning.contains("in the clear"), "{warning}");
    // On this machine nothing needs to be allowed.
    let loaded = load_with(Add(Aws), &fragment.replace("localstack", "127.0.0.1").replace("allow_http = true\n", ""));
    assert!(loaded.unwrap().warnings.is_empty());
}
