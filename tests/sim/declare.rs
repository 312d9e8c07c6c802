//! The declaration of a world, drawn from its seed: who issues what, where it goes, how often it is
//! replaced. It can be edited as a person would, and is read by the reader that ships.

use std::sync::atomic::{AtomicUsize, Ordering};

use std::fmt::Write as _;

use keyferry::config::{self, Declaration};

/// What a credential is at its vendor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Keycard: the vendor keeps our mark.
    Named,
    /// WorkOS, in an application that nobody else uses.
    Exclusive,
    /// WorkOS, in an application where others make secrets, too.
    Shared,
    /// ChatBotKit: a token of a child account.
    Token,
    /// ChatBotKit: one record, whose value is ours.
    InPlace,
}

impl Kind {
    /// The vendor's `kind`.
    pub fn vendor(self) -> &'static str {
        match self {
            Self::Named => "keycard",
            Self::Exclusive | Self::Shared => "workos",
            Self::Token | Self::InPlace => "chatbotkit",
        }
    }
}

/// One declared credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct One {
    pub name: String,
    pub kind: Kind,
    pub vendor: String,
    pub target: String,
    pub application: String,
    pub zone: String,
    /// Hours between rotations; 0 for "manual".
    pub every_h: u64,
    pub overlap_h: u64,
    /// `retire_when`, as it is written.
    pub retire_when: Option<&'static str>,
    pub retired: bool,
    /// The credential whose client secret is this one's value.
    pub fed_by: Option<String>,
    /// The secret is there before keyferry is, with a credential that somebody else made.
    pub premade: bool,
}

/// A whole declaration.
#[derive(Clone, Debug)]
pub struct Draft {
    pub targets: Vec<String>,
    /// Name and kind of each vendor instance.
    pub vendors: Vec<(String, &'static str)>,
    pub credentials: Vec<One>,
    /// `discovery = "declared"`.
    pub by_name: bool,
}

/// The port of the n-th target.
/// A number that the worlds of one thread share, and no other thread has.
fn world_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    OWN.with(|own| own % 250)
}

fn target_port(number: usize) -> usize {
    7001 + number
}

fn vendor_port(number: usize) -> usize {
    7101 + number
}

impl Draft {
    /// Draws one.
    pub fn drawn(dice: &mut fastrand::Rng) -> Self {
        let targets: Vec<String> = ["east", "west"][..dice.usize(1..=2)].iter().map(|&name| name.into()).collect();
        let mut vendors: Vec<(String, &'static str)> = Vec::new();
        for kind in ["keycard", "workos", "chatbotkit"] {
            let count = if kind == "chatbotkit" { 1 } else { dice.usize(1..=2) };
            vendors.extend((1..=count).map(|number| (format!("{kind}-{number}"), kind)));
        }
        let mut draft = Self { targets, vendors, credentials: Vec::new(), by_name: dice.usize(..8) == 0 };
        let kinds = [Kind::Named, Kind::Exclusive, Kind::Shared, Kind::Token, Kind::InPlace];
        for number in 0..dice.usize(2..=4) {
            let kind = kinds[if number < 2 { dice.usize(..3) } else { dice.usize(..kinds.len()) }];
            let one = draft.draw_one(number, kind, dice);
            draft.credentials.push(one);
        }
        if dice.usize(..3) == 0 {
            draft.add_chain(dice);
        }
        draft
    }

    fn draw_one(&self, number: usize, kind: Kind, dice: &mut fastrand::Rng) -> One {
        let vendors: Vec<&String> =
            self.vendors.iter().filter(|(_, one)| *one == kind.vendor()).map(|(name, _)| name).collect();
        let overlap_h = [2, 2, 4, 6, 24][dice.usize(..5)];
        let every = [overlap_h + 4, overlap_h + 10, 24, 48, 72, 0];
        let retire_when = match dice.usize(..6) {
            0 if matches!(kind, Kind::Exclusive | Kind::Shared) => Some("{ when = \"unused\", max = \"2d\" }"),
            1 if kind != Kind::InPlace => Some("{ when = \"confirmed\", max = \"1d\" }"),
            _ => None,
        };
        let wait_h = overlap_h + if retire_when.is_some() { 52 } else { 4 };
        One {
            name: format!("{}-{number}", kind.vendor()),
            kind,
            vendor: vendors[dice.usize(..vendors.len())].clone(),
            target: self.targets[dice.usize(..self.targets.len())].clone(),
            application: format!("app-{number}"),
            zone: "production".into(),
            every_h: match every[dice.usize(..every.len())] {
                0 => 0,
                hours => hours.max(wait_h),
            },
            overlap_h,
            retire_when,
            retired: false,
            fed_by: None,
            premade: matches!(kind, Kind::Named | Kind::Exclusive) && dice.usize(..8) == 0,
        }
    }

    /// A record in place that follows another credential's client secret.
    fn add_chain(&mut self, dice: &mut fastrand::Rng) {
        let sources = self.credentials.iter().filter(|one| !matches!(one.kind, Kind::InPlace | Kind::Token));
        let sources: Vec<String> = sources.map(|one| one.name.clone()).collect();
        if let Some(source) = sources.first() {
            let one = self.draw_one(9, Kind::InPlace, dice);
            self.credentials.push(One { fed_by: Some(source.clone()), every_h: 0, name: "fed-9".into(), ..one });
        }
    }

    /// The credential of this number, counted round.
    pub fn pick(&mut self, number: usize) -> &mut One {
        let count = self.credentials.len();
        &mut self.credentials[number % count]
    }

    /// Address of a target.
    pub fn target_authority(&self, name: &str) -> String {
        let number = self.targets.iter().position(|one| one == name).expect("it is one of them");
        // Targets at one address share one pace, and the time of a world is its own.
        format!("127.0.{}.1:{}", world_number(), target_port(number))
    }

    /// Address of a vendor instance.
    pub fn vendor_authority(&self, name: &str) -> String {
        let number = self.vendors.iter().position(|(one, _)| one == name).expect("it is one of them");
        format!("127.0.0.1:{}", vendor_port(number))
    }

    /// As it stands in a file.
    pub fn text(&self) -> String {
        let mut text = String::from("deployment = \"sim\"\n");
        if self.by_name {
            text.push_str("discovery = \"declared\"\n");
        }
        for target in &self.targets {
            let address = self.target_authority(target);
            let _ = write!(
                text,
                "[aws.{target}]\nregion = \"us-east-1\"\nendpoint_url = \"http://{address}\"\ncredentials = \"sandbox\"\n"
            );
        }
        for (vendor, kind) in &self.vendors {
            let address = self.vendor_authority(vendor);
            let keys = match *kind {
                "keycard" => {
                    "zone = \"production\"\nclient_id = { sandbox = true }\nclient_secret = { sandbox = true }\n"
                }
                "workos" => "api_key = { sandbox = true }\n",
                _ => "token = { sandbox = true }\n",
            };
            let _ = write!(text, "[vendors.{vendor}]\nkind = \"{kind}\"\nbase_url = \"http://{address}\"\n{keys}");
        }
        text.push_str("[defaults.secret]\nname = \"{name}\"\n");
        for one in &self.credentials {
            one.write(&mut text, self.targets.len() > 1);
        }
        text
    }

    /// As keyferry reads it.
    pub fn read(&self) -> Declaration {
        let text = self.text();
        let loaded = config::load_text(&[("sim.toml", &text)]);
        loaded
            .unwrap_or_else(|report| panic!("the drawn declaration is refused:\n{}", report.render(false)))
            .declaration
    }
}

impl One {
    fn write(&self, text: &mut String, several_targets: bool) {
        let place = match self.kind {
            Kind::Named => {
                format!("type = \"password\"\napplication = \"{}\"\nzone = \"{}\"\n", self.application, self.zone)
            }
            Kind::Exclusive => {
                format!("type = \"client-secret\"\napplication = \"{}\"\nownership = \"exclusive\"\n", self.application)
            }
            Kind::Shared => format!("type = \"client-secret\"\napplication = \"{}\"\n", self.application),
            Kind::Token => format!("type = \"user-token\"\nuser = \"{}\"\n", self.application),
            Kind::InPlace => {
                let value = match &self.fed_by {
                    Some(source) => format!("{{ credential = \"{source}\", output = \"client_secret\" }}"),
                    None => "{ generate = { length = 48 } }".into(),
                };
                format!(
                    "type = \"secret\"\nalias = \"{}\"\nusage = \"bearer\"\nvalue = {value}\nverify = \"best-effort\"\n",
                    self.application
                )
            }
        };
        let _ = write!(text, "[[credential]]\nname = \"{}\"\nvendor = \"{}\"\n{place}", self.name, self.vendor);
        let rotate = if self.every_h == 0 { "manual".into() } else { format!("{}h", self.every_h) };
        let _ = write!(text, "rotate = \"{rotate}\"\noverlap = \"{}h\"\n", self.overlap_h);
        if let Some(when) = self.retire_when {
            let _ = writeln!(text, "retire_when = {when}");
        }
        if several_targets {
            let _ = writeln!(text, "aws = \"{}\"", self.target);
        }
        if self.retired {
            text.push_str("state = \"retired\"\n");
        }
        if self.kind == Kind::Token {
            text.push_str("[credential.secret]\nvalue = { token = \"{token}\", token_id = \"{token_id}\" }\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_declaration_is_well_formed() {
        for seed in 0..300 {
            let draft = Draft::drawn(&mut fastrand::Rng::with_seed(seed));
            assert_eq!(draft.read().credentials.len(), draft.credentials.len());
        }
    }
}
