//! The table of mistakes. Places count from the fragment's own first line; `-` is the whole file.
//! All words between `|` must be said somewhere in the problem.

use super::How::{Add, Instead, Whole};
use super::Part::{Aws, Credential, Defaults, Root, Vendor};
use super::*;

type Row = (How, &'static str, &'static [(&'static str, &'static str)]);

/// Stands in the table wherever a person may have put a secret, and must not come out anywhere.
const CANARY: &str = "CANARY";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Not TOML.
    (Whole, "deployment = \"prod", &[("KF0100 1:19", "basic string")]),
    (Whole, "deployment = prod\n", &[("KF0100 1:14", "quote")]),
    (Whole, "deployment \"prod\"\n", &[("KF0100 1:12", "=")]),
    (Whole, "deployment = \"prod\"\ndeployment = \"test\"\n", &[("KF0100 2:1", "duplicate key")]),
    (Whole, "deployment = \"prod\"\n[aws\n[limits]\nmax = }\n", &[("KF0100 2:5", "unclosed table"), ("KF0100 4:7", "expected `{`")]),
    (Add(Vendor), "api_key = \"CANARY", &[("KF0100 1:18", "string")]),
    (Add(Vendor), "base_url = CANARY", &[("KF0100 1:12", "quote")]),
    (Add(Root), "client_secret CANARY", &[("KF0100 1:15", "=")]),
    // Keys.
    (Add(Root), "includ = []", &[("KF0101 1:1", "unknown key `includ`|did you mean `include`")]),
    (Add(Root), "[limit]\nmax_replacements = 5", &[("KF0101 1:2", "did you mean `limits`")]),
    (Add(Root), "xyzzy = 1", &[("KF0101 1:1", "nothing reads this|valid keys here: `deployment`, `include`, `aws`")]),
    (Add(Root), "password = \"CANARY\"", &[("KF0101 1:1", "unknown key `password`")]),
    (Add(Aws), "regoin = \"x\"", &[("KF0101 1:1", "region")]),
    (Add(Vendor), "client_secrte = \"CANARY\"", &[("KF0101 1:1", "client_secret")]),
    (Add(Vendor), "pin = \"CANARY\"", &[("KF0101 1:1", "valid keys here|`kind`, `base_url`, `zone`")]),
    (Add(Defaults), "window = { from = \"02:00\", to = \"05:00\" }", &[("KF0101 1:1", "unknown key `window`")]),
    (Add(Credential), "rotat = \"30d\"", &[("KF0101 1:1", "did you mean `rotate`")]),
    (Add(Credential), "aplication = \"x\"", &[("KF0101 1:1", "application")]),
    (Add(Credential), "client_secret = \"CANARY\"", &[("KF0101 1:1", "unknown key `client_secret`")]),
    (Add(Credential), "tags = { a = \"b\" }", &[("KF0101 1:1", "belongs into [credential.secret]|last `[…]` above")]),
    (Add(Credential), "[credential.secret]\nrotate = \"30d\"", &[("KF0101 2:1", "belongs into [[credential]]")]),
    (Add(Credential), "[credential.secret]\ndescripton = \"x\"", &[("KF0101 2:1", "did you mean `description`")]),
    (Add(Credential), "rotate = { evry = \"30d\" }", &[("KF0101 1:12", "did you mean `every`")]),
    (Add(Credential), "window = { from = \"02:00\", to = \"05:00\", day = [\"mon\"] }", &[("KF0101 1:42", "days")]),
    (Add(Credential), "freeze = { from = \"2026-12-20\", to = \"2026-12-24\", until = 1 }", &[("KF0101 1:52", "unknown key `until`")]),
    (Add(Credential), "consumers = { refresh = \"1h\" }", &[("KF0101 1:15", "refresh_within")]),
    // Types of Keycard that hold no secret.
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\ntype = \"url\"\napplication = \"app\"\nurl = \"https://a.example/c\"\nrotate = \"30d\"", &[("KF0112 7:10", "no secret in a `url` credential|remove `rotate`")]),
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\ntype = \"token\"\napplication = \"app\"", &[("KF0103 1:1", "`provider`|Slug or id of the provider")]),
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\ntype = \"public-key\"\napplication = \"app\"\njwks_uri = \"http://a.example/jwks\"", &[("KF0108 6:12", "plain http")]),
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\ntype = \"public\"\napplication = \"app\"\nsubject = \"x\"", &[("KF0101 6:1", "unknown key `subject`")]),
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\ntype = \"url\"\napplication = \"app\"\nurl = \"https://a.example/c\"\n[credential.secret]\nvalue = \"{client_id}\"", &[("KF0116 8:9", "lacks `credential_id`")]),
    // Types.
    (Instead(Root), "deployment = 1", &[("KF0102 1:14", "must be a string|this is an integer|deployment = ")]),
    (Add(Root), "include = \"x.toml\"", &[("KF0102 1:11", "must be an array of strings")]),
    (Add(Root), "include = [1]", &[("KF0102 1:12", "must be an array of strings")]),
    (Instead(Aws), "aws = \"main\"", &[("KF0102 1:7", "must be a table")]),
    (Instead(Vendor), "[vendors]\nkeycard = \"CANARY\"", &[("KF0102 2:1", "table of its own"), ("KF0105 7:10", "there is no vendor `keycard`|declare it")]),
    (Instead(Credential), "[credential]\nname = \"a\"", &[("KF0200 -", "no credential"), ("KF0102 1:1", "array of tables|[[credential]]")]),
    (Whole, "deployment = \"prod\"\ncredential = [1]", &[("KF0200 -", ""), ("KF0102 2:15", "array of tables")]),
    (Add(Credential), "rotate = 30", &[("KF0102 1:10", "string or a table|\"30d\"")]),
    (Add(Credential), "overlap = 24", &[("KF0102 1:11", "must be a string|this is an integer")]),
    (Add(Credential), "secret = \"CANARY\"", &[("KF0102 1:10", "must be a table")]),
    (Add(Credential), "[credential.secret]\ncreate = \"no\"", &[("KF0102 2:10", "`true` or `false`|this is a string")]),
    (Add(Credential), "ownership = \"exclusive\"", &[("KF0112 1:1", "means nothing for a `password`|remove it")]),
    (Add(Credential), "verify = \"never\"", &[("KF0104 1:10", "can't be `never`|required")]),
    (Add(Credential), "[credential.secret]\nvalue = [\"{client_id}\"]", &[("KF0102 2:9", "a string or a table")]),
    (Add(Credential), "[credential.secret]\nvalue = { A = 1 }", &[("KF0102 2:15", "must be a string")]),
    (Add(Credential), "[credential.secret]\ntags = { A = 1 }", &[("KF0102 2:14", "must be a string")]),
    (Add(Credential), "zone = 5", &[("KF0102 1:8", "must be a string")]),
    (Add(Root), "limits = { max_replacements = \"5\" }", &[("KF0102 1:31", "must be an integer")]),
    (Add(Credential), "window = [\"02:00-05:00\"]", &[("KF0102 1:11", "a table or an array of tables")]),
    // What is missing.
    (Instead(Root), "discovery = \"list\"", &[("KF0103 -", "no `deployment`|first line")]),
    (Instead(Vendor), "[vendors.keycard]\nzone = \"x\"", &[("KF0103 1:1", "`[vendors.keycard]` has no `kind`|`keycard`")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"x\"\nclient_id = { env = \"A\" }", &[("KF0103 1:1", "has no `client_secret`|{ env = \"NAME\" }")]),
    (Instead(Credential), "[[credential]]\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"app\"", &[("KF0103 1:1", "no `name`")]),
    (Instead(Credential), "[[credential]]\nname = \"a\"\ntype = \"password\"\napplication = \"app\"", &[("KF0103 1:1", "no `vendor`")]),
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\napplication = \"app\"", &[("KF0103 1:1", "no `type`|`password`")]),
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\ntype = \"password\"", &[("KF0103 1:1", "`a` has no `application`|slug or id")]),
    (Instead(Credential), "[[credential]]", &[("KF0103 1:1", "no `name`"), ("KF0103 1:1", "no `vendor`")]),
    (Instead(Credential), "[[credential]]\nnane = \"a\"\nvendor = \"keycard\"\ntyp = \"password\"\napplication = \"app\"", &[("KF0101 2:1", "name"), ("KF0101 4:1", "type")]),
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvender = \"keycard\"\ntype = \"password\"\napplication = \"app\"\nsecrets = \"CANARY\"", &[("KF0101 3:1", "vendor"), ("KF0101 6:1", "secret")]),
    (Instead(Defaults), "", &[("KF0103 2:1", "`a` has no `rotate`|[defaults]")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nclient_id = { env = \"A\" }\nclient_secret = { env = \"B\" }", &[("KF0103 7:1", "`a` has no `zone`|once in `[vendors.keycard]`")]),
    (Add(Credential), "window = { from = \"02:00\" }", &[("KF0103 1:10", "has no `to`")]),
    (Add(Credential), "freeze = [{ to = \"2026-12-20\" }]", &[("KF0103 1:11", "has no `from`")]),
    (Instead(Aws), "[aws.a]\n[aws.b]", &[("KF0103 10:1", "`a` does not say in which AWS target|`a`, `b`")]),
    // Values.
    (Instead(Root), "deployment = \"Prod West\"", &[("KF0104 1:14", "`Prod West`|lower-case")]),
    (Add(Root), "discovery = \"lists\"", &[("KF0104 1:13", "did you mean `list`")]),
    (Add(Root), "discovery = \"magic\"", &[("KF0104 1:13", "one of: `list`, `declared`")]),
    (Add(Root), "limits = { max_replacements = 0 }", &[("KF0104 1:31", "1 to 10000")]),
    (Add(Aws), "account = \"1234\"", &[("KF0104 1:11", "12 digits")]),
    (Add(Aws), "account = 111122223333", &[("KF0102 1:11", "must be a string")]),
    (Add(Aws), "assume_role = \"keyferry\"", &[("KF0104 1:15", "ARN of a role")]),
    (Add(Aws), "ca_file = \"own-ca.pem\"", &[("KF0104 1:11", "absolute path")]),
    (Add(Aws), "endpoint_url = \"localhost\"", &[("KF0104 1:16", "not a usable URL|https://")]),
    (Add(Aws), "endpoint_url = \"ftp://example.com\"", &[("KF0104 1:16", "only https")]),
    (Add(Aws), "endpoint_url = \"https://example.com/?key=CANARY\"", &[("KF0104 1:16", "query")]),
    (Add(Aws), "credentials = \"sandbx\"", &[("KF0104 1:15", "did you mean `sandbox`")]),
    (Instead(Aws), "[aws.Main]", &[("KF0104 1:6", "name of a target")]),
    (Instead(Vendor), "[vendors.Key]\nkind = \"keycard\"\nclient_id = { env = \"A\" }\nclient_secret = { env = \"B\" }", &[("KF0104 1:10", "name of a vendor"), ("KF0105 9:10", "there is no vendor `keycard`")]),
    (Add(Credential), "zone = \"\"", &[("KF0104 1:8", "it is empty")]),
    (Add(Credential), "zone = \"a\\nb\"", &[("KF0104 1:8", "control characters")]),
    (Add(Credential), "takeover = \"adopt\"", &[("KF0104 1:12", "`refuse`, `rotate`")]),
    (Add(Credential), "state = \"gone\"", &[("KF0104 1:9", "`present`")]),
    (Add(Credential), "rotate = \"weekly\"", &[("KF0104 1:10", "`weekly`|manual")]),
    (Add(Credential), "rotate = \"0 3 * * SUN\"", &[("KF0104 1:10", "goes into a table")]),
    (Add(Credential), "rotate = \"@daily\"", &[("KF0104 1:10", "goes into a table")]),
    (Add(Credential), "[credential.secret]\nkms_key_id = \"arn:aws:iam::1:role/x\"", &[("KF0104 2:14", "not a KMS key")]),
    (Instead(Credential), "[[credential]]\nname = \"A b\"\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"app\"", &[("KF0104 2:8", "name of a credential|lower-case")]),
    // Names that nothing has.
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycrad\"\ntype = \"password\"", &[("KF0105 3:10", "no vendor `keycrad`|did you mean `keycard`")]),
    (Instead(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\ntype = \"pasword\"", &[("KF0105 4:8", "Keycard has no credential type `pasword`|did you mean `password`")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycad\"\nclient_secret = \"CANARY\"", &[("KF0105 2:8", "did you mean `keycard`")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"acme\"\nx = { y = [\"CANARY\"] }", &[("KF0105 2:8", "vendors that keyferry knows: `keycard`")]),
    (Add(Credential), "aws = \"main\"", &[("KF0105 1:7", "no AWS target `main`|declared targets: `default`")]),
    (Add(Credential), "rotate = { cron = \"0 3 * * *\", timezone = \"Europe/Berln\" }\noverlap = \"3h\"", &[("KF0105 1:43", "did you mean `Europe/Berlin`")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { aws_secret = { name = \"x\", aws = \"other\" } }", &[("KF0105 5:52", "no AWS target `other`")]),
    // Twice.
    (Add(Credential), "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"app\"", &[("KF0106 2:8", "two credentials have the name `a`|the first one")]),
    (Add(Credential), "secret = { name = \"x\" }\n[[credential]]\nname = \"b\"\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"app\"\nsecret = { name = \"x\" }", &[("KF0106 7:19", "would write the AWS secret `x`|the first one")]),
    (Add(Credential), "aws = \"default\"\nsecret = { aws = \"default\" }", &[("KF0106 2:12", "given twice|the other one")]),
    // Secrets where references belong.
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = \"CANARY\"", &[("KF0107 5:17", "never write a secret inline|not shown|replace it")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = [\"CANARY\"]", &[("KF0107 5:17", "never write a secret inline")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { env = \"CANARY-1\" }", &[("KF0107 5:25", "environment variable|not shown")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { file = \"CANARY\" }", &[("KF0107 5:26", "absolute path")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { systemd_credential = \"../CANARY\" }", &[("KF0107 5:40", "LoadCredential=")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { aws_secret = \"CANARY\" }", &[("KF0107 5:32", "aws_secret = { name")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { aws_secret = { name = \"CANARY!\" } }", &[("KF0107 5:41", "not the name of an AWS secret")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { value = \"CANARY\" }", &[("KF0101 5:19", "valid keys here: `env`, `file`")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = {}", &[("KF0103 5:17", "refers to nothing")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { env = \"A\", file = \"/CANARY\" }", &[("KF0112 5:30", "refers to two places|the other one")]),
    (Add(Aws), "proxy = \"http://user:CANARY@proxy.example.com\"", &[("KF0107 1:9", "a user or a password")]),
    (Add(Aws), "proxy = \"ht!tp://user:CANARY@proxy.example.com\"", &[("KF0104 1:9", "not a usable URL|not shown")]),
    (Add(Aws), "proxy = \"user:CANARY@proxy.example.com:3128\"", &[("KF0104 1:9", "not a usable URL")]),
    (Add(Aws), "proxy = \"//user:CANARY@proxy\"", &[("KF0104 1:9", "not a usable URL")]),
    (Add(Aws), "endpoint_url = \"https:user:CANARY@[::1\"", &[("KF0104 1:16", "not a usable URL")]),
    (Add(Vendor), "base_url = \"http//user:CANARY@example.com\"", &[("KF0104 1:12", "not a usable URL")]),
    (Add(Aws), "proxy = [\"http://user:CANARY@proxy.example.com\"]", &[("KF0102 1:9", "must be a string")]),
    (Whole, "CANARY\n", &[("KF0008 -", "not a keyferry declaration|`deployment`")]),
    (Whole, "id = \"CANARY\"\n", &[("KF0008 -", "not a keyferry declaration")]),
    (Whole, "CANARY = \"1\"\n[CANARY]\n", &[("KF0008 -", "not a keyferry declaration")]),
    (Whole, "{\"id\": \"1\", \"value\": \"CANARY\"}", &[("KF0008 -", "not a keyferry declaration")]),
    (Whole, "-----BEGIN PRIVATE KEY-----\nCANARYaws=\n-----END PRIVATE KEY-----\n", &[("KF0008 -", "not a keyferry declaration")]),
    (Add(Vendor), "base_url = \"https://CANARY@example.com\"", &[("KF0107 1:12", "a user or a password")]),
    // One line holds the mistake and, as a good reference elsewhere would not, a secret.
    (Whole, "deployment = \"p\"\nvendors = { k = { kind = \"keycrad\", client_secret = \"CANARY\" } }", &[("KF0200 -", ""), ("KF0105 2:26", "did you mean `keycard`")]),
    (Whole, "deployment = \"p\"\nvendors = { k = { kind = 1, client_secret = \"CANARY\" } }", &[("KF0200 -", ""), ("KF0102 2:26", "must be a string")]),
    (Whole, "deployment = \"p\"\nvendors = { k = { client_secret = \"CANARY\" } }", &[("KF0200 -", ""), ("KF0103 2:17", "no `kind`")]),
    (Add(Vendor), "x = 1 # client_secret was CANARY", &[("KF0101 1:1", "unknown key")]),
    (Add(Vendor), "token = [ # CANARY\n  'CANARY', # CANARY\n]", &[("KF0101 1:1", "unknown key `token`")]),
    // An admin secret that keyferry itself would write with what it reads there.
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { aws_secret = { name = \"prod/keycard/a\", key = \"client_secret\" } }", &[("KF0112 9:8", "`a` is written to the AWS secret `prod/keycard/a`|`client_secret` of `[vendors.keycard]`|the admin secret stands here")]),
    (Add(Credential), "[[credential]]\nname = \"b\"\nvendor = \"cbk\"\ntype = \"secret\"\nalias = \"crm\"\nvalue = { aws_secret = { name = \"prod/cbk/b\" } }\n[vendors.cbk]\nkind = \"chatbotkit\"\ntoken = { env = \"T\" }", &[("KF0112 2:8", "`b` is written to the AWS secret `prod/cbk/b`|read from there")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { aws_secret = { name = \"x\", key = \"\" } }", &[("KF0104 5:52", "it is empty")]),
    // Loopback only.
    (Add(Aws), "credentials = \"sandbox\"", &[("KF0108 1:15", "for the sandbox only|127.0.0.1:7701")]),
    (Add(Aws), "endpoint_url = \"https://example.com\"\ncredentials = \"sandbox\"", &[("KF0108 2:15", "for the sandbox only|not a loopback address")]),
    (Add(Aws), "endpoint_url = \"http://localhost:7701\"", &[("KF0108 1:16", "plain http|not a name")]),
    (Add(Aws), "endpoint_url = \"http://localstack:4566\"\ncredentials = \"sandbox\"", &[("KF0108 1:16", "plain http|allow_http = true")]),
    (Add(Aws), "endpoint_url = \"http://localstack:4566\"\nallow_http = true", &[("KF0108 2:1", "an emulator's address|credentials = \"sandbox\"")]),
    (Add(Aws), "allow_http = true\ncredentials = \"sandbox\"", &[("KF0108 1:1", "no `endpoint_url`"), ("KF0108 2:15", "")]),
    (Add(Aws), "endpoint_url = \"https://secretsmanager.example.com\"\nallow_http = true\ncredentials = \"sandbox\"", &[("KF0108 2:1", "https"), ("KF0108 3:15", "")]),
    (Add(Aws), "endpoint_url = \"http://secretsmanager.eu-central-1.amazonaws.com\"\nallow_http = true\ncredentials = \"sandbox\"", &[("KF0108 2:1", "AWS itself")]),
    (Add(Aws), "endpoint_url = \"http://localstack:4566\"\nallow_http = true\ncredentials = \"sandbox\"\nsts_endpoint_url = \"http://sts.eu-central-1.amazonaws.com\"", &[("KF0108 2:1", "an emulator"), ("KF0108 4:20", "AWS itself")]),
    (Add(Aws), "endpoint_url = \"http://localstack:4566\"\nallow_http = \"yes\"", &[("KF0108 1:16", ""), ("KF0102 2:14", "`true` or `false`")]),
    (Add(Vendor), "base_url = \"http://example.com\"", &[("KF0108 1:12", "plain http")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nbase_url = \"https://example.com\"\nclient_id = { env = \"A\" }\nclient_secret = { sandbox = true }", &[("KF0108 6:17", "loopback address only|not a loopback address")]),
    (Instead(Vendor), "[vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { sandbox = false }", &[("KF0107 5:29", "can only be `true`")]),
    // Durations.
    (Add(Credential), "overlap = \"24\"", &[("KF0109 1:12", "no unit|30d")]),
    (Add(Credential), "overlap = \"1.5h\"", &[("KF0109 1:13", "no fractions")]),
    (Add(Credential), "rotate = \"3months\"", &[("KF0109 1:12", "no fixed length")]),
    (Add(Credential), "rotate = { every = \"0d\" }", &[("KF0109 1:20", "can't be zero|manual")]),
    (Add(Credential), "rotate = { every = \"30d\", jitter = \"-2h\" }", &[("KF0109 1:37", "never negative")]),
    (Add(Defaults), "consumers = { refresh_within = \"1 hour\" }", &[("KF0109 1:33", "no unit")]),
    // Cron.
    (Add(Credential), "rotate = { cron = \"0 3 * *\" }", &[("KF0110 1:19", "five fields, but this has 4")]),
    (Add(Credential), "rotate = { cron = \"0 0 3 * * SUN\" }", &[("KF0110 1:19", "five fields, but this has 6")]),
    (Add(Credential), "rotate = { cron = \"*/90 * * * *\" }", &[("KF0110 1:19", "`*/90`|every hour|rotate = { every = \"90m\" }")]),
    (Add(Credential), "rotate = { cron = \"0 */36 * * *\" }", &[("KF0110 1:19", "`*/36`|every day|rotate = { every = \"36h\" }")]),
    (Add(Credential), "rotate = { cron = \"0 0 1,*/45 * *\" }", &[("KF0110 1:19", "`*/45`|every month|rotate = { every = \"45d\" }")]),
    (Add(Credential), "rotate = { cron = \"0 0 1 10-12/5 *\" }", &[("KF0110 1:19", "`10-12/5`|every year|name the months")]),
    (Add(Credential), "rotate = { cron = \"@reboot\" }", &[("KF0110 1:19", "`@reboot`|`@weekly`")]),
    (Add(Credential), "rotate = { cron = \"@weakly\" }", &[("KF0110 1:19", "`@weakly`|`@weekly`")]),
    (Add(Credential), "rotate = { cron = \"@weekly\", timezone = \"PST\" }", &[("KF0105 1:41", "`PST`|abbreviation|`America/Los_Angeles`")]),
    (Add(Credential), "rotate = { cron = \"@weekly\", timezone = \"CEST\" }", &[("KF0105 1:41", "`CEST`|`Europe/Berlin`")]),
    (Add(Credential), "rotate = { cron = \"@weekly\", timezone = \"UTC+2\" }", &[("KF0105 1:41", "`UTC+2`|offset|summer time|`Europe/Helsinki`")]),
    (Add(Credential), "rotate = { cron = \"@weekly\", timezone = \"-05:00\" }", &[("KF0105 1:41", "`-05:00`|offset|`America/New_York`")]),
    (Add(Credential), "window = { from = \"02:00\", to = \"05:00\", timezone = \"GMT+13:45\" }", &[("KF0105 1:53", "`GMT+13:45`|region")]),
    (Add(Credential), "rotate = { cron = \"0 25 * * *\" }", &[("KF0110 1:19", "not a cron pattern")]),
    (Add(Credential), "rotate = { cron = \"0 3 13 * FRI\" }", &[("KF0110 1:19", "when either matches|+FRI")]),
    (Add(Credential), "rotate = { cron = \"0 0 30 2 *\" }", &[("KF0110 1:19", "never fires")]),
    // Windows and freezes.
    (Add(Credential), "window = { from = \"2am\", to = \"05:00\" }", &[("KF0111 1:19", "not a time of the day|02:00")]),
    (Add(Credential), "window = { from = \"02:00\", to = \"24:00\" }", &[("KF0111 1:33", "ends at `00:00`")]),
    (Add(Credential), "window = { from = \"02:00\", to = \"02:00\" }", &[("KF0111 1:33", "never open|it begins here")]),
    (Add(Credential), "window = { from = \"02:00\", to = \"05:00\", days = [\"tues\"] }", &[("KF0111 1:50", "did you mean `tue`")]),
    (Add(Credential), "window = { from = \"02:00\", to = \"05:00\", days = [] }", &[("KF0111 1:49", "names no day")]),
    (Add(Credential), "freeze = [{ from = \"2027-01-03\", to = \"2026-12-20\" }]", &[("KF0111 1:39", "ends before it begins|it begins here")]),
    (Add(Credential), "freeze = [{ from = \"0001-01-01\", to = \"9999-12-31\" }]", &[("KF0111 1:11", "longer than a year|rotate = \"manual\"")]),
    (Add(Credential), "freeze = [{ from = \"2026-01-01\", to = \"2027-01-02\" }]", &[("KF0111 1:11", "longer than a year")]),
    (Add(Credential), "freeze = [{ from = \"2026-07-01\", to = \"2026-12-31\" },\n{ from = \"2027-01-01\", to = \"2027-08-01\" }]", &[("KF0111 2:1", "longer than a year|it begins here")]),
    (Add(Credential), "freeze = [{ from = \"20.12.2026\", to = \"2027-01-03\" }]", &[("KF0111 1:20", "neither a day nor a moment")]),
    (Add(Credential), "freeze = [{ from = \"2026-12-20T18:00:00\", to = \"2027-01-03\" }]", &[("KF0111 1:20", "with its offset")]),
    (Add(Credential), "freeze = [{ from = \"2026-02-30\", to = \"2027-01-03\" }]", &[("KF0111 1:20", "neither a day")]),
    // Settings that disagree.
    (Add(Credential), "rotate = { every = \"30d\", cron = \"0 3 * * SUN\" }", &[("KF0112 1:34", "both `every` and `cron`|the other one")]),
    (Add(Credential), "rotate = { every = \"30d\", timezone = \"UTC\" }", &[("KF0112 1:27", "means nothing beside `every`")]),
    (Add(Credential), "rotate = { every = \"3d\", jitter = \"3d\" }", &[("KF0112 1:35", "jitter is not shorter|every 3d")]),
    (Add(Credential), "rotate = \"1d\"", &[("KF0112 1:10", "before this one is over|every 1d 1h 30m or less often|(the standard)")]),
    (Add(Credential), "rotate = \"25h29m\"", &[("KF0112 1:10", "every 1d 1h 30m or less often")]),
    (Add(Credential), "rotate = \"5h\"\noverlap = \"4h\"", &[("KF0112 1:10", "every 5h|lives 4h longer|5h 30m")]),
    (Add(Credential), "rotate = { cron = \"0 3 * * *\" }", &[("KF0112 1:10", "every 1d")]),
    (Add(Credential), "overlap = \"3h\"\nconsumers = { refresh_within = \"6h\" }", &[("KF0112 1:11", "lives 3h longer|held up to 6h")]),
    (Add(Credential), "consumers = { refresh_within = \"2d\" }", &[("KF0112 1:32", "held up to 2d, but the standard overlap is 1d")]),
    (Add(Credential), "[credential.secret]\ncreate = false\ntags = { a = \"b\" }", &[("KF0112 3:1", "no effect beside `create = false`|whoever creates")]),
    (Add(Aws), "external_id = \"abc\"", &[("KF0112 1:1", "without `assume_role`")]),
    (Add(Aws), "account = \"111122223333\"\nassume_role = \"arn:aws:iam::444455556666:role/x\"", &[("KF0112 2:15", "another account|the account it must be")]),
    (Add(Aws), "[aws.main]", &[("KF0112 0:1", "settings of its own and named targets|[aws.main]")]),
    // Floors.
    (Add(Credential), "overlap = \"90m\"", &[("KF0113 1:11", "1h 30m is below 2h|loopback")]),
    (Add(Credential), "rotate = \"30m\"\noverlap = \"2h\"", &[("KF0113 1:10", "every 30m is below 1h")]),
    (Add(Credential), "rotate = { cron = \"*/10 * * * *\" }", &[("KF0113 1:10", "every 10m is below 1h")]),
    // Tags.
    (Add(Credential), "[credential.secret]\ntags = { \"aws:x\" = \"1\" }", &[("KF0114 2:10", "belong to AWS")]),
    (Add(Credential), "[credential.secret]\ntags = { \"keyferry:x\" = \"1\" }", &[("KF0114 2:10", "belong to keyferry")]),
    (Add(Credential), "[credential.secret]\ntags = { \"a,b\" = \"1\" }", &[("KF0114 2:10", "these characters|letters, digits, spaces")]),
    (Add(Credential), "[credential.secret]\ntags = { a = \"ü\" }", &[("KF0114 2:14", "these characters")]),
    (Add(Credential), "[credential.secret]\ntags = { \"\" = \"x\" }", &[("KF0114 2:10", "1 to 128")]),
    // Names of AWS secrets.
    (Add(Credential), "[credential.secret]\nname = \"{deployment}/{nme}\"", &[("KF0115 2:22", "`{nme}` is not a place|did you mean `name`")]),
    (Add(Credential), "[credential.secret]\nname = \"{name\"", &[("KF0115 2:9", "not a place")]),
    (Add(Credential), "[credential.secret]\nname = \"a b\"", &[("KF0115 2:8", "`a b` can't be the name of an AWS secret")]),
    (Add(Defaults), "[defaults.secret]\nname = \"{env}\"", &[("KF0115 2:9", "`{env}` is not a place|places: `deployment`")]),
    // Shapes.
    (Add(Credential), "[credential.secret]\nvalue = \"{client_secret}\"", &[("KF0116 2:9", "lacks `client_id`|could not be proved after a crash|add `{client_id}`")]),
    (Add(Credential), "[credential.secret]\nvalue = \"CANARY\"", &[("KF0116 2:9", "lacks `client_id`, `client_secret`")]),
    (Add(Credential), "[credential.secret]\nvalue = { PASSWORD = \"CANARY\", ID = \"{client_id}\" }", &[("KF0116 2:9", "lacks `client_secret`")]),
    (Add(Credential), "[credential.secret]\nvalue = {}", &[("KF0116 2:9", "lacks")]),
    (Add(Credential), "[credential.secret]\nvalue = \"{client_id}{client_secret}\"", &[("KF0115 2:9", "text between them")]),
    (Add(Credential), "[credential.secret]\nvalue = \"{client_secret}k{client_id}\"", &[("KF0115 2:9", "`{client_secret}` and `{client_id}`|`k`|`{client_secret}:{client_id}`")]),
    (Add(Credential), "[credential.secret]\nvalue = { PAIR = \"{client_id}-{client_secret}\", ISSUER = \"{issuer}\" }", &[("KF0115 2:18", "`{client_id}` and `{client_secret}`|`-`|`{client_id}:{client_secret}`")]),
    (Add(Credential), "[credential.secret]\nvalue = \"{client_secret}/{token_endpoint}/{client_id}\"", &[("KF0115 2:9", "`{client_secret}` and `{token_endpoint}`|`{client_secret} {token_endpoint}`")]),
    (Add(Credential), "[credential.secret]\nvalue = \"{client_id}:{client_secre}\"", &[("KF0115 2:9", "did you mean `client_secret`")]),
    (Add(Credential), "[credential.secret]\nvalue = \"{client_id}:{client_secret\"", &[("KF0115 2:9", "brace without its partner")]),
    // How a replaced credential ends, and whether the credential is wanted.
    (Add(Credential), "state = \"retird\"", &[("KF0104 1:9", "`state` can't be `retird`|did you mean `retired`")]),
    (Add(Credential), "state = \"absent\"", &[("KF0104 1:9", "one of: `present`, `retired`")]),
    (Add(Credential), "state = false", &[("KF0102 1:9", "must be a string")]),
    (Add(Credential), "retire_when = \"unused\"", &[("KF0117 1:15", "does not show when|`password`|`confirmed`|`overlap`")]),
    (Add(Defaults), "retire_when = \"unused\"", &[("KF0117 1:15", "does not show when")]),
    (Add(Credential), "retire_when = \"confirmd\"", &[("KF0104 1:15", "did you mean `confirmed`")]),
    (Add(Credential), "retire_when = \"never\"", &[("KF0104 1:15", "`overlap`, `unused`, `confirmed`")]),
    (Add(Credential), "retire_when = 7", &[("KF0102 1:15", "a string or a table")]),
    (Add(Credential), "retire_when = { max = \"9d\" }", &[("KF0103 1:15", "`retire_when` has no `when`")]),
    (Add(Credential), "retire_when = { when = \"confirmed\", maximum = \"9d\" }", &[("KF0101 1:37", "`maximum`")]),
    (Add(Credential), "retire_when = { when = \"confirmed\", max = \"9\" }", &[("KF0109 1:44", "not a duration")]),
    (Add(Credential), "retire_when = { when = \"confirmed\", max = \"12h\" }", &[("KF0112 1:43", "shorter than the overlap|at most 12h")]),
    (Add(Credential), "retire_when = { when = \"confirmed\", max = \"30d\" }", &[("KF0112 1:43", "still waits for evidence|every 30d")]),
    (Add(Credential), "retire_when = \"confirmed\"\nrotate = \"7d\"", &[("KF0112 1:15", "up to 7d (the standard)|every 7d|every 7d 1h 30m or less often")]),
    (Add(Credential), "retire_when = { when = \"overlap\", max = \"9d\" }", &[("KF0112 1:41", "means nothing|remove `max`")]),
    // Nothing at all is only a warning, and everything wrong comes at once.
    (Instead(Credential), "discovery = \"list\"", &[("KF0200 -", "no credential"), ("KF0101 1:1", "does not belong here|the top of the file")]),
    (Add(Credential), "rotat = 1\noverlap = \"x\"\nstate = \"gone\"\ntakeover = \"no\"\nzone = 1\n[credential.secret]\nname = \"{x}\"\nvalue = \"CANARY\"", &[
        ("KF0101 1:1", "rotate"), ("KF0109 2:12", ""), ("KF0104 3:9", ""), ("KF0104 4:12", ""), ("KF0102 5:8", ""),
        ("KF0115 7:9", ""), ("KF0116 8:9", ""),
    ]),
];

#[test]
fn every_mistake_is_told_at_its_place_in_words_and_shows_no_secret() {
    let mut wrong = String::new();
    for (how, fragment, expected) in ROWS {
        let (text, before) = compose(*how, fragment);
        let report = match load_text(&[("keyferry.toml", &text)]) {
            Err(report) => report,
            Ok(_) => {
                writeln!(wrong, "accepted: {fragment}").unwrap();
                continue;
            }
        };
        let found: Vec<String> = report
            .problems
            .iter()
            .map(|problem| match report.line_column(&problem.at) {
                Some((line, column)) => {
                    format!("{} {}:{column}", problem.code.as_str(), line.cast_signed() - before.cast_signed())
                }
                None => format!("{} -", problem.code.as_str()),
            })
            .collect();
        let places: Vec<&str> = expected.iter().map(|(place, _)| *place).collect();
        if found != places {
            writeln!(wrong, "{fragment}\n  expected {places:?}\n  found    {found:?}\n{report}\n").unwrap();
            continue;
        }
        for (problem, (_, words)) in report.problems.iter().zip(*expected) {
            let (other, help) = (problem.other.as_ref().map(|(_, label)| label), problem.help.as_ref());
            let said = format!("{}\n{}\n{other:?}\n{help:?}", problem.message, problem.label).replace("\\\"", "\"");
            for word in words.split('|').filter(|word| !said.contains(word)) {
                writeln!(wrong, "{fragment}\n  not said: {word}\n  said: {said}\n").unwrap();
            }
            if problem.help.is_none() && problem.code != diagnostic::Code::Syntax {
                writeln!(wrong, "{fragment}\n  no help: {}\n", problem.message).unwrap();
            }
        }
        let shown = format!("{}{}{}{report:?}", report.render(false), report.render(true), report.to_json());
        if shown.contains(CANARY) {
            writeln!(wrong, "{fragment}\n  the secret is shown:\n{}", report.render(false)).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(ROWS.len() >= 80, "{} rows", ROWS.len());
}

/// Breaks a declaration with a secret in it at random places: nothing may fall over, and nothing
/// may show the secret, however the file is broken.
#[test]
fn however_a_file_is_broken_it_is_told_and_shows_no_secret() {
    let places = [
        "client_secret = \"CANARY\"\n",
        "client_secret = { env = \"CANARY.\" }\n",
        "password = ['CANARY',\n 'CANARY']\n",
        "client_secret = \"\"\"\nCANARY\nCANARY==\n\"\"\"\n",
    ];
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut text, before) = compose(Add(Vendor), places[random.usize(..places.len())].trim_end());
        let own = text.match_indices('\n').nth(before - 1).map_or(0, |(at, _)| at + 1);
        for _ in 0..random.usize(1..4) {
            let at = text.floor_char_boundary(random.usize(..=text.len()));
            // Another name or a torn secret would be another test.
            let in_secret = (own..own + 60).contains(&at) && text[..at].rfind('\n').is_some_and(|line| line + 1 >= own);
            if in_secret && text[at..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            match random.u8(..4) {
                0 if at < text.len() && !in_secret => drop(text.remove(at)),
                1 if !in_secret => text.truncate(at),
                2 => text.insert_str(at, ["ü", "\u{0}", "\r", "\u{feff}"][random.usize(..4)]),
                _ => text.insert(at, *random.choice(b"\"'[]{}=#,.\n ").unwrap() as char),
            }
        }
        let Err(report) = load_text(&[("x.toml", &text)]) else { continue };
        let shown = format!("{}{}{}{report:?}", report.render(false), report.render(true), report.to_json());
        assert!(!shown.contains(CANARY), "seed {seed}\n{text}\n{}", report.render(false));
    }
}
