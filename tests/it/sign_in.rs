//! How keyferry signs in to AWS: STS is a service of its own, at a place of its own; roles, sessions,
//! web identities and profiles; and what is said when it does not work.

use keyferry::sandbox::secrets_manager::settings::Deny;
use keyferry::sandbox::stage::Sandbox;

use crate::bad_inputs::command::{Folder, declared_for, sandbox, served, text, words};

const ROLE: &str = "arn:aws:iam::111122223333:role/keyferry";

/// `verb` with this declaration, these variables, and nothing else.
async fn run(folder: &Folder, verb: &str, declared: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let path = folder.write("keyferry.toml", declared, 0o600);
    let mut environment: Vec<_> = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    environment.push(("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()));
    environment.push(("HOME".into(), "/nonexistent".into()));
    let output = served(words(&format!("{verb} --config {path}")), environment).await;
    (output.status.code(), text(&output))
}

fn chain(declared: &str) -> String {
    declared.replace("credentials = \"sandbox\"\n", "")
}

fn with_role(declared: &str) -> String {
    declared.replace("[aws]\n", &format!("[aws]\naccount = \"111122223333\"\nassume_role = \"{ROLE}\"\n"))
}

fn deny_roles(sandbox: &Sandbox) {
    let deny = Deny { action: "sts:AssumeRole".into(), secret_prefix: ROLE.into(), access_key: None };
    sandbox.secrets_manager.with_state(|state| state.settings.deny.push(deny));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_taken_on_at_sts_and_used_at_the_secrets_manager() {
    let (sandbox, folder) = (sandbox().await, Folder::new());
    let declared = declared_for(&sandbox);
    let keys = [("AWS_ACCESS_KEY_ID", "AKIDPERSON"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    for declared in [with_role(&declared), with_role(&chain(&declared))] {
        let (code, said) = run(&folder, "plan", &declared, &keys).await;
        assert_eq!(code, Some(0), "{said}");
        let role = "arn:aws:sts::111122223333:assumed-role/keyferry/keyferry-";
        assert!(said.contains(role), "the session's name begins so, and goes on with the host's: {said}");
    }
    let total = |call| sandbox.world.total("aws", call);
    assert!(total("AssumeRole") == 2 && total("GetCallerIdentity") >= 2 && total("DescribeSecret") >= 2);
    // Nothing but Secrets Manager's own calls are sent there: the sandbox would not know them.
    assert_eq!(total("?"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_of_its_own_the_sandboxs_sts_is_not_looked_for_elsewhere() {
    let (sandbox, folder) = (sandbox().await, Folder::new());
    let sts = format!("sts_endpoint_url = \"http://{}\"\n", sandbox.sts_address());
    let declared = declared_for(&sandbox).replace(&sts, "");
    for declared in [declared.clone(), with_role(&declared)] {
        let (code, said) = run(&folder, "plan", &declared, &[]).await;
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("sts_endpoint_url") && said.contains("7709"), "{said}");
    }
    // The SDK's own variable says where STS is, and what is declared goes before it.
    let address = format!("http://{}", sandbox.sts_address());
    let keys = [("AWS_ACCESS_KEY_ID", "AKIDPERSON"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let nobody = [keys[0], keys[1], ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")];
    let somebody = [keys[0], keys[1], ("AWS_ENDPOINT_URL_STS", address.as_str())];
    for (declared, environment, code) in
        [(declared.clone(), &somebody, 0), (declared.clone(), &nobody, 3), (declared_for(&sandbox), &nobody, 0)]
    {
        for declared in [chain(&declared), with_role(&chain(&declared))] {
            let (ended, said) = run(&folder, "plan", &declared, environment).await;
            assert_eq!(ended, Some(code), "{environment:?} {declared} {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sign_in_says_which_provider_which_role_which_file_and_what_sts_said() {
    let (sandbox, folder) = (sandbox().await, Folder::new());
    deny_roles(&sandbox);
    let declared = declared_for(&sandbox);
    let (plain, roled) = (chain(&declared), with_role(&chain(&declared)));
    let token = |name: &str, text: &str| folder.write(name, text, 0o600);
    let (expired, invalid) = (token("expired", "expired"), token("invalid", "invalid"));
    let config = token(
        "config",
        "[profile known]\nregion = us-east-1\n[profile roled]\n\
        role_arn = arn:aws:iam::111122223333:role/keyferry\nsource_profile = keys\n[profile keys]\n\
        aws_access_key_id = AKIDPERSON\naws_secret_access_key = secret\n",
    );
    let sts = format!("http://{}", sandbox.sts_address());
    let web = |file: &str| {
        let file = file.to_owned();
        move || {
            vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", file.clone()),
                ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/other".to_owned()),
            ]
        }
    };
    let keys = |id: &str, secret: &str, token: &str| {
        vec![
            ("AWS_ACCESS_KEY_ID", id.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
            ("AWS_SESSION_TOKEN", token.to_owned()),
        ]
    };
    let profile = |name: &str| vec![("AWS_PROFILE", name.to_owned()), ("AWS_CONFIG_FILE", config.clone())];
    type Row<'a> = (&'a str, Vec<(&'a str, String)>, Vec<&'a str>);
    let rows: Vec<Row<'_>> = vec![
        (&roled, keys("AKIDPERSON", "secret", ""), vec!["AccessDenied", ROLE, "sts:AssumeRole", "trust policy"]),
        (&roled, vec![], vec!["no AWS credentials found", "to take on the role", ROLE]),
        (
            &plain,
            web(&expired)(),
            vec!["web identity token", "has expired", "role/other", &expired, "ExpiredTokenException"],
        ),
        (&plain, web(&invalid)(), vec!["InvalidIdentityToken", "role/other", &invalid, "trust policy"]),
        (&plain, web("/nowhere/token")(), vec!["can't read the web identity token file /nowhere/token", "not found"]),
        (&plain, profile("nobody"), vec!["there is no AWS profile `nobody`", &config]),
        (&plain, profile("roled"), vec!["AccessDenied", "the role that the AWS profile names"]),
        (&plain, keys("AKIDPERSON\n", "secret", ""), vec!["the AWS access key id ends in a line end"]),
        (&plain, keys("AKIDPERSON", "secret\n", ""), vec!["the AWS secret access key ends in a line end"]),
        (&plain, keys("AKIDPERSON", "secret", "to\u{1}ken"), vec!["the AWS session token holds", "control character"]),
    ];
    for (declared, mut environment, says) in rows {
        environment.push(("AWS_ENDPOINT_URL_STS", sts.clone()));
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for verb in ["plan", "once"] {
            let (code, said) = run(&folder, verb, declared, &environment).await;
            assert_eq!(code, Some(3), "{verb} {environment:?}\n{said}");
            let missing: Vec<_> = says.iter().filter(|word| !said.contains(**word)).collect();
            assert!(missing.is_empty() && !said.contains("panicked"), "{verb} does not say {missing:?}:\n{said}");
        }
    }
}
