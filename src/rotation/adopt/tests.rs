//! What may be adopted and what is refused, told by what differs from a secret that somebody else
//! filled ten days ago with the one credential that the vendor lists.

use super::*;
use crate::model::attempt::{Cause, Mark};
use crate::model::observed::Obstacle;
use crate::model::policy::{Rotate, Takeover};
use crate::rotation::decide::TagChange;
use crate::rotation::story::*;
use crate::rotation::view::{Bootstrap, Retiring};
use crate::rotation::{Step, decide};

struct Situation {
    told: Told,
    listing: Listing,
    holder: Option<Holder>,
}

fn listed(which: &str, minutes: u64) -> Listed {
    Listed { id: id(which), mark: Some("terraform".into()), created: ago(minutes), last_used: None, fits: true }
}

fn theirs(told: Told) -> Situation {
    let told = told.with(|told| {
        let secret = told.secret();
        (secret.owner, secret.place) = (Owner::Nobody, None);
        (secret.versions[0].role, secret.versions[0].labels) = (Role::Other, vec![Label::Current]);
    });
    Situation { told, listing: Listing { at: NOW, credentials: vec![listed("old", 10 * DAY)] }, holder: None }
}

impl Situation {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn secret(mut self, change: impl FnOnce(&mut Secret)) -> Self {
        change(self.told.secret());
        self
    }

    fn look(&self) -> Result<Look, Refused> {
        let found =
            Found { secret: self.told.view.secret.as_ref(), listing: &self.listing, holder: self.holder.clone() };
        candidate(&found, &self.told.policy, &id("old"), Now { store: NOW, vendor: Some(NOW) })
    }

    fn may(&self) -> Candidate {
        match self.look() {
            Ok(Look::May(candidate)) => candidate,
            other => panic!("{other:?}"),
        }
    }
}

fn lease(which: &str) -> Label {
    Label::Cred(Lease { since: ago(10 * DAY), tracked: tracked(which), made_in: None })
}

const GOOD: Proof = Proof { shape: Shape::Same, tie: Tie::This, login: Login::Good };

fn word(write: &Write) -> String {
    match write {
        Write::Unproved { .. } => "unproved".into(),
        Write::Lease { lease, .. } => format!("lease {} of {}", lease.tracked, lease.since),
        Write::Own { base: None } => "own".into(),
        Write::Own { base: Some(_) } => "own and accept".into(),
    }
}

fn planned(situation: &Situation, proof: &Proof, allowed: Allowed) -> Vec<String> {
    let candidate = situation.may();
    let judged = judge(&candidate, proof, allowed).unwrap_or_else(|refused| panic!("{refused}"));
    writes(&candidate, &judged).iter().map(word).collect()
}

#[test]
fn what_stands_in_the_way_is_told_before_the_value_is_read() {
    let fine = || theirs(healthy());
    let parked = |reason| Err(Refused::Parked(reason));
    let other = |labels: Vec<Label>| {
        let version = crate::model::name::VersionId::new(&"f".repeat(32)).unwrap();
        Version { id: version, role: Role::Other, labels, created: ago(20 * DAY) }
    };
    let current = first().slot_id();
    let obstacle = |obstacle: Obstacle| fine().secret(|secret| secret.obstacle = Some(obstacle));
    let marked = |mark: String| fine().with(|one| one.listing.credentials[0].mark = Some(mark));
    let rows: Vec<(&str, Situation, Result<(), Refused>)> = vec![
        ("nothing", fine(), Ok(())),
        ("no secret", fine().with(|one| one.told.view.secret = None), Err(Refused::NoSecret)),
        (
            "another's",
            fine().secret(|secret| {
                secret.owner = Owner::Other { deployment: "x".into(), credential: "y".into() };
            }),
            Err(Refused::OthersSecret { deployment: "x".into(), credential: "y".into() }),
        ),
        ("deletion", obstacle(Obstacle::ScheduledForDeletion(NOW)), parked(Reason::ScheduledForDeletion)),
        ("native rotation", obstacle(Obstacle::NativeRotation), parked(Reason::NativeRotation)),
        ("a service's", obstacle(Obstacle::ManagedBy("x".into())), parked(Reason::ManagedElsewhere)),
        ("a partner's", obstacle(Obstacle::PartnerType("x".into())), parked(Reason::ManagedElsewhere)),
        ("a replica", obstacle(Obstacle::Replica { primary: "x".into() }), parked(Reason::ReplicaRegion)),
        (
            "paused",
            fine().secret(|secret| secret.paused_until = Some(crate::rotation::view::FOR_EVER)),
            parked(Reason::Paused),
        ),
        ("a pause that is over", fine().secret(|secret| secret.paused_until = Some(ago(1))), Ok(())),
        ("declared retired", fine().with(|one| one.told.policy.wanted = Wanted::Retired), Err(Refused::Retired)),
        (
            "retired a moment ago",
            fine().secret(|secret| secret.retiring = Some(Retiring { since: NOW, ending: None })),
            Err(Refused::Retired),
        ),
        (
            "tracked elsewhere",
            fine().secret(|secret| {
                (secret.owner, secret.place) = (Owner::Us, Some("old".into()));
                secret.versions.push(other(vec![lease("older")]));
            }),
            parked(Reason::OtherPlace),
        ),
        ("nothing current", fine().secret(|secret| secret.versions[0].labels.clear()), Err(Refused::NothingCurrent)),
        ("a tombstone", fine().secret(|secret| secret.versions[0].labels.push(Label::Closed)), Err(Refused::Note)),
        (
            "a claim under way",
            theirs(healthy()).with(|one| one.told = one.told.clone().claimed(1, 5)),
            Err(Refused::UnderWay),
        ),
        (
            "a first try",
            fine().secret(|secret| {
                secret.bootstrap = Some(Bootstrap { number: 1, nonce: "x".into(), at: ago(1), before: Vec::new() });
            }),
            Err(Refused::UnderWay),
        ),
        (
            "a stranger pending",
            fine().secret(|secret| secret.versions.push(other(vec![Label::Pending]))),
            parked(Reason::ForeignPending),
        ),
        (
            "its own label of Secrets Manager's rotation",
            fine().secret(|secret| secret.versions[0].labels.push(Label::Pending)),
            Ok(()),
        ),
        ("a foreign label", fine().secret(|secret| secret.versions[0].labels.push(Label::parse("blue"))), Ok(())),
        (
            "tracked as another",
            fine().secret(|secret| secret.versions[0].labels.push(lease("other"))),
            Err(Refused::TrackedAs { version: current.clone(), lease: lease("other"), ours: false }),
        ),
        (
            "tracked by an older version",
            fine().secret(|secret| secret.versions.push(other(vec![lease("old")]))),
            Err(Refused::TrackedBy { version: other(Vec::new()).id }),
        ),
        (
            "tracked by another secret",
            fine().with(|one| {
                let secret = SecretName::new("x").unwrap();
                one.holder = Some(Holder { secret, credential: None });
            }),
            Err(Refused::Held(Holder { secret: SecretName::new("x").unwrap(), credential: None })),
        ),
        (
            "unknown to the vendor",
            fine().with(|one| one.listing.credentials = vec![listed("new", 5)]),
            Err(Refused::NotListed { there: 1, in_place: false }),
        ),
        ("not as declared", fine().with(|one| one.listing.credentials[0].fits = false), Err(Refused::Differs)),
        ("another keyferry's", marked("kf-0123456789ab-x".into()), Err(Refused::Marked)),
        ("this secret's own mark", marked(Mark::new(&arn(), attempt(1)).as_str().into()), Ok(())),
        (
            "younger than the value",
            fine().with(|one| one.listing.credentials = vec![listed("old", 9 * DAY)]),
            Err(Refused::MadeAfter { made: ago(9 * DAY), stored: ago(10 * DAY) }),
        ),
        (
            "younger by the vendor's clock alone",
            fine().with(|one| {
                one.listing.at = NOW.plus(std::time::Duration::from_secs(86_400));
                one.listing.credentials = vec![listed("old", 9 * DAY)];
            }),
            Ok(()),
        ),
    ];
    for (what, situation, expected) in rows {
        let said = situation.look().map(|look| assert!(matches!(look, Look::May(_)), "{what}: {look:?}"));
        assert_eq!(said, expected, "{what}");
        if let Err(refused) = said {
            let hint = refused.hint().expect("every refusal says what to do");
            assert!(!refused.to_string().is_empty() && !hint.ends_with('.'), "{what}");
        }
    }
}

#[test]
fn only_a_login_with_what_names_the_credential_proves_it_and_a_refused_one_never_passes() {
    let alone = theirs(healthy()).may();
    let among = theirs(healthy()).with(|one| one.listing.credentials.push(listed("else", 5))).may();
    let young = theirs(healthy()).secret(|secret| secret.versions[0].created = ago(5));
    let young = young.with(|one| one.listing.credentials = vec![listed("old", 6)]).may();
    let ended = theirs(healthy())
        .secret(|secret| {
            (secret.owner, secret.versions[0].role) = (Owner::Us, healthy().secret().versions[0].role.clone())
        })
        .may();
    let proof = |shape, tie, login: Login| Proof { shape, tie, login };
    let untold = || Login::CannotTell { answer: "no domain".into() };
    let refused = || Login::Bad { answer: "invalid_client".into() };
    let (no, yes) = (Allowed::default(), Allowed { unproved: true, shape_change: true });
    let unproved = |judged: Result<Judged, Refused>| judged.map(|judged| judged.unproved.len());
    for allowed in [no, yes] {
        assert_eq!(unproved(judge(&alone, &GOOD, allowed)), Ok(0));
        let word = |candidate: &Candidate, tie, login| match judge(candidate, &proof(Shape::Same, tie, login), allowed)
        {
            Ok(judged) => format!("unproved {}", judged.unproved.len()),
            Err(Refused::Unproved { why }) => format!("asks {}", why.len()),
            Err(Refused::LoginRefused { .. }) => "refused".into(),
            Err(Refused::NamesAnother) => "another".into(),
            Err(Refused::Ended { .. }) => "ended".into(),
            Err(other) => panic!("{other}"),
        };
        let asks = |count: usize| if allowed == yes { format!("unproved {count}") } else { format!("asks {count}") };
        assert_eq!(word(&alone, Tie::Untold, Login::Good), "unproved 0", "it can be nobody else's");
        assert_eq!(word(&among, Tie::This, Login::Good), "unproved 0");
        assert_eq!(word(&among, Tie::Untold, Login::Good), asks(1));
        assert_eq!(word(&young, Tie::Untold, Login::Good), asks(1));
        assert_eq!(word(&among, Tie::Untold, untold()), asks(2));
        assert_eq!(word(&alone, Tie::This, untold()), asks(1));
        for candidate in [&alone, &among, &young, &ended] {
            assert_eq!(word(candidate, Tie::This, refused()), "refused");
            assert_eq!(word(candidate, Tie::Another, Login::Good), "another");
        }
        assert_eq!(word(&ended, Tie::This, untold()), "ended", "a person's word can't raise the dead");
        assert_eq!(word(&ended, Tie::This, Login::Good), "unproved 0");
    }
    for (shape, wider) in [(Shape::Wider, true), (Shape::Another, false)] {
        let proof = proof(shape, Tie::This, Login::Good);
        assert_eq!(judge(&alone, &proof, no), Err(Refused::Shape { wider }));
        let judged = judge(&alone, &proof, Allowed { shape_change: true, ..no });
        assert_eq!(judged, Ok(Judged { unproved: Vec::new(), reshaped: true }));
    }
}

#[test]
fn only_what_is_missing_is_written_and_the_label_before_the_tags() {
    let word = Allowed { unproved: true, shape_change: false };
    let untold = Proof { login: Login::CannotTell { answer: "x".into() }, ..GOOD };
    let label = format!("lease old of {}", ago(10 * DAY));
    assert_eq!(planned(&theirs(healthy()), &GOOD, word), [label.as_str(), "own"]);
    assert_eq!(planned(&theirs(healthy()), &untold, word), ["unproved", label.as_str(), "own"]);
    let labelled = theirs(healthy()).secret(|secret| secret.versions[0].labels.push(lease("old")));
    assert_eq!(planned(&labelled, &GOOD, word), ["own"], "cut after the label");
    let tagged = theirs(healthy()).secret(|secret| (secret.owner, secret.place) = (Owner::Us, Some(String::new())));
    assert_eq!(planned(&tagged, &GOOD, word), [label.as_str()], "written by hand into a secret of ours");
    let both = labelled.secret(|secret| (secret.owner, secret.place) = (Owner::Us, Some(String::new())));
    assert!(matches!(both.look(), Ok(Look::Already(_))));
    let in_place = theirs(in_place()).with(|one| one.listing.credentials[0].created = ago(5));
    assert_eq!(planned(&in_place, &untold, word), ["unproved", "own and accept"], "its date says nothing of the value");
    let old =
        theirs(healthy()).with(|one| one.listing.credentials[0].created = NOW.plus(std::time::Duration::from_secs(9)));
    let old = old.secret(|secret| secret.versions[0].created = NOW);
    assert_eq!(old.may().since, NOW, "a vendor's clock that is ahead makes nothing younger than now");
}

#[test]
fn once_adopted_it_is_like_any_other() {
    let word = Allowed { unproved: true, shape_change: false };
    let untold = Proof { login: Login::CannotTell { answer: "x".into() }, ..GOOD };
    for told in [healthy(), unnamed(), in_place()] {
        let marking = told.policy.capabilities.marking;
        let situation = theirs(told)
            .with(|one| one.told.policy.rotate = Rotate::Every(std::time::Duration::from_secs(20 * 86_400)));
        let candidate = situation.may();
        let judged = judge(&candidate, &untold, word).unwrap();
        let written = writes(&candidate, &judged);
        let now = |store| Now { store, vendor: Some(store) };
        let after = |written: &[Write]| after(&situation.told.view, written, &situation.told.policy, NOW);
        let adopted = after(&written);
        let decision = decide(&adopted, &situation.told.policy, now(NOW));
        assert_eq!((decision.step(), decision.reason()), (None, Reason::Healthy), "{marking:?}");
        assert_eq!(decision.until(), Some(ago(10 * DAY).plus(std::time::Duration::from_secs(20 * 86_400))));
        let due = now(NOW.plus(std::time::Duration::from_secs(11 * 86_400)));
        assert!(matches!(
            decide(&found_at(adopted.clone(), due.store), &situation.told.policy, due).step(),
            Some(Step::Claim { cause: Cause::Due, .. })
        ));
        // Cut after any write but the last, nothing is done; not even where it is due.
        for count in 0..written.len() {
            let cut = after(&written[..count]);
            let cut = found_at(cut, due.store);
            let decision = decide(&cut, &situation.told.policy, due);
            assert_eq!((decision.step(), decision.reason()), (None, Reason::NotOurs), "{marking:?} {count}");
            let mut takes_over = situation.told.policy.clone();
            takes_over.takeover = Takeover::Rotate;
            let decision = decide(&cut, &takes_over, due);
            let takes = Some(&Step::Tag(TagChange::TakeOver));
            assert_eq!(decision.step(), takes, "{marking:?} {count}: the declaration lets it");
        }
    }
}
