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
#[test]
fn weakened() {
    const U: Config = Config { vendor: Vendor::Unnamed, late_create: false, ..BASE };
    use weaken::Weakening::*;
    for config in [
        Config { name: "NoSettle", weak: Some(NoSettle), replicas: 2, ..BASE },
        Config { name: "NoSettle U", weak: Some(NoSettle), ..U },
        Config { name: "NoSettle U2", weak: Some(NoSettle), replicas: 2, ..U },
        Config { name: "PromoteFromAnywhere", weak: Some(PromoteFromAnywhere), replicas: 1, ..BASE },
        Config { name: "NoFence", weak: Some(NoFence), replicas: 2, ..BASE },
        Config { name: "NoFence boot", weak: Some(NoFence), replicas: 2, rotations: 0, start: Start::Missing, ..BASE },
        Config { name: "RevokeBeforePreviousIsOff", weak: Some(RevokeBeforePreviousIsOff), ..BASE },
        Config { name: "NoVerify", weak: Some(NoVerify), duds: 1, ..BASE },
        Config { name: "LeaseEndsFirst", weak: Some(LeaseEndsFirst), ..BASE },
        Config { name: "TokenOverwrites", weak: Some(TokenOverwrites), replicas: 2, ..BASE },
        Config { name: "OpenClaimsHidden", weak: Some(OpenClaimsHidden), replicas: 2, ..U },
        Config { name: "OpenClaimsOfOtherBasesHidden", weak: Some(OpenClaimsOfOtherBasesHidden), deep: true, ..BASE },
        Config { name: "OpenClaimsOfOtherBasesHidden U", weak: Some(OpenClaimsOfOtherBasesHidden), deep: true, ..U },
        Config { name: "NoTombstone", weak: Some(NoTombstone), replicas: 2, ..BASE },
        Config { name: "NoTombstone1", weak: Some(NoTombstone), replicas: 1, ..BASE },
        Config { name: "NoLease", weak: Some(NoLease), ..BASE },
        Config { name: "OwnRevokesInDoubt", weak: Some(OwnRevokesInDoubt), ..BASE },
        Config { name: "StaleForEver", weak: Some(StaleForEver), ..BASE },
        Config { name: "StaleForEver U", weak: Some(StaleForEver), ..U },
        Config { name: "RetiredByOthers", weak: Some(RetiredByOthers), leaks: 1, replicas: 2, ..BASE },
        Config {
            name: "BootstrapNotFenced",
            weak: Some(BootstrapNotFenced),
            rotations: 0,
            replicas: 2,
            start: Start::Missing,
            ..BASE
        },
        Config { name: "BootstrapClaim", weak: Some(BootstrapClaim), rotations: 0, start: Start::Missing, ..BASE },
    ] {
        println!("{}", explore(&config));
    }
}
