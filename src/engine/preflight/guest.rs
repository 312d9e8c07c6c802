//! The throw-away credential: made at the place of a declared one, with a mark of the scratch
//! secret, so that it is told from everything else there and found again after a kill.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use uuid::Uuid;

use super::Refusal;
use crate::engine::place;
use crate::model::attempt::{Attempt, Mark, mark_prefix};
use crate::model::capability::{Marking, Proof};
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::finding::{Finding, Sight, Statement};
use crate::model::name::{Arn, VendorId};
use crate::model::observed::Listing;
use crate::model::payload::Outputs;
use crate::model::secret::SecretValue;
use crate::model::time::Clock;
use crate::stores::aws::preflight::{Bench, finding, not_reached};
use crate::vendors::{Ended, Grounds, Minted, Vendor, Verdict};

/// How long a vendor may take to show, accept or end a credential. The protocol gives a candidate
/// up when it is refused for two minutes.
const LAG_MAX: Duration = Duration::from_secs(120);
const LAG_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
const VENDOR: &str = "the vendor's contract";
const TELL: &str = "do not let keyferry rotate credentials of this vendor, and tell its makers";

/// What is tried at a vendor, in this order.
pub(super) const STATEMENTS: [Statement; 8] = [CREATED, LISTED, ACCEPTED, WRONG, REVOKED, DEAD, TWICE, UNLISTED];

const CREATED: Statement = Statement {
    name: "vendor-create",
    words: "a credential can be created with a mark of ours",
    section: VENDOR,
    because: "the mark tells what is ours from what is not, after any crash",
    otherwise: TELL,
};
const LISTED: Statement = Statement {
    name: "vendor-listed",
    words: "a new credential is listed with its mark within two minutes",
    section: VENDOR,
    because: "a credential whose secret was lost is found by its mark and revoked",
    otherwise: "leftovers of a crash may stay alive: do not let keyferry rotate credentials of this vendor, and tell its \
                makers",
};
const ACCEPTED: Statement = Statement {
    name: "vendor-login",
    words: "a new credential is accepted within two minutes",
    section: VENDOR,
    because: "a value is published only after a login with it, and given up when it is refused for so long",
    otherwise: "rotations would be given up before they are done: tell keyferry's makers how long it takes",
};
const WRONG: Statement = Statement {
    name: "vendor-wrong-secret",
    words: "a login with a wrong secret is refused as a bad credential",
    section: VENDOR,
    because: "otherwise the login before publishing proves nothing",
    otherwise: "an unusable value may be published: do not let keyferry rotate credentials of this vendor, and tell its \
                makers",
};
const REVOKED: Statement = Statement {
    name: "vendor-revoke",
    words: "a credential can be revoked",
    section: VENDOR,
    because: "what is replaced must end",
    otherwise: TELL,
};
const DEAD: Statement = Statement {
    name: "vendor-dead",
    words: "a revoked credential is refused within two minutes",
    section: VENDOR,
    because: "after a leak, the time to safe counts until then",
    otherwise: "after `rotate --leaked` the old value works for longer than keyferry says; tell its makers how long",
};
const TWICE: Statement = Statement {
    name: "vendor-revoke-twice",
    words: "revoking what was revoked is answered as gone",
    section: VENDOR,
    because: "a revocation whose answer was lost is sent again",
    otherwise: "a revocation may count as confirmed that was not needed any more, which does no harm; tell keyferry's \
                makers",
};
const UNLISTED: Statement = Statement {
    name: "vendor-unlisted",
    words: "a revoked credential is not listed any more after two minutes",
    section: VENDOR,
    because: "an answer *gone* counts as a confirmation only once it is absent from a listing",
    otherwise: "the end of a lease waits longer; tell keyferry's makers how long",
};

/// The way to the vendor.
pub(super) struct Guest<'a> {
    bench: &'a Bench,
    clock: &'a Arc<dyn Clock>,
    vendor: &'a Arc<dyn Vendor>,
    credential: &'a Credential,
    proof: Proof,
    calls: AtomicU64,
    /// Whether something may be alive there: from before the create is sent until its end is
    /// confirmed.
    alive: AtomicBool,
    /// What was made, once its id is known.
    made: OnceLock<VendorId>,
}

impl<'a> Guest<'a> {
    pub(super) fn new(
        bench: &'a Bench,
        clock: &'a Arc<dyn Clock>,
        vendor: &'a Arc<dyn Vendor>,
        credential: &'a Credential,
    ) -> Result<Self, Refusal> {
        let can = credential.policy.capabilities;
        if can.marking != Marking::Named {
            return Err(Refusal::Asked {
                why: format!(
                    "`{}` is at a vendor that keeps no mark of ours, so a throw-away credential could not be found again \
                     after a kill",
                    credential.name
                ),
                hint: "nothing was done; leave --credential out, and try that vendor by hand".into(),
            });
        }
        Ok(Self {
            bench,
            clock,
            vendor,
            credential,
            proof: can.proof,
            calls: AtomicU64::new(0),
            alive: AtomicBool::new(false),
            made: OnceLock::new(),
        })
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Tries every statement; those that stand on one that failed are not reached.
    pub(super) async fn trials(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(minted) = self.told(&mut findings, CREATED, self.create()).await {
            let known = &minted.id;
            self.told(&mut findings, LISTED, self.listed(known)).await;
            self.told(&mut findings, ACCEPTED, self.accepted(&minted.outputs)).await;
            self.told(&mut findings, WRONG, self.wrong(&minted.outputs)).await;
            if self.told(&mut findings, REVOKED, self.revoked(known)).await.is_some() {
                self.told(&mut findings, DEAD, self.dead(&minted.outputs)).await;
                self.told(&mut findings, TWICE, self.twice(known)).await;
                self.told(&mut findings, UNLISTED, self.unlisted(known)).await;
            }
        }
        for statement in &STATEMENTS[findings.len()..] {
            let late = not_reached(*statement, "what it stands on could not be done");
            self.bench.witness().found(&late);
            findings.push(late);
        }
        findings
    }

    async fn told<T>(
        &self,
        findings: &mut Vec<Finding>,
        statement: Statement,
        trial: impl Future<Output = Result<(Sight, T), Fault>>,
    ) -> Option<T> {
        self.bench.witness().begins(statement.words);
        let (result, more) = match trial.await {
            Ok((sight, more)) => (Ok(sight), Some(more)),
            Err(fault) => (Err(fault), None),
        };
        let told = finding(statement, result);
        self.bench.witness().found(&told);
        findings.push(told);
        more
    }

    /// Asked before every call at the vendor.
    async fn leave(&self) -> Result<(), Fault> {
        self.bench.leave().await?;
        self.calls.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn arn(&self) -> Result<&Arn, Fault> {
        self.bench.arn().ok_or_else(|| Fault::new(Class::Gone, "trying the vendor", "there is no scratch secret"))
    }

    async fn list(&self) -> Result<Listing, Fault> {
        self.leave().await?;
        self.vendor.list(place(self.credential)).await
    }

    async fn verify(&self, outputs: &Outputs) -> Result<Verdict, Fault> {
        self.leave().await?;
        self.vendor.verify(place(self.credential), outputs).await
    }

    async fn create(&self) -> Result<(Sight, Minted), Fault> {
        let arn = self.arn()?;
        let live = self.list().await?.credentials.len();
        let most = self.credential.policy.capabilities.live_max.map(|most| usize::from(most.get()));
        if most.is_some_and(|most| live >= most) {
            let answer = format!("{live} credentials live there, and more are not allowed");
            return Err(Fault::new(Class::Rejected, "making a throw-away credential", answer)
                .with_hint("revoke what nobody needs there"));
        }
        self.bench.note_credential(self.credential.name.as_str()).await?;
        self.leave().await?;
        let mark = Mark::new(arn, Attempt::derive(arn, &None, 1));
        let began = self.clock.monotonic();
        self.alive.store(true, Ordering::SeqCst);
        let minted = self.vendor.create(place(self.credential), &mark).await;
        if minted.as_ref().is_err_and(Fault::surely_not_applied) {
            self.alive.store(false, Ordering::SeqCst);
        }
        let minted = minted?;
        self.made.get_or_init(|| minted.id.clone());
        Ok((Sight::held(format!("made, with the mark {}, in {} ms", mark.as_str(), self.since(began))), minted))
    }

    async fn listed(&self, id: &VendorId) -> Result<(Sight, ()), Fault> {
        let prefix = mark_prefix(self.arn()?);
        let began = self.clock.monotonic();
        let mut wait = LAG_PAUSE.0;
        loop {
            let listing = self.list().await?;
            if let Some(one) = listing.credentials.iter().find(|one| one.id == *id) {
                let marked = one.mark.as_ref().is_some_and(|mark| mark.starts_with(&prefix));
                let seen = match marked {
                    true => format!("listed with its mark after {} ms", self.since(began)),
                    false => "listed, but without its mark".into(),
                };
                return Ok((Sight::of(marked, seen), ()));
            }
            if !self.wait(began, &mut wait).await? {
                return Ok((Sight::not_held(format!("not listed within {} s", LAG_MAX.as_secs())), ()));
            }
        }
    }

    async fn accepted(&self, outputs: &Outputs) -> Result<(Sight, ()), Fault> {
        if self.proof == Proof::Impossible {
            return Ok((Sight::untried("this vendor offers no login"), ()));
        }
        let began = self.clock.monotonic();
        let mut wait = LAG_PAUSE.0;
        loop {
            let answer = match self.verify(outputs).await? {
                Verdict::Good => {
                    return Ok((Sight::held(format!("accepted after {} ms", self.since(began))), ()));
                }
                Verdict::CannotTell { answer } => return Ok((Sight::untried(answer), ())),
                Verdict::Bad { answer } => answer,
            };
            if !self.wait(began, &mut wait).await? {
                return Ok((Sight::not_held(format!("refused ({answer}) for {} s", LAG_MAX.as_secs())), ()));
            }
        }
    }

    async fn wrong(&self, outputs: &Outputs) -> Result<(Sight, ()), Fault> {
        if self.proof == Proof::Impossible {
            return Ok((Sight::untried("this vendor offers no login"), ()));
        }
        let wrong = SecretValue::new(format!("not-the-secret-{}", Uuid::new_v4()));
        let sight = match self.verify(&outputs.with_secrets(&wrong)).await? {
            Verdict::Bad { answer } => Sight::held(format!("a wrong secret was refused ({answer})")),
            Verdict::Good => Sight::not_held("a wrong secret was accepted"),
            Verdict::CannotTell { answer } => Sight::untried(answer),
        };
        Ok((sight, ()))
    }

    async fn revoked(&self, id: &VendorId) -> Result<(Sight, ()), Fault> {
        self.leave().await?;
        let began = self.clock.monotonic();
        let ended = self.vendor.revoke(place(self.credential), id, Grounds::Tracked).await?;
        if ended != Ended::Confirmed {
            let answer = "the vendor does not know what it just made";
            return Err(Fault::new(Class::Gone, "revoking the throw-away credential", answer));
        }
        self.alive.store(false, Ordering::SeqCst);
        Ok((Sight::held(format!("confirmed in {} ms", self.since(began))), ()))
    }

    async fn dead(&self, outputs: &Outputs) -> Result<(Sight, ()), Fault> {
        if self.proof == Proof::Impossible {
            return Ok((Sight::untried("this vendor offers no login"), ()));
        }
        let began = self.clock.monotonic();
        let mut wait = LAG_PAUSE.0;
        while self.verify(outputs).await? == Verdict::Good {
            if !self.wait(began, &mut wait).await? {
                return Ok((Sight::not_held(format!("still accepted after {} s", LAG_MAX.as_secs())), ()));
            }
        }
        Ok((Sight::held(format!("refused after {} ms", self.since(began))), ()))
    }

    async fn twice(&self, id: &VendorId) -> Result<(Sight, ()), Fault> {
        self.leave().await?;
        Ok(match self.vendor.revoke(place(self.credential), id, Grounds::Tracked).await? {
            Ended::Confirmed => (Sight::not_held("a second revoke was confirmed as if it were the first"), ()),
            Ended::UnknownToVendor | Ended::NotListed => (Sight::held("a second revoke was answered as gone"), ()),
        })
    }

    async fn unlisted(&self, id: &VendorId) -> Result<(Sight, ()), Fault> {
        let began = self.clock.monotonic();
        let mut wait = LAG_PAUSE.0;
        while self.list().await?.credentials.iter().any(|one| one.id == *id) {
            if !self.wait(began, &mut wait).await? {
                return Ok((Sight::not_held(format!("still listed after {} s", LAG_MAX.as_secs())), ()));
            }
        }
        Ok((Sight::held(format!("not listed any more after {} ms", self.since(began))), ()))
    }

    /// Ends what this run made and did not end yet; gives how many were found alive.
    pub(super) async fn end(&self) -> Result<usize, Fault> {
        if !self.alive.load(Ordering::SeqCst) {
            return Ok(0);
        }
        let arn = self.arn()?.clone();
        let revoked = self.end_of(&arn).await?;
        if revoked == 0 {
            let answer = format!("it was not listed within {} s, but it may have been made", LAG_MAX.as_secs());
            return Err(Fault::new(Class::InDoubt, "looking for the throw-away credential", answer));
        }
        Ok(revoked)
    }

    /// Ends everything that carries the mark of the scratch secret `arn`, looking for a while when
    /// there is nothing: a listing may lag. Gives how many were found alive.
    pub(super) async fn end_of(&self, arn: &Arn) -> Result<usize, Fault> {
        let prefix = mark_prefix(arn);
        let began = self.clock.monotonic();
        let mut revoked = 0;
        let mut wait = LAG_PAUSE.0;
        loop {
            let listing = self.list().await?;
            let marked =
                listing.credentials.iter().filter(|one| one.mark.as_ref().is_some_and(|it| it.starts_with(&prefix)));
            let mut ours: Vec<&VendorId> = marked.map(|one| &one.id).collect();
            let listed = !ours.is_empty();
            if !listed && revoked > 0 {
                return Ok(revoked);
            }
            // What we made ourselves is ended whether it is listed or not.
            ours.extend(self.made.get().filter(|made| !ours.contains(made)));
            for id in ours {
                self.leave().await?;
                match self.vendor.revoke(place(self.credential), id, Grounds::Tracked).await? {
                    Ended::Confirmed => revoked += 1,
                    Ended::UnknownToVendor | Ended::NotListed => {}
                }
            }
            if !self.wait(began, &mut wait).await? {
                if !listed {
                    return Ok(revoked);
                }
                let answer = format!("still listed after {} s", LAG_MAX.as_secs());
                return Err(Fault::new(Class::Retry { after: None }, "revoking a throw-away credential", answer));
            }
        }
    }

    /// Waits a little longer each time; `false` when that took too long altogether.
    async fn wait(&self, began: Duration, wait: &mut Duration) -> Result<bool, Fault> {
        if self.passed(began) >= LAG_MAX {
            return Ok(false);
        }
        self.bench.pause(*wait).await?;
        *wait = (*wait * 2).min(LAG_PAUSE.1);
        Ok(true)
    }

    fn passed(&self, began: Duration) -> Duration {
        self.clock.monotonic().saturating_sub(began)
    }

    fn since(&self, began: Duration) -> u128 {
        self.passed(began).as_millis()
    }
}
