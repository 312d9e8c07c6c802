//! What a person sees for each mistake, and what a good declaration becomes.

use std::fmt::Write as _;

use super::*;

mod bad;
mod files;
mod good;
mod rendered;
mod sources;

/// A part of the standard declaration below.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part {
    Root,
    Aws,
    Vendor,
    Defaults,
    Credential,
}

const STANDARD: [(Part, &str); 5] = [
    (Part::Root, "deployment = \"prod\"\n"),
    (Part::Aws, "[aws]\nregion = \"eu-central-1\"\n"),
    (
        Part::Vendor,
        "[vendors.keycard]\nkind = \"keycard\"\nzone = \"production\"\nclient_id = { env = \"ID\" }\n\
         client_secret = { file = \"/run/secrets/keycard\" }\n",
    ),
    (Part::Defaults, "[defaults]\nrotate = \"30d\"\n"),
    (
        Part::Credential,
        "[[credential]]\nname = \"a\"\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"app\"\n",
    ),
];

/// How a fragment gets into the standard declaration.
#[derive(Clone, Copy, Debug)]
enum How {
    /// After the lines of a part.
    Add(Part),
    /// Instead of a part.
    Instead(Part),
    /// Instead of everything.
    Whole,
}

/// The declaration, and the number of lines before the fragment.
fn compose(how: How, fragment: &str) -> (String, usize) {
    let (mut text, mut before) = (String::new(), 0);
    for (part, standard) in STANDARD {
        match how {
            How::Whole => return (fragment.into(), 0),
            How::Add(at) if at == part => {
                text.push_str(standard);
                before = text.lines().count();
                writeln!(text, "{fragment}").unwrap();
            }
            How::Instead(at) if at == part => {
                before = text.lines().count();
                writeln!(text, "{fragment}").unwrap();
            }
            How::Add(_) | How::Instead(_) => text.push_str(standard),
        }
    }
    (text, before)
}

/// Loads the standard declaration with a fragment in it.
fn load_with(how: How, fragment: &str) -> Result<Loaded, Report> {
    load_text(&[("keyferry.toml", &compose(how, fragment).0)])
}
