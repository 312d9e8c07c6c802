//! The exhaustive model check of the rotation protocol, made by calling the shipping
//! `rotation::decide` and `rotation::own::next`.

mod config;
mod effects;
mod explore;
mod lens;
mod moves;
mod weaken;
mod world;

use config::{BASE, Config, Scale, Start, Vendor};
use explore::{Verdict, explore};

fn holds(configs: &[Config]) {
    let reports: Vec<_> = configs.iter().map(explore).inspect(|report| println!("{report}")).collect();
    let failed = reports.iter().filter(|report| !matches!(report.verdict, Verdict::Holds)).count();
    assert_eq!(failed, 0, "see above");
}

#[test]
fn established() {
    holds(&[
        Config { name: "named", ..BASE },
        Config {
            name: "named, deep and torn reads, silent vendor, leak, dud",
            deep: true,
            torn: true,
            silent: true,
            leaks: 1,
            duds: 1,
            ..BASE
        },
        Config { name: "named, LastChangedDate stays, leak, dud", labels_date: false, leaks: 1, duds: 1, ..BASE },
        Config { name: "named, pause", pauses: 1, ..BASE },
        Config { name: "unnamed", vendor: Vendor::Unnamed, late_create: false, ..BASE },
        Config { name: "named, ticks of 40 minutes", scale: Scale::Medium, ..BASE },
    ]);
}

#[test]
fn first_version_and_replicas() {
    holds(&[
        Config { name: "first version, named", start: Start::Missing, ..BASE },
        Config { name: "taken over, named", start: Start::Takeover, ..BASE },
        Config { name: "named, 2 replicas", replicas: 2, ..BASE },
    ]);
}
