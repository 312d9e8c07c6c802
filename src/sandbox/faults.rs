//! Faults on demand, by seed: the same seed and the same calls give the same faults.

use serde::{Deserialize, Serialize};

use crate::sandbox::gate;

/// What goes wrong with one call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The service's own throttling answer, not applied; `Retry-After` as given.
    Throttle {
        /// Header text, sent as it is.
        retry_after: Option<String>,
    },
    /// Refused with this HTTP status and the service's own error code, not applied.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Error code in the service's own error shape.
        code: String,
    },
    /// Not applied, and answered with this: what something in front of the service may say in its
    /// place.
    Pretend {
        /// HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// Connection dropped before anything was applied.
    DropBefore,
    /// Applied, then the connection is dropped: the reply is lost.
    DropAfter,
    /// Applied, then answered 500.
    FailAfter,
    /// Applied, and the answer comes this many real milliseconds late.
    Delay {
        /// Real milliseconds, whatever the sandbox's speed.
        ms: u64,
    },
    /// Applied, but the answer's body is broken.
    Body(Broken),
    /// A read is answered from an older state (where the service documents staleness).
    Stale,
}

/// How an answer's body is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// Nothing.
    Empty,
    /// An HTML page, status 502.
    Html,
    /// Cut in the middle.
    Truncated,
    /// Endless: far over any size cap.
    Huge,
    /// A JSON value of the wrong type.
    WrongType,
    /// A redirect to another host.
    Redirect,
}

/// When a fault happens.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// `aws`, `keycard`, … or `*`.
    pub service: String,
    /// The service's name of the call (`PutSecretValue`, `create_credential`, …) or `*`.
    pub operation: String,
    /// So many matching calls go well first.
    #[serde(default)]
    pub skip: u64,
    /// Then so many fail; 0 for all.
    #[serde(default)]
    pub times: u64,
    /// Share of those that do, 0 to 1; 1 if left out.
    #[serde(default = "always")]
    pub chance: f64,
    /// What happens.
    pub effect: Effect,
}

fn always() -> f64 {
    1.0
}

/// The rules in force and their dice.
pub struct Faults {
    rules: Vec<(Rule, u64)>,
    dice: fastrand::Rng,
    struck: u64,
}

impl Faults {
    /// No faults; dice from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), dice: fastrand::Rng::with_seed(seed), struck: 0 }
    }

    /// Adds a rule. Earlier rules go first.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push((rule, 0));
    }

    /// No more faults.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// How often something went wrong so far.
    pub fn struck(&self) -> u64 {
        self.struck
    }

    /// What goes wrong with this call, if anything; counts it.
    pub fn next(&mut self, service: &str, operation: &str) -> Option<Effect> {
        gate::note_word(operation);
        let matches = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        for (rule, seen) in &mut self.rules {
            if !matches(&rule.service, service) || !matches(&rule.operation, operation) {
                continue;
            }
            *seen += 1;
            let due = *seen > rule.skip && (rule.times == 0 || *seen <= rule.skip + rule.times);
            if due && self.dice.f64() < rule.chance {
                self.struck += 1;
                return Some(rule.effect.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_skips_then_fails_then_is_spent() {
        let mut faults = Faults::new(1);
        let text = r#"{"service":"aws","operation":"*","skip":1,"times":2,"effect":"drop_after"}"#;
        faults.add(serde_json::from_str(text).unwrap());
        assert_eq!(faults.next("keycard", "x"), None);
        let seen: Vec<bool> = (0..4).map(|_| faults.next("aws", "x").is_some()).collect();
        assert_eq!(seen, [false, true, true, false]);
    }
}
