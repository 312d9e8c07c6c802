//! Files on a disk: which may be read, and what `include` brings in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

fn standard(more: &str) -> String {
    compose(How::Add(Part::Root), more).0
}

#[test]
fn a_file_that_can_not_be_used_is_named_with_what_to_do() {
    let folder = Folder::new();
    let long = vec![b'#'; 8 * 1024 * 1024 + 1];
    let cases: Vec<(PathBuf, &str, &[&str])> = vec![
        (folder.0.path().join("none.toml"), "KF0001", &["there is no file", "--config", "KEYFERRY_CONFIG"]),
        (folder.0.path().to_owned(), "KF0002", &["not a regular file", "--config"]),
        (folder.0.path().join("none.toml/x"), "KF0001", &["there is no file"]),
        (folder.write("empty", "", 0o600), "KF0003", &["nothing in it", "deployment"]),
        (folder.write("blank", " \n\n", 0o600), "KF0003", &["nothing in it"]),
        (folder.write("latin1", b"x = 1\ny = \"\xe4\"\n", 0o600), "KF0004", &["byte 11", "line 2", "save it as UTF-8"]),
        (folder.write("utf16", b"\xff\xfed\0", 0o600), "KF0004", &["byte 0", "UTF-16"]),
        (folder.write("long", long, 0o600), "KF0005", &["longer than 8 MiB", "include"]),
        (folder.write("world", standard(""), 0o666), "KF0006", &["everybody may write", "0666", "chmod go-w"]),
    ];
    for (path, code, words) in cases {
        let report = load(&path).unwrap_err();
        let codes: Vec<_> = report.problems.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, [code], "{}\n{report}", path.display());
        for word in words {
            assert!(report.render(false).contains(word), "{word}\n{report}");
        }
        assert_eq!(report.to_json()["problems"][0]["line"], serde_json::Value::Null);
    }
    let said = |name: &str, mode| load(&folder.write(name, standard(""), mode)).unwrap().warnings.render(false);
    assert_eq!(said("good", 0o644), "");
    // As a checkout under umask 0002 leaves it.
    let warning = said("group", 0o664);
    assert!(warning.contains("its group may write") && warning.contains("chmod g-w"), "{warning}");
}

#[test]
fn included_files_are_found_beside_the_declaration() {
    let folder = Folder::new();
    fs::create_dir(folder.0.path().join("teams")).unwrap();
    fs::create_dir(folder.0.path().join("teams/folder.toml")).unwrap();
    let credential = |name: &str| STANDARD[4].1.replace("\"a\"", &format!("\"{name}\""));
    folder.write("teams/two.toml", credential("two"), 0o644);
    folder.write("teams/one.toml", credential("one"), 0o644);
    // The declaration itself matches a pattern, and one file two of them.
    let main = folder.write("main.toml", standard("include = [\"teams/*.toml\", \"teams/one*\", \"*.toml\"]"), 0o644);
    let names = |loaded: Loaded| -> Vec<String> {
        loaded.declaration.credentials.iter().map(|own| own.name.to_string()).collect()
    };
    // Nothing but the declaration matches the third pattern.
    let report = load(&main).unwrap_err();
    assert_eq!(report.problems.len(), 1, "{report}");
    assert_eq!(report.problems[0].code, Code::Include);
    folder.write("three.toml", credential("three"), 0o644);
    assert_eq!(names(load(&main).unwrap()), ["a", "one", "three", "two"]);
    // A folder whose name looks like a pattern, and the declaration by another path.
    fs::create_dir(folder.0.path().join("[x]")).unwrap();
    folder.write("[x]/main.toml", standard("include = [\"*.toml\"]"), 0o644);
    folder.write("[x]/b.toml", credential("b"), 0o644);
    let main_again = folder.0.path().join("[x]").join("../[x]/main.toml");
    assert_eq!(names(load(&main_again).unwrap()), ["a", "b"]);
    // The same in one text, as a copy elsewhere needs it.
    for (path, all) in [(&main, vec!["a", "one", "three", "two"]), (&main_again, vec!["a", "b"])] {
        let one = load_as_one(path).unwrap();
        assert_eq!(names(load_text(&[("one.toml", &one)]).unwrap()), all, "{one}");
    }
    folder.write("three.toml", credential("three"), 0o646);
    let report = load(&main).unwrap_err();
    assert_eq!(report.problems[0].code, Code::Unsafe, "{report}");
}

#[test]
fn an_included_file_has_its_own_places() {
    let main = standard("include = [\"teams/*.toml\"]");
    let cases = [
        ("deployment = \"x\"\n", "KF0118", "teams/x.toml:1:1", "included file"),
        ("include = [\"y\"]\n", "KF0118", "teams/x.toml:1:1", "included file"),
        (
            "[[credential]]\nnme = \"b\"\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"x\"\n",
            "KF0101",
            "teams/x.toml:2:1",
            "`name`",
        ),
        (STANDARD[4].1, "KF0106", "teams/x.toml:2:8", "keyferry.toml:13:8"),
        ("[[credential]\n", "KF0100", "teams/x.toml:1:14", "]"),
        ("\n", "KF0003", "teams/x.toml", "nothing in it"),
    ];
    for (text, code, place, words) in cases {
        let report = load_text(&[("keyferry.toml", &main), ("teams/x.toml", text)]).unwrap_err();
        assert_eq!(report.problems.len(), 1, "{report}");
        assert_eq!(report.problems[0].code.as_str(), code, "{report}");
        let printed = report.render(false);
        assert!(printed.contains(place) && printed.contains(words), "{printed}");
    }
    let report = load_text(&[("keyferry.toml", &standard("include = [\"teams/*.toml\", \"[\"]"))]).unwrap_err();
    assert_eq!(report.problems.len(), 2, "{report}");
    assert!(report.problems.iter().all(|problem| problem.code == Code::Include));
}

#[test]
fn a_declaration_without_credentials_is_only_warned_about() {
    let loaded = load_text(&[("x", "deployment = \"prod\"\n")]).unwrap();
    let codes: Vec<_> = loaded.warnings.problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["KF0200"]);
    assert!(loaded.warnings.render(false).starts_with("warning[KF0200]: no credential is declared"));
}

#[test]
fn a_file_behind_links_is_one_file_and_hidden_ones_are_none() {
    let folder = Folder::new();
    let at = |name: &str| folder.0.path().join(name);
    let credential = |name: &str| STANDARD[4].1.replace("\"a\"", &format!("\"{name}\""));
    // As Kubernetes mounts a ConfigMap: the files are links into `..data`, itself a link to a dated folder.
    fs::create_dir(at("..2026_11_28")).unwrap();
    folder.write("..2026_11_28/keyferry.toml", standard("include = [\"**/*.toml\"]"), 0o644);
    folder.write("..2026_11_28/team.toml", credential("team"), 0o644);
    std::os::unix::fs::symlink("..2026_11_28", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/keyferry.toml", at("keyferry.toml")).unwrap();
    std::os::unix::fs::symlink("..data/team.toml", at("team.toml")).unwrap();
    // Another name for the same file, as an editor's lock, and a folder that holds a mount of its own.
    std::os::unix::fs::symlink("team.toml", at("same.toml")).unwrap();
    std::os::unix::fs::symlink("root@host.1234:1", at(".#team.toml")).unwrap();
    folder.write(".hidden.toml", "not TOML", 0o644);
    fs::create_dir_all(at("more/..data")).unwrap();
    folder.write("more/..data/b.toml", credential("b"), 0o644);
    std::os::unix::fs::symlink("..data/b.toml", at("more/b.toml")).unwrap();
    let loaded = load(&at("keyferry.toml")).unwrap_or_else(|report| panic!("{report}"));
    let names: Vec<_> = loaded.declaration.credentials.iter().map(|own| own.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "team"]);
    let one = load_as_one(&at("keyferry.toml")).unwrap();
    assert_eq!(load_text(&[("one.toml", &one)]).unwrap().declaration.credentials.len(), 3);
    // Who names a hidden one means it.
    folder.write("named.toml", standard("include = [\".hidden.toml\", \"..data/team.toml\"]"), 0o644);
    let report = load(&at("named.toml")).unwrap_err().to_string();
    assert!(report.contains(".hidden.toml"), "{report}");
}

#[test]
fn the_admin_secret_s_own_file_is_never_shown() {
    let folder = Folder::new();
    for secret in [
        "kfcanary\n",
        "id=kfcanary\n",
        "[kfcanary]\n",
        "kfcanary = \"kfcanary\"\n",
        "\"kfcanary\": 1,\n",
        "deploy kfcanary\n",
        "credential: kfcanary\n",
        "aws kfcanary\n",
    ] {
        let path = folder.write("secret", secret, 0o600);
        let main = folder.write("main.toml", standard("include = [\"secret\"]"), 0o600);
        for path in [path, main] {
            let report = load(&path).unwrap_err();
            let shown = format!("{}{}{report:?}", report.render(true), report.to_json());
            assert!(!shown.contains("kfcanary"), "{secret:?}: {shown}");
            assert!(shown.contains("KF0008"), "{secret:?}: {shown}");
        }
    }
}
