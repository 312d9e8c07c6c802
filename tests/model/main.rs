//! The exhaustive model check of the rotation protocol. It visits every state that AWS, a vendor,
//! crashing replicas, late calls, stale reads and people can bring about, and in each asks the
//! shipping `rotation::decide`, `rotation::guard` and `rotation::own::next` what they do; so it is
//! a proof about the code, within the bounds of each configuration, and not about a drawing of it.
//!
//! ```text
//! cargo test --test model -- --nocapture                         a line a configuration
//! KEYFERRY_MODEL=full cargo test --test model -- --nocapture     the large ones too (minutes, 4 GB)
//! ```
//!
//! Checked in every state: AWSCURRENT holds a live, working credential (invariant 1); nothing is
//! revoked that a label refers to (2), nor anything that is not ours (16); no more live than may (3);
//! one credential an attempt, none without a claim (6); AWSCURRENT moves only from where the decision
//! saw it (7); no label on a claim or tombstone (8); a lease ends only after its credential (10); no
//! overlap is cut short; `guard` agrees with every decision (2, 6, 7, 8, 13). And at the end (4, 5):
//! from every state, everything still comes to rest without further faults, stale reads or requests.
//!
//! | file | is |
//! |---|---|
//! | `config` | what one run explores |
//! | `world` | the states, in small numbers; `names` has the real ids |
//! | `effects` | what a call does to AWS and to the vendor |
//! | `moves` | what can happen next: `people`, `process` |
//! | `lens` | from a state to a `View`, from a step to a move |
//! | `explore` | the search, and the shortest trace to what is wrong |
//! | `weaken` | rules broken on purpose, each of which must be caught |
//! | `tell` | traces in words |
//!
//! Also: nothing happens while paused (13); evidence is there, or overdue, before a replaced credential
//! ends; a retired one ends after its consumers' time, and nobody who wants it again is left with a
//! dead value; why a leaked rotation was made is not forgotten; nothing lives on in a place that the
//! secret moved away from, though replicas go by both declarations.
//!
//! Not modelled: quotas, the calendar (rotations are asked for at any time), listings
//! that miss an old credential, denied permissions, a secret deleted and made again. One tick stands
//! for settle and everything longer, except where the scale is finer.

mod config;
mod effects;
mod explore;
mod lens;
mod moves;
mod names;
mod people;
mod process;
mod tell;
mod weaken;
mod world;

use config::{BASE, Config, Declared, Evidence, Scale, Start, Vendor};
use explore::{Verdict, explore};
use weaken::Weakening;

const UNNAMED: Config = Config { vendor: Vendor::Unnamed, late_create: false, ..BASE };
const IN_PLACE: Config = Config { vendor: Vendor::InPlace, ..BASE };
const FIRST: Config = Config { start: Start::Missing, rotations: 0, ..BASE };
const EVERYTHING: Config =
    Config { deep: true, torn: true, silent: true, unread: true, leaks: 1, duds: 1, hashed: true, ..BASE };

/// Every configuration holds, and none is cut short.
fn hold(configs: &[Config]) {
    let reports: Vec<_> = configs.iter().map(explore).inspect(|report| println!("{report}")).collect();
    let failed = reports.iter().filter(|report| !matches!(report.verdict, Verdict::Holds)).count();
    assert_eq!(failed, 0, "configurations that do not hold: see above");
}

/// Something is found wrong with each.
fn caught(config: &Config) {
    let report = explore(config);
    match &report.verdict {
        Verdict::Broken { what, .. } => println!("caught: {:<60} {what}", report.name),
        Verdict::Stuck { states, .. } => println!("caught: {:<60} {states} states never come to rest", report.name),
        Verdict::Holds | Verdict::Unfinished => panic!("not caught: {report}"),
    }
}

#[test]
fn a_named_vendor_and_one_replica() {
    hold(&[
        Config { name: "named", ..BASE },
        Config { name: "named, 2 rotations", rotations: 2, ..BASE },
        Config { name: "named, all reads and vendor faults", ..EVERYTHING },
        Config { name: "named, all, LastChangedDate stays", labels_date: false, ..EVERYTHING },
        Config { name: "named, pause", pauses: 1, ..BASE },
        Config { name: "named, AWS forgets versions", prunes: true, ..BASE },
        Config { name: "named, AWS forgets versions, 3 rotations", prunes: true, rotations: 3, tries: 1, ..BASE },
        Config { name: "named, leaked, 3 rotations", rotations: 3, tries: 1, leaks: 1, ..BASE },
    ]);
}

#[test]
fn people_with_their_hands_in_the_secret() {
    let hands = Config { rollbacks: 2, unlabels: 1, overlap_judged: false, ..BASE };
    hold(&[
        Config { name: "named, AWSPREVIOUS taken off by hand", unlabels: 1, ..BASE },
        Config { name: "named, back, forth and off", ..hands },
        Config { name: "named, back, forth and off, LastChangedDate stays", labels_date: false, ..hands },
        Config { name: "unnamed, back, forth and off", vendor: Vendor::Unnamed, late_create: false, ..hands },
        Config { name: "named, a stranger's value", strangers: 1, overlap_judged: false, ..BASE },
        Config { name: "unnamed, a stranger's value", strangers: 1, overlap_judged: false, ..UNNAMED },
        Config { name: "named, taken over", start: Start::Takeover, ..BASE },
        Config { name: "unnamed, taken over", start: Start::Takeover, ..UNNAMED },
    ]);
}

#[test]
fn an_unnamed_vendor_and_one_replica() {
    let everything = Config { vendor: Vendor::Unnamed, late_create: false, ..EVERYTHING };
    hold(&[
        Config { name: "unnamed", ..UNNAMED },
        Config { name: "unnamed, all reads and vendor faults", ..everything },
        Config {
            name: "unnamed, leaked and dud, LastChangedDate stays",
            labels_date: false,
            leaks: 1,
            duds: 1,
            ..UNNAMED
        },
        Config { name: "unnamed, AWS forgets versions", prunes: true, ..UNNAMED },
    ]);
}

#[test]
fn a_first_version() {
    let unnamed = Config { vendor: Vendor::Unnamed, late_create: false, ..FIRST };
    hold(&[
        Config { name: "first version and a rotation, named", rotations: 1, ..FIRST },
        Config { name: "first version, named, dud, LastChangedDate stays", duds: 1, labels_date: false, ..FIRST },
        Config { name: "first version and a rotation, unnamed", rotations: 1, ..unnamed },
        Config { name: "first version, unnamed, 3 tries, dud", tries: 3, duds: 1, ..unnamed },
        Config { name: "first version, named, 2 replicas", replicas: 2, ..FIRST },
        Config { name: "first version, named, 2 replicas, dud", replicas: 2, duds: 1, ..FIRST },
        Config { name: "first version, unnamed, 2 replicas", replicas: 2, ..unnamed },
    ]);
}

#[test]
fn an_in_place_vendor() {
    hold(&[
        Config { name: "in place, torn and deep reads", deep: true, torn: true, ..IN_PLACE },
        Config { name: "in place, LastChangedDate stays, set late", labels_date: false, late_apply: true, ..IN_PLACE },
        Config { name: "in place, taken over", start: Start::Takeover, rollbacks: 0, ..IN_PLACE },
        Config { name: "in place, first version, 2 replicas", replicas: 2, vendor: Vendor::InPlace, ..FIRST },
        Config { name: "in place, 2 replicas, set late", replicas: 2, rollbacks: 0, late_apply: true, ..IN_PLACE },
        Config { name: "in place, ticks of 40 minutes", scale: Scale::Medium, rollbacks: 0, ..IN_PLACE },
    ]);
}

#[test]
fn two_replicas() {
    hold(&[
        Config { name: "named, 2 replicas", replicas: 2, ..BASE },
        Config { name: "named, 2 replicas, LastChangedDate stays", replicas: 2, labels_date: false, ..BASE },
        Config { name: "unnamed, 2 replicas", replicas: 2, ..UNNAMED },
        Config { name: "named, 2 replicas, leaked", replicas: 2, leaks: 1, late_calls: 0, ..BASE },
        Config { name: "named, 2 replicas, taken over", replicas: 2, start: Start::Takeover, ..BASE },
        Config { name: "named, 3 replicas", replicas: 3, rollbacks: 0, late_calls: 0, ..BASE },
    ]);
}

#[test]
fn finer_clocks() {
    let medium = Config { scale: Scale::Medium, ..BASE };
    let fine = Config { scale: Scale::Fine, tries: 1, ..BASE };
    hold(&[
        Config { name: "named, ticks of 40 minutes", ..medium },
        Config { name: "named, ticks of 40 minutes, LastChangedDate stays", labels_date: false, ..medium },
        Config { name: "unnamed, ticks of 40 minutes", scale: Scale::Medium, ..UNNAMED },
        Config { name: "first version, ticks of 40 minutes", scale: Scale::Medium, ..FIRST },
        Config { name: "named, 2 replicas, ticks of 40 minutes", replicas: 2, tries: 1, ..medium },
        Config { name: "named, ticks of 20 minutes", leaks: 1, ..fine },
        Config { name: "named, ticks of 20 minutes, LastChangedDate stays", labels_date: false, ..fine },
        Config { name: "unnamed, ticks of 20 minutes", vendor: Vendor::Unnamed, late_create: false, ..fine },
    ]);
}

#[test]
fn evidence_before_the_end() {
    let days = Config { scale: Scale::Days, rollbacks: 0, late_calls: 0, ..BASE };
    let unused = Config { evidence: Evidence::Unused, ..days };
    let confirmed = Config { evidence: Evidence::Confirmed, ..days };
    hold(&[
        Config { name: "unused, named", ..unused },
        Config { name: "unused, named, leaked, silent", leaks: 1, silent: true, tries: 1, ..unused },
        Config { name: "unused, unnamed", vendor: Vendor::Unnamed, late_create: false, tries: 1, ..unused },
        Config { name: "confirmed, named", rollbacks: 1, ..confirmed },
        Config { name: "confirmed, 2 rotations", rotations: 2, tries: 1, ..confirmed },
        Config {
            name: "confirmed, AWSPREVIOUS taken off by hand, leaked",
            unlabels: 1,
            leaks: 1,
            tries: 1,
            ..confirmed
        },
    ]);
}

#[test]
fn a_retired_credential() {
    let one = Config { rollbacks: 0, declared: Declared::Retired, tries: 1, ..BASE };
    let again = Config { declared: Declared::PresentAgain, ..one };
    hold(&[
        Config { name: "retired, named", ..one },
        Config { name: "retired, unnamed", vendor: Vendor::Unnamed, late_create: false, ..one },
        Config { name: "retired, in place", vendor: Vendor::InPlace, ..one },
        Config { name: "retired, ticks of 40 minutes", scale: Scale::Medium, late_calls: 0, ..one },
        Config { name: "retired, paused, leaked", pauses: 1, leaks: 1, late_calls: 0, ..one },
        Config { name: "retired, 2 replicas", replicas: 2, late_calls: 0, ..one },
        Config { name: "retired, before its first version", start: Start::Missing, rotations: 0, late_calls: 0, ..one },
        Config { name: "retired and wanted again", ..again },
        Config { name: "retired and wanted again, LastChangedDate stays", labels_date: false, ..again },
        Config { name: "retired and wanted again, 2 replicas", replicas: 2, late_calls: 0, ..again },
    ]);
}

#[test]
fn a_move_to_another_place() {
    let two = Config { rollbacks: 0, declared: Declared::Moved, late_create: false, ..BASE };
    let one = Config { tries: 1, ..two };
    let unnamed = Config { vendor: Vendor::Unnamed, ..one };
    hold(&[
        Config { name: "moved, named, 2 tries", ..two },
        Config { name: "moved, unnamed, 2 tries", vendor: Vendor::Unnamed, ..two },
        Config { name: "moved, LastChangedDate stays, 2 tries", labels_date: false, ..two },
        Config { name: "moved, deep and torn reads", deep: true, torn: true, ..one },
        Config { name: "moved, unnamed, dud, silent", duds: 1, silent: true, ..unnamed },
        Config { name: "moved, leaked, paused", leaks: 1, pauses: 1, ..one },
        Config { name: "moved, ticks of 40 minutes", scale: Scale::Medium, ..one },
        Config { name: "moved before its first version", start: Start::Missing, rotations: 0, ..one },
        Config { name: "moved before its first version, unnamed", start: Start::Missing, rotations: 0, ..unnamed },
        Config { name: "moved, 2 replicas", replicas: 2, late_create: true, ..one },
        Config { name: "moved back, 2 rotations", declared: Declared::MovedBack, rotations: 2, ..one },
    ]);
}

#[test]
fn a_leak_that_is_not_forgotten_and_a_pause_at_any_point() {
    let leaked = Config { leaks: 1, rollbacks: 0, ..BASE };
    hold(&[
        Config { name: "named, leaked, crash at each point", ..leaked },
        Config { name: "named, leaked, 2 rotations, dud", rotations: 2, duds: 1, tries: 1, ..leaked },
        Config { name: "unnamed, leaked, crash at each point", vendor: Vendor::Unnamed, late_create: false, ..leaked },
        Config { name: "named, leaked, paused, rolled back", pauses: 1, rollbacks: 1, tries: 1, ..leaked },
        Config { name: "unnamed, pause", pauses: 1, tries: 1, ..UNNAMED },
        Config { name: "in place, pause, leaked", pauses: 1, leaks: 1, tries: 1, ..IN_PLACE },
        Config { name: "first version, pause", pauses: 1, late_calls: 0, ..FIRST },
    ]);
}

/// Larger ones, by request only.
#[test]
fn full() {
    if std::env::var("KEYFERRY_MODEL").as_deref() != Ok("full") {
        println!("skipped: set KEYFERRY_MODEL=full");
        return;
    }
    let large = Config { states_max: 16_000_000, ..BASE };
    let two = Config { replicas: 2, ..large };
    hold(&[
        Config {
            name: "FULL named, all faults, 2 rotations",
            rotations: 2,
            tries: 1,
            states_max: 16_000_000,
            ..EVERYTHING
        },
        Config { name: "FULL named, 2 late calls, leaked, dud", late_calls: 2, leaks: 1, duds: 1, ..large },
        Config {
            name: "FULL unnamed, 2 rotations",
            rotations: 2,
            vendor: Vendor::Unnamed,
            late_create: false,
            ..large
        },
        Config {
            name: "FULL first version, deep and torn reads",
            start: Start::Missing,
            rotations: 0,
            late_calls: 0,
            deep: true,
            torn: true,
            ..large
        },
        Config {
            name: "FULL first version and a rotation, 2 replicas",
            start: Start::Missing,
            rotations: 1,
            tries: 1,
            ..two
        },
        Config {
            name: "FULL named, 2 replicas, dud, deep and torn reads",
            duds: 1,
            deep: true,
            torn: true,
            late_calls: 0,
            ..two
        },
        Config { name: "FULL named, 2 replicas, 2 rotations", rotations: 2, rollbacks: 0, late_calls: 0, ..two },
        Config { name: "FULL named, 2 replicas, leaked", leaks: 1, tries: 1, rotations: 2, ..two },
        Config { name: "FULL unnamed, 2 replicas, dud", duds: 1, vendor: Vendor::Unnamed, late_create: false, ..two },
        Config {
            name: "FULL named, 2 replicas, ticks of 40 minutes",
            scale: Scale::Medium,
            rollbacks: 0,
            late_calls: 0,
            ..two
        },
        Config {
            name: "FULL in place, 2 replicas, ticks of 40 minutes",
            vendor: Vendor::InPlace,
            scale: Scale::Medium,
            rollbacks: 0,
            late_apply: true,
            late_calls: 0,
            ..two
        },
        Config { name: "FULL in place, 2 replicas, rolled back", vendor: Vendor::InPlace, late_apply: true, ..two },
        Config {
            name: "FULL named, 3 replicas, dud, leaked",
            replicas: 3,
            rollbacks: 0,
            late_calls: 0,
            duds: 1,
            leaks: 1,
            tries: 1,
            ..large
        },
        Config { name: "FULL named, 3 replicas", replicas: 3, rollbacks: 1, late_calls: 0, ..large },
        Config { name: "FULL named, a stranger, 2 replicas", strangers: 1, overlap_judged: false, tries: 1, ..two },
        Config {
            name: "FULL named, all hands, 2 replicas",
            rollbacks: 2,
            unlabels: 1,
            overlap_judged: false,
            tries: 1,
            late_calls: 1,
            ..two
        },
        Config { name: "FULL named, leaked, 2 replicas, 2 tries", leaks: 1, ..two },
        Config {
            name: "FULL retired, 2 tries, paused, leaked",
            rollbacks: 0,
            declared: Declared::Retired,
            pauses: 1,
            leaks: 1,
            ..large
        },
        Config {
            name: "FULL retired, ticks of 40 minutes, 2 replicas",
            rollbacks: 0,
            tries: 1,
            declared: Declared::Retired,
            scale: Scale::Medium,
            late_calls: 0,
            ..two
        },
        Config {
            name: "FULL retired and wanted again, 2 replicas, deep and torn reads",
            rollbacks: 0,
            declared: Declared::PresentAgain,
            deep: true,
            torn: true,
            late_calls: 0,
            ..two
        },
        Config {
            name: "FULL moved, 2 replicas, 2 tries",
            rollbacks: 0,
            late_calls: 0,
            late_create: false,
            declared: Declared::Moved,
            ..two
        },
        Config {
            name: "FULL unused, 2 replicas, leaked",
            scale: Scale::Days,
            evidence: Evidence::Unused,
            rollbacks: 0,
            leaks: 1,
            late_calls: 0,
            ..two
        },
        Config {
            name: "FULL confirmed, 2 replicas, rolled back",
            scale: Scale::Days,
            evidence: Evidence::Confirmed,
            late_calls: 0,
            tries: 1,
            ..two
        },
        Config {
            name: "FULL named, leaked, dud, paused, 2 rotations, deep and torn reads",
            leaks: 2,
            duds: 1,
            pauses: 1,
            rollbacks: 0,
            rotations: 2,
            tries: 1,
            deep: true,
            torn: true,
            ..large
        },
    ]);
}

#[test]
fn every_weakened_protocol_is_caught() {
    use Weakening::*;
    let weak = |weak, name| Config { weak: Some(weak), name, ..BASE };
    let unnamed = |weak, name| Config { weak: Some(weak), name, ..UNNAMED };
    let first = |weak, name| Config { weak: Some(weak), name, replicas: 2, ..FIRST };
    let again = Config { declared: Declared::PresentAgain, rollbacks: 0, tries: 1, ..BASE };
    let retired = |weak, name| Config { weak: Some(weak), name, ..again };
    let moving = Config { declared: Declared::Moved, rollbacks: 0, tries: 1, late_create: false, ..BASE };
    let moved = |weak, name| Config { weak: Some(weak), name, ..moving };
    for config in [
        weak(OpenClaimsOfOtherBasesHidden, "claims looked for on the current base only"),
        weak(RevokeBeforePreviousIsOff, "previous revoked before AWSPREVIOUS is off"),
        weak(NoTombstone, "orphan revoked without a tombstone"),
        weak(PromoteFromAnywhere, "promote without compare"),
        weak(NoFence, "late promote not fenced"),
        first(BootstrapNotFenced, "late first put not fenced"),
        Config { rollbacks: 0, ..weak(NoLease, "no kf-cred") },
        weak(LeaseEndsFirst, "kf-cred ends before the revoke"),
        unnamed(OpenEndsFirst, "kf-open ends before the sweep"),
        unnamed(OpenClaimsHidden, "attempts that are open are not seen"),
        Config { replicas: 2, ..weak(NoSettle, "no settle, named") },
        unnamed(NoSettle, "no settle, unnamed"),
        first(BootstrapClaim, "bootstrap claim as a version"),
        weak(TokenOverwrites, "the same token overwrites"),
        Config { duds: 1, ..weak(NoVerify, "promote without verify") },
        weak(OwnRevokesInDoubt, "own credential revoked while its put is in doubt"),
        Config { leaks: 1, ..weak(LeakedRevokesFirst, "what leaked revoked before its successor is current") },
        Config { leaks: 1, rollbacks: 0, ..weak(LeakForgotten, "a leak forgotten when its attempt has failed") },
        Config { scale: Scale::Days, evidence: Evidence::Unused, ..weak(NoEvidence, "in use, and retired") },
        Config { scale: Scale::Days, evidence: Evidence::Confirmed, ..weak(NoEvidence, "unconfirmed, and retired") },
        Config {
            scale: Scale::Days,
            evidence: Evidence::Confirmed,
            ..weak(AnyConfirmed, "another version's confirmation counts")
        },
        Config { scale: Scale::Medium, ..retired(RetiredAtOnce, "a retired one ends before the overlap") },
        Config { pauses: 1, ..retired(PauseIgnored, "a retired one ends although paused") },
        retired(EndingNotWritten, "the end of the current one is not written down first"),
        retired(MarksNotFenced, "a late retiring tag is not fenced"),
        Config { replicas: 2, ..retired(EndingNotSettled, "... and not everybody must have seen it") },
        moved(MarksNotFenced, "a late move or arrival is not fenced"),
        moved(MovesAtOnce, "two moves right after each other"),
        moved(DwellingForgotten, "a move that does not say where from"),
        moved(ArrivesEarly, "the former place forgotten before it is empty"),
        weak(StaleForEver, "a view older than settle, or a date read after it"),
    ] {
        caught(&config);
    }
}

/// What the protocol does not promise, each shown to be real.
#[test]
fn known_residuals_are_real() {
    for config in [
        Config {
            name: "overlap: counted from the claim when a person moves AWSCURRENT back and forth",
            rollbacks: 2,
            ..BASE
        },
        Config {
            name: "overlap: keyferry:base written without a date while LastChangedDate stays",
            labels_date: false,
            undated: true,
            ..BASE
        },
        Config {
            name: "unnamed: a create sent by a process that slept past its sweep is foreign",
            late_create: true,
            replicas: 2,
            ..UNNAMED
        },
        Config {
            name: "in place: a stranger's value that was accepted is not set at the vendor",
            strangers: 1,
            overlap_judged: false,
            ..IN_PLACE
        },
    ] {
        caught(&config);
    }
}

/// The views that the check builds itself, because it is faster, are those that the engine gets.
#[test]
fn views_are_built_as_the_engine_builds_them() {
    for config in [
        Config { name: "", rotations: 2, prunes: true, ..BASE },
        Config { name: "", strangers: 1, overlap_judged: false, ..UNNAMED },
        Config { name: "", rotations: 1, ..FIRST },
    ] {
        let compared = explore::compare_views(&config, 30_000);
        assert!(compared > 20, "{compared} views compared");
    }
}
