//! A preflight: trials of what AWS and a vendor are assumed to do, in the user's own account, with
//! a throw-away secret and, where asked for, a throw-away credential; and cleaning up after it.
//!
//! What is made is written down before it is made, in the scratch secret's tags: a run that is
//! killed is cleaned up after by the next one of the same name. So the credential always goes
//! first, and the secret only when no credential is left.

mod guest;

use std::sync::Arc;

use crate::engine::Engine;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::finding::{Finding, Outcome, Witness};
use crate::model::name::{SecretName, TargetName};
use crate::stores::aws::preflight::{Bench, Deleted, Experiment, Found, LAST, MAIN, not_reached};
use crate::stores::aws::{Calls, Identity};
use guest::Guest;

/// What is to be tried.
pub struct Asked {
    /// Where.
    pub target: TargetName,
    /// The scratch secret's name.
    pub name: SecretName,
    /// At whose place a throw-away credential is made; `None` for AWS alone.
    pub credential: Option<Arc<Credential>>,
    /// The key that the scratch secret is made with; `None` for the account's default key.
    pub kms_key_id: Option<String>,
}

/// Something that could not be cleaned up.
pub struct Left {
    /// What, and why.
    pub what: String,
    /// What to do about it.
    pub hint: String,
    /// Whether it is a credential that somebody could use.
    pub live: bool,
}

/// What came of a preflight.
pub struct Report {
    /// Whom AWS saw.
    pub principal: Identity,
    /// Every statement with what was seen, in order.
    pub findings: Vec<Finding>,
    /// What was cleaned up, earlier runs' things first.
    pub cleaned: Vec<String>,
    /// What was not.
    pub left: Vec<Left>,
    /// Calls sent to AWS.
    pub aws_calls: Calls,
    /// Calls asked of the vendor's driver.
    pub vendor_calls: u64,
}

impl Report {
    /// How many statements ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.findings.iter().filter(|finding| finding.outcome == outcome).count()
    }
}

/// Why nothing was tried.
pub enum Refusal {
    /// What was asked for must not be done: nothing was touched.
    Asked {
        /// Why.
        why: String,
        /// What to do instead.
        hint: String,
    },
    /// A call failed.
    Failed(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// How many statements will be tried.
pub fn statement_count(with_credential: bool) -> usize {
    MAIN.len() + LAST.len() + if with_credential { guest::STATEMENTS.len() } else { 0 }
}

/// Runs the trials, and cleans up whatever happens short of a kill.
///
/// # Errors
/// When nothing was tried: the name is somebody else's, or AWS does not let us.
pub async fn preflight(engine: &Engine, asked: &Asked, witness: Arc<dyn Witness>) -> Result<Report, Refusal> {
    let store = engine.stores.get(&asked.target).ok_or_else(|| Refusal::Asked {
        why: format!("no target `{}` is declared", asked.target),
        hint: "name one that is".into(),
    })?;
    let used = engine.declaration.credentials.iter().find(|one| one.destination.name == asked.name);
    if let Some(credential) = used {
        return Err(Refusal::Asked {
            why: format!("`{}` is the secret of the declared credential `{}`", asked.name, credential.name),
            hint: "give the scratch secret a name that nothing else has".into(),
        });
    }
    let bench = Bench::new(store, Arc::clone(&engine.clock), witness, asked.name.clone());
    let run = Run { engine, bench: &bench.with_key(asked.kms_key_id.clone()), asked };
    let before = store.calls();
    run.all(store.identity().await?, before).await
}

struct Run<'a> {
    engine: &'a Engine,
    bench: &'a Bench,
    asked: &'a Asked,
}

impl Run<'_> {
    async fn all(&self, principal: Identity, before: Calls) -> Result<Report, Refusal> {
        let mut report = Report {
            principal,
            findings: Vec::new(),
            cleaned: Vec::new(),
            left: Vec::new(),
            aws_calls: Calls::default(),
            vendor_calls: 0,
        };
        let guest = match &self.asked.credential {
            Some(credential) => Some(self.guest(credential)?),
            None => None,
        };
        self.clear_the_way(&mut report).await?;
        self.bench.set_cleaning(false);
        let begun = self.bench.begin().await;
        let doubtful = matches!(&begun, Err(fault) if !fault.surely_not_applied() || fault.heals_by_itself());
        match &begun {
            Ok(()) => self.trials(&mut report, guest.as_ref()).await,
            // Nothing was made, so there is nothing to clean up.
            Err(_) if !doubtful => return Err(begun.unwrap_err().into()),
            Err(_) => {}
        }
        self.bench.set_cleaning(true);
        if report.left.is_empty() {
            self.bench.witness().begins("deleting the scratch secret");
            self.end(&mut report).await;
        }
        let after = self.engine.stores[&self.asked.target].calls();
        report.aws_calls = Calls { reads: after.reads - before.reads, writes: after.writes - before.writes };
        report.vendor_calls = guest.map_or(0, |guest| guest.calls());
        match begun {
            Err(fault) if report.left.is_empty() => Err(fault.into()),
            _ => Ok(report),
        }
    }

    fn guest<'b>(&'b self, credential: &'b Arc<Credential>) -> Result<Guest<'b>, Refusal> {
        Guest::new(self.bench, &self.engine.clock, self.engine.vendor(credential)?, credential)
    }

    async fn trials(&self, report: &mut Report, guest: Option<&Guest<'_>>) {
        for experiment in MAIN {
            report.findings.push(self.bench.try_out(experiment).await);
        }
        if let Some(guest) = guest {
            report.findings.extend(guest.trials().await);
            self.bench.set_cleaning(true);
            self.bench.witness().begins("looking for a throw-away credential that is left");
            match guest.end().await {
                Ok(count) => {
                    if count > 0 {
                        report.cleaned.push(format!("{count} throw-away credential(s) revoked"));
                    }
                    // So that a run that is killed from here on is not looked after at the vendor. That
                    // it is only costs the next one time.
                    let _ = self.bench.forget_credential().await;
                }
                Err(fault) => report.left.push(self.left_credential(&fault)),
            }
            self.bench.set_cleaning(false);
        }
        for experiment in LAST {
            report.findings.push(self.last(experiment, report.left.is_empty()).await);
        }
    }

    async fn last(&self, experiment: &Experiment, clean: bool) -> Finding {
        if clean {
            return self.bench.try_out(experiment).await;
        }
        // The secret says what is to be cleaned up at the vendor, so it stays as it is.
        not_reached(experiment.statement, "the scratch secret is still needed")
    }

    /// Looks at what bears the name. What an earlier preflight left is cleaned up; anything else is
    /// refused and left alone.
    async fn clear_the_way(&self, report: &mut Report) -> Result<(), Refusal> {
        let name = &self.asked.name;
        let (arn, credential, gone_at) = match self.bench.find().await? {
            Found::Nothing => return Ok(()),
            Found::Theirs { why } => {
                return Err(Refusal::Asked {
                    why: format!("there is a secret `{name}` already, and it is no left-over of a preflight: {why}"),
                    hint: "it was not touched; give the scratch secret a name that nothing else has".into(),
                });
            }
            Found::Ours { arn, credential, gone_at } => (arn, credential, gone_at),
        };
        self.bench.set_cleaning(true);
        self.bench.witness().begins("cleaning up after an earlier preflight");
        if let Some(declared) = credential {
            let known = self.engine.declaration.credentials.iter().find(|one| one.name.as_str() == declared);
            let Some(known) = known else {
                let prefix = crate::model::attempt::mark_prefix(&arn);
                return Err(Refusal::Asked {
                    why: format!(
                        "an earlier preflight made a throw-away credential at the place of `{declared}`, which is not \
                         declared any more"
                    ),
                    hint: format!(
                        "declare it again and run this again; or revoke at the vendor what begins with `{prefix}`, \
                         then delete the secret `{name}`"
                    ),
                });
            };
            let revoked = self.guest(known)?.end_of(&arn).await?;
            report.cleaned.push(format!(
                "an earlier preflight's throw-away credential at the place of `{declared}`: {revoked} found and revoked"
            ));
        }
        match self.bench.discard(&arn).await? {
            Deleted::AtOnce => {
                report.cleaned.push(format!("an earlier preflight's scratch secret `{name}` was deleted"));
                Ok(())
            }
            Deleted::InSevenDays => Err(Refusal::Asked {
                why: format!(
                    "an earlier preflight's scratch secret `{name}` is on its way out, and its name is taken until then\
                     {}",
                    gone_at.map_or(String::new(), |date| format!(" ({date})"))
                ),
                hint: "give the scratch secret another name; or allow secretsmanager:DeleteSecret without a recovery \
                       window for it"
                    .into(),
            }),
        }
    }

    /// Does away with the scratch secret, and says how.
    async fn end(&self, report: &mut Report) {
        let name = &self.asked.name;
        match self.bench.end().await {
            Ok(None) => {}
            Ok(Some(Deleted::AtOnce)) => report.cleaned.push(format!(
                "the scratch secret `{name}` was deleted at once, without a recovery window: it held nothing (keyferry \
                 does that to no other secret)"
            )),
            Ok(Some(Deleted::InSevenDays)) => report.cleaned.push(format!(
                "the scratch secret `{name}` will be gone in 7 days: this caller may not delete it at once; it costs \
                 nothing meanwhile, and its name stays taken"
            )),
            Err(fault) => {
                let hint = match fault.class {
                    Class::Denied => {
                        format!(
                            "allow secretsmanager:DeleteSecret on it and run this again, or delete `{name}` by hand"
                        )
                    }
                    _ => "run this again with the same name: it cleans up first".into(),
                };
                let what = format!("the scratch secret `{name}` is still there: {fault}");
                report.left.push(Left { what, hint, live: false });
            }
        }
    }

    fn left_credential(&self, fault: &Fault) -> Left {
        Left {
            what: format!("a throw-away credential may be left at the vendor: {fault}"),
            hint: format!(
                "run this again with the same name: it cleans up first; the scratch secret `{}` was kept, because it \
                 says what to look for",
                self.asked.name
            ),
            live: true,
        }
    }
}
