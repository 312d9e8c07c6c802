//! Credentials that feed one another: what `rotation` has to know of it. Values are compared here
//! and nowhere kept; what was seen in step is remembered by version ids, because a version's value
//! never changes.

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::reconcile::{Run, Visited};
use crate::model::credential::Credential;
use crate::model::fault::Fault;
use crate::model::label::Label;
use crate::model::name::{Name, VersionId};
use crate::model::payload::Outputs;
use crate::model::source::Source;
use crate::rotation::Step;
use crate::rotation::view::{self, View};

/// The credentials that feed this one, each once.
pub(super) fn sources(credential: &Credential) -> Vec<&Name> {
    let mut names: Vec<&Name> = fed(credential).map(|(name, ..)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The secret and its current version, where keyferry stored it.
fn stored(view: &View) -> Option<(&view::Secret, &view::Version)> {
    let secret = view.secret.as_ref()?;
    Some((secret, secret.with(&Label::Current).filter(|current| current.slot().is_some())?))
}

/// Source, its output, and the output here that it becomes.
fn fed(credential: &Credential) -> impl Iterator<Item = (&Name, &str, &'static str)> {
    credential.options.pieces().into_iter().filter_map(|piece| match &piece.source {
        Source::Credential { name, output } => Some((name, output.as_str(), piece.output)),
        Source::Generate(_) | Source::Read(_) => None,
    })
}

impl Engine {
    /// The credentials that this one feeds.
    pub(super) fn followers(&self, name: &Name) -> Vec<Arc<Credential>> {
        let all = self.declaration().credentials.iter();
        all.filter(|one| fed(one).any(|(source, ..)| source == name)).cloned().collect()
    }

    /// Those that `name` feeds, where a visit of it published a value: they are out of step now.
    pub fn followers_after(&self, name: &Name, visited: &Visited) -> Vec<Arc<Credential>> {
        let publishes = |(step, _): &(Step, _)| matches!(step, Step::Promote { .. } | Step::Mint { first: true, .. });
        if visited.steps.iter().any(publishes) { self.followers(name) } else { Vec::new() }
    }
}

impl Run<'_> {
    /// Whether other credentials feed this one.
    pub(super) fn has_sources(&self) -> bool {
        fed(self.credential).next().is_some()
    }

    /// Whether this one feeds others.
    pub(super) fn has_followers(&self) -> bool {
        !self.engine.followers(&self.credential.name).is_empty()
    }

    /// Whether the current value is made of others than its sources publish now.
    pub(super) async fn sources_moved(&mut self, view: &View) -> Result<bool, Fault> {
        match stored(view) {
            Some((secret, current)) => self.moved(secret, current).await,
            None => Ok(false),
        }
    }

    /// Whether one that this credential feeds does not hold its current value yet.
    pub(super) async fn followers_wait(&mut self, view: &View) -> Result<bool, Fault> {
        let followers = self.engine.followers(&self.credential.name);
        match stored(view) {
            Some((secret, current)) => Ok(!self.followed(secret, current, &followers).await?),
            None => Ok(false),
        }
    }

    /// Whether AWSCURRENT is made of other values than its sources publish now.
    async fn moved(&mut self, secret: &view::Secret, current: &view::Version) -> Result<bool, Fault> {
        let names = sources(self.credential);
        let known: Option<Vec<VersionId>> =
            names.iter().map(|name| Some(self.engine.board.get(name)?.published?.version)).collect();
        if known.is_some_and(|known| self.memory.in_step.as_ref() == Some(&(current.id.clone(), known))) {
            return Ok(false);
        }
        let doing = format!("comparing `{}` with what feeds it", self.credential.name);
        let own = self.published_outputs(secret, current, &doing).await?;
        let mut versions = Vec::new();
        for name in names {
            let (version, outputs) = self.outputs_of(name, &doing).await?;
            versions.push(version);
            if !holds(self.credential, name, &own, &outputs) {
                return Ok(true);
            }
        }
        self.memory.in_step = Some((current.id.clone(), versions));
        Ok(false)
    }

    /// Whether every follower publishes a value made of this one's, and its vendor has it.
    async fn followed(
        &mut self,
        secret: &view::Secret,
        current: &view::Version,
        followers: &[Arc<Credential>],
    ) -> Result<bool, Fault> {
        let doing = format!("looking whether those that `{}` feeds have followed", self.credential.name);
        let own = self.published_outputs(secret, current, &doing).await?;
        for follower in followers {
            if !self.follows(follower, &own, &doing).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn follows(&self, follower: &Credential, own: &Outputs, doing: &str) -> Result<bool, Fault> {
        let store = self.engine.store(follower).await?;
        let Some(secret) = store.observe(&follower.destination.name).await? else { return Ok(false) };
        // While a candidate is under way, the vendor may hold one value or the other.
        let under_way = secret.versions.iter().any(|version| version.labels.contains(&Label::Pending));
        let current = secret.versions.iter().find(|version| version.labels.contains(&Label::Current));
        let Some(current) = current.filter(|_| !under_way) else { return Ok(false) };
        let value = store.published(&secret.arn, &current.id).await;
        let value = value.map_err(|fault| Fault { doing: format!("{doing}: {}", fault.doing), ..fault })?;
        let theirs = follower.destination.shape.recover(&value);
        Ok(theirs.is_some_and(|theirs| holds(follower, &self.credential.name, &theirs, own)))
    }

    async fn published_outputs(
        &self,
        secret: &view::Secret,
        current: &view::Version,
        doing: &str,
    ) -> Result<Outputs, Fault> {
        let value = self.store.published(&secret.arn, &current.id).await.map_err(|fault| {
            let fault = Fault { doing: format!("{doing}: {}", fault.doing), ..fault };
            match fault.hint {
                Some(_) => fault,
                None => fault.with_hint(
                    "credentials that feed one another need secretsmanager:GetSecretValue with the stage AWSCURRENT \
                     on each of their secrets",
                ),
            }
        })?;
        let recovered = self.credential.destination.shape.recover(&value);
        recovered.ok_or_else(|| self.fault(doing, "its stored value is not in the declared shape"))
    }
}

/// Whether the follower's pieces that come from `source` are what that one publishes.
fn holds(follower: &Credential, source: &Name, theirs: &Outputs, published: &Outputs) -> bool {
    fed(follower).filter(|(name, ..)| *name == source).all(|(_, from, to)| {
        let value = published.get(from);
        value.is_some() && theirs.get(to) == value
    })
}
