//! Taking a credential that somebody else made under management, as calls. Whether it may be, and
//! what is written, `rotation::adopt` says.

use crate::config::Discovery;
use crate::engine::person::Glance;
use crate::engine::reconcile::AskVendor;
use crate::engine::{Engine, perform, place};
use crate::model::capability::Marking;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::label::{Label, TAG_BASE, TAG_COMPARED, TAG_CREDENTIAL, TAG_UNPROVED};
use crate::model::name::{Name, VendorId};
use crate::model::observed::{Listed, Listing, Tie};
use crate::model::payload::Fit;
use crate::model::time::Now;
use crate::rotation::adopt::{
    self, Allowed, Candidate, Found, Holder, Judged, Login, Look, Proof, Refused, Shape, Write,
};
use crate::rotation::view::{Compared, Known, View, seen};
use crate::stores::aws::{Adoptable, Fence};
use crate::vendors::Verdict;

/// What an adoption came to.
pub enum Adopted {
    /// It was managed as this credential before.
    Already(Candidate),
    /// It is managed now.
    Now {
        /// What was adopted.
        candidate: Candidate,
        /// On which terms.
        judged: Judged,
        /// How many writes that took.
        writes: usize,
        /// Whether the secret's tags say that Terraform made it.
        terraformed: bool,
        /// What the rules see from now on.
        view: Box<View>,
        /// The dates by which it was judged.
        now: Now,
    },
}

/// How far an adoption came that did not come to its end.
pub struct Undone {
    /// Why.
    pub fault: Fault,
    /// Writes that went through before.
    pub written: usize,
}

impl From<Fault> for Undone {
    fn from(fault: Fault) -> Self {
        Self { fault, written: 0 }
    }
}

impl Engine {
    /// Adopts the credential `id` with the value that is current. Reads that value for one login, and
    /// writes labels and tags alone; nothing is written where it is refused.
    ///
    /// # Errors
    /// Whatever says nothing about the credential; with how much was written before.
    pub async fn adopt(
        &self,
        credential: &Credential,
        id: &VendorId,
        allowed: Allowed,
    ) -> Result<Result<Adopted, Refused>, Undone> {
        // The vendor first: what is made and stored meanwhile is then tracked and not listed.
        let listing = self.list(credential).await?;
        let holder = self.holder(credential, id).await?;
        let glance = self.glance(credential, AskVendor::Never).await?;
        let policy = &credential.policy;
        let found = Found { secret: glance.view.secret.as_ref(), listing: &listing, holder };
        let candidate = match adopt::candidate(&found, policy, id, glance.now) {
            Ok(Look::May(candidate)) => candidate,
            Ok(Look::Already(candidate)) => return Ok(Ok(Adopted::Already(candidate))),
            Err(refused) => return Ok(Err(refused)),
        };
        let proof = self.prove_current(credential, &glance, &candidate, listed(&listing, id)).await?;
        let judged = match adopt::judge(&candidate, &proof, allowed) {
            Ok(judged) => judged,
            Err(refused) => return Ok(Err(refused)),
        };
        let writes = adopt::writes(&candidate, &judged);
        for (written, write) in writes.iter().enumerate() {
            self.write(credential, &glance, write).await.map_err(|fault| Undone { fault, written })?;
        }
        let mut view = adopt::after(&glance.view, &writes, policy, glance.now.store);
        let what = seen(&listing, view.secret.as_ref().map(|secret| &secret.arn));
        let at = glance.now.store;
        view.facts.listing = Known::Found { what, at };
        // As far as the next rotation can know: a login was just made, or nobody needs one.
        view.facts.provable = Known::Found { what: true, at };
        let now = Now { vendor: Some(listing.at), ..glance.now };
        let terraformed = glance.secret.as_ref().is_some_and(|secret| adopt::terraformed(&secret.tags));
        Ok(Ok(Adopted::Now { candidate, judged, writes: writes.len(), terraformed, view: Box::new(view), now }))
    }

    /// Reads the current value, asks the vendor, and keeps nothing but what that showed.
    async fn prove_current(
        &self,
        credential: &Credential,
        glance: &Glance,
        candidate: &Candidate,
        listed: Option<&Listed>,
    ) -> Result<Proof, Fault> {
        let value = self.store(credential).await?.current(glance.arn()?, &candidate.version).await;
        let value = value.map_err(|fault| match (fault.class, &fault.hint) {
            (Class::Rejected, None) => fault.with_hint(
                "keyferry keeps text: store the same value as a text first, or let `takeover = \"rotate\"` publish a \
                 fresh credential over it",
            ),
            _ => fault,
        })?;
        let (shape, outputs) = match credential.destination.shape.fit(&value) {
            Fit::Same(outputs) => (Shape::Same, outputs),
            Fit::Wider(outputs) => (Shape::Wider, outputs),
            Fit::Another => {
                let answer = "it is not of the declared shape, so nobody knows what to log in with".into();
                return Ok(Proof { shape: Shape::Another, tie: Tie::Untold, login: Login::CannotTell { answer } });
            }
        };
        let vendor = self.vendor(credential)?;
        let tie = listed.map_or(Tie::Untold, |listed| vendor.tie(place(credential), listed, &outputs));
        if credential.policy.capabilities.marking == Marking::InPlace {
            vendor.accepts(place(credential), &outputs)?;
            let answer = "the vendor keeps the value and shows it to nobody".into();
            return Ok(Proof { shape, tie, login: Login::CannotTell { answer } });
        }
        if tie == Tie::Another {
            // Not even tried: a login with somebody else's secret proves nothing here.
            let answer = "the value names another credential".into();
            return Ok(Proof { shape, tie, login: Login::CannotTell { answer } });
        }
        let login = match vendor.verify(place(credential), &outputs).await? {
            Verdict::Good => Login::Good,
            Verdict::Bad { answer } => Login::Bad { answer },
            Verdict::CannotTell { answer } => Login::CannotTell { answer },
        };
        Ok(Proof { shape, tie, login })
    }

    async fn write(&self, credential: &Credential, glance: &Glance, write: &Write) -> Result<(), Fault> {
        let store = self.store(credential).await?;
        let arn = glance.arn()?;
        // Decided on this look: a process that slept since must not write.
        let fence = Fence { signed_at: glance.now.store };
        match write {
            Write::Unproved { version } => {
                let vouched = format!("{version}@{}", glance.now.store.seconds());
                store.tag(arn, &[(TAG_UNPROVED, &vouched)], fence).await
            }
            Write::Lease { version, lease } => {
                let adoptable = glance.secret.as_ref().and_then(|secret| Adoptable::of(secret, version));
                let adoptable = adoptable.ok_or_else(|| {
                    let doing = format!("adopting for `{}`", credential.name);
                    Fault::new(Class::Bug, doing, "that version can't be tracked")
                })?;
                store.lease(&adoptable, lease, fence).await
            }
            Write::Own { base } => {
                let mut tags = perform::owner_tags(credential);
                // The vendor's listing was just looked at.
                let compared = Compared { at: glance.now.store, missing: None };
                tags.push((TAG_COMPARED.to_owned(), compared.to_tag()));
                tags.extend(
                    base.as_ref().map(|base| (TAG_BASE.to_owned(), format!("{base}@{}", glance.now.store.seconds()))),
                );
                let pairs: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                store.tag(arn, &pairs, fence).await
            }
        }
        .map(drop)
    }

    /// The secret of this deployment, other than `credential`'s own, that tracks `id`.
    async fn holder(&self, credential: &Credential, id: &VendorId) -> Result<Option<Holder>, Fault> {
        let tracks = |label: &Label| matches!(label, Label::Cred(lease) if lease.tracked.is(id));
        let listed = self.declaration().discovery == Discovery::List;
        let others = self.declaration().credentials.iter().filter(|one| one.name != credential.name);
        // Those made in the same place by their names: a listing of all secrets is up to five minutes
        // old. Without one, every credential of that vendor.
        for one in others.filter(|one| one.vendor == credential.vendor && (!listed || same_place(one, credential))) {
            let Some(secret) = self.store(one).await?.observe(&one.destination.name).await? else { continue };
            let owned = secret.tags.get(TAG_CREDENTIAL).is_some_and(|name| name == one.name.as_str());
            if owned && secret.versions.iter().flat_map(|version| &version.labels).any(tracks) {
                return Ok(Some(Holder { secret: secret.name, credential: Some(one.name.clone()) }));
            }
        }
        let other = |name: &Option<Name>| name.as_ref() != Some(&credential.name);
        let found = self.leases().await?.into_iter().find(|(name, one)| other(name) && one.tracked.is(id));
        Ok(found.map(|(credential, one)| Holder { secret: one.secret, credential }))
    }
}

/// Whether two credentials of one vendor may be made in one place; whatever their types.
fn same_place(one: &Credential, other: &Credential) -> bool {
    match (&one.policy.at, &other.policy.at) {
        (Some(one), Some(other)) => one.options().eq(other.options()),
        (None, _) | (_, None) => true,
    }
}

fn listed<'a>(listing: &'a Listing, id: &VendorId) -> Option<&'a Listed> {
    listing.credentials.iter().find(|one| one.id == *id)
}
