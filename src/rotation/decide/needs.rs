//! Which fact has to be known before a decision may be acted on, or rested on. Facts are dear: a
//! listing is one or more calls at a vendor. So the rules go as far as they can without one, and what
//! stands here is asked for only where it can change what they say.

use crate::model::attempt::Cause;
use crate::model::capability::Marking;
use crate::model::label::{Label, Tracked};
use crate::model::policy::{Ownership, Policy, Verify, Wanted};
use crate::model::time::Now;
use crate::rotation::decide::{Decision, Step, TagChange, compare, leak_asked};
use crate::rotation::facts::Fact;
use crate::rotation::view::{Hand, Secret, View};
use crate::rotation::{Reason, Turn};

/// The fact that is missing; `None` when the decision stands.
pub(super) fn missing(view: &View, policy: &Policy, decision: &Decision, now: Now) -> Option<Fact> {
    let wants = Wants { view, policy, decision, now };
    let needed = [
        (Fact::Listing, wants.listing()),
        (Fact::Company, wants.company()),
        (Fact::Proof, wants.proof()),
        (Fact::Followers, wants.followers()),
        (Fact::Sources, wants.sources()),
    ];
    needed.into_iter().find(|(fact, needed)| *needed && view.facts.is_open(*fact)).map(|(fact, _)| fact)
}

struct Wants<'a> {
    view: &'a View,
    policy: &'a Policy,
    decision: &'a Decision,
    now: Now,
}

impl Wants<'_> {
    /// Whether it is a wait that ends by itself: nothing parks the secret, and nobody has to decide.
    fn rests(&self) -> bool {
        let by_itself = matches!(self.decision.reason().turn(), Turn::Nobody | Turn::Keyferry);
        matches!(self.decision, Decision::Wait { .. }) && by_itself
    }

    fn listing(&self) -> bool {
        if matches!(self.view.hand, Hand::Unknown { .. } | Hand::Ended { .. }) {
            // Only a listing shows that what was ended is gone.
            return true;
        }
        if !self.rests() {
            return self.candidate_in_the_record();
        }
        let in_place = self.policy.capabilities.marking == Marking::InPlace;
        in_place
            || self.decision.reason() == Reason::VendorSilent
            || compare::is_due(self.view, self.policy, self.now)
            || self.view.secret.as_ref().is_some_and(asks)
    }

    /// In place: whether consumers may be reading a value that the vendor does not hold any more,
    /// while somebody keeps the candidate from being published.
    fn candidate_in_the_record(&self) -> bool {
        let in_place = self.policy.capabilities.marking == Marking::InPlace;
        let waits = matches!(self.decision, Decision::Wait { .. });
        in_place && waits && self.view.secret.as_ref().is_some_and(|secret| secret.candidate().is_some())
    }

    /// Who else is made there matters where leftovers are told by elimination; never to the claim for a
    /// value that leaked, which is replaced in any company.
    fn company(&self) -> bool {
        let told_apart =
            self.policy.capabilities.marking == Marking::Unnamed && self.policy.ownership == Ownership::Exclusive;
        let listed = self.rests() && self.view.listing().is_some();
        told_apart && (listed || self.begins() && !leak_asked(self.view, self.policy, self.now))
    }

    /// What nobody could prove is not made in the first place.
    fn proof(&self) -> bool {
        self.policy.verify == Verify::Required && self.begins()
    }

    fn begins(&self) -> bool {
        matches!(
            self.decision.step(),
            Some(Step::CreateSecret { .. } | Step::Tag(TagChange::Attempt { .. }) | Step::Claim { .. })
        )
    }

    /// Before the previous credential ends in the ordinary way.
    fn followers(&self) -> bool {
        self.retires() && matches!(self.decision.reason(), Reason::OverlapOver | Reason::EvidenceOverdue)
    }

    fn retires(&self) -> bool {
        matches!(self.decision.step(), Some(Step::Detach { label: Label::Previous, .. }))
    }

    fn sources(&self) -> bool {
        let stored = |secret: &Secret| secret.with(&Label::Current).is_some_and(|current| current.slot().is_some());
        let idle = self.rests() || self.retires();
        let leaks = self.view.request == Some(Cause::Leaked);
        self.policy.wanted == Wanted::Present && idle && !leaks && self.view.secret.as_ref().is_some_and(stored)
    }
}

/// Whether something of the secret can only be ended, or tidied up, by what the vendor lists.
fn asks(secret: &Secret) -> bool {
    let labels = || secret.versions.iter().flat_map(|version| &version.labels);
    let opened = labels().any(|label| match label {
        Label::Open(_) => true,
        Label::Cred(lease) => matches!(lease.tracked, Tracked::Hashed(_)),
        Label::Current | Label::Previous | Label::Pending | Label::Closed | Label::Foreign(_) => false,
    });
    opened || secret.bootstrap.is_some() || secret.formers().next().is_some()
}
