//! Ids: the real ones that `rotation` speaks of, and the small numbers that the world counts in.

use keyferry::model::attempt::Attempt;
use keyferry::model::name::{Arn, VendorId, VersionId};

use crate::config::{Config, Start};
use crate::world::{CREDS, NONE, ROWS};

/// A version: twice its attempt's row for the claim, one more for the slot.
pub type Code = u8;

/// The claim of an attempt.
pub fn claim_code(row: u8) -> Code {
    row * 2
}

/// The slot of an attempt.
pub fn slot_code(row: u8) -> Code {
    row * 2 + 1
}

/// The attempt of a version.
pub fn row_of(code: Code) -> u8 {
    code / 2
}

/// Whether a version is a slot.
pub fn is_slot(code: Code) -> bool {
    code % 2 == 1
}

/// An attempt that may happen, with its real ids.
pub struct Row {
    /// The version that it replaces; `NONE` for a first version.
    pub base: Code,
    /// Which try.
    pub number: u32,
    /// The attempt.
    pub attempt: Attempt,
    /// Its claim's id.
    pub claim: VersionId,
    /// Its slot's id.
    pub slot: VersionId,
    /// No attempt of ours: only its slot counts, for a version that somebody else made.
    pub stranger: bool,
}

/// All ids of a run.
pub struct Names {
    /// The secret.
    pub arn: Arn,
    /// The attempts.
    pub rows: Vec<Row>,
    /// The vendor's ids.
    pub creds: Vec<VendorId>,
}

impl Names {
    /// Derives the ids of every attempt that the configuration leaves room for.
    pub fn new(config: &Config) -> Self {
        let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").expect("an ARN");
        let mut names = Self { arn, rows: Vec::new(), creds: Vec::new() };
        let firsts = if config.start == Start::Missing { config.tries } else { 1 };
        let mut bases: Vec<Code> = (1..=firsts).map(|number| names.add(NONE, number)).collect();
        for _ in 0..config.rotations {
            bases = bases
                .into_iter()
                .flat_map(|base| (1..=config.tries).map(move |number| (base, number)))
                .map(|(base, number)| names.add(base, number))
                .collect();
        }
        if config.start == Start::Takeover {
            names.rows[0].stranger = true;
        }
        if config.strangers > 0 {
            names.add(NONE, 99);
            names.rows.last_mut().expect("just added").stranger = true;
        }
        assert!(names.rows.len() <= ROWS, "{}: too many attempts", config.name);
        let id = |index| if config.hashed { format!("cred/../{index}") } else { format!("cred-{index}") };
        names.creds = (0..CREDS).map(|index| VendorId::new(&id(index)).expect("an id")).collect();
        names
    }

    fn add(&mut self, base: Code, number: u32) -> Code {
        let attempt = Attempt::derive(&self.arn, &self.id(base), number);
        self.rows.push(Row {
            base,
            number,
            attempt,
            claim: attempt.claim_id(),
            slot: attempt.slot_id(),
            stranger: false,
        });
        slot_code(u8::try_from(self.rows.len() - 1).expect("few attempts"))
    }

    /// A version's id.
    pub fn id(&self, code: Code) -> Option<VersionId> {
        (code != NONE).then(|| {
            let row = self.row(row_of(code));
            if is_slot(code) { row.slot.clone() } else { row.claim.clone() }
        })
    }

    /// An attempt.
    pub fn row(&self, row: u8) -> &Row {
        &self.rows[usize::from(row)]
    }

    /// The row of a value that a person puts.
    pub fn stranger(&self) -> u8 {
        self.rows.len() as u8 - 1
    }

    /// The version with an id.
    pub fn code(&self, id: &VersionId) -> Option<Code> {
        (0..self.rows.len() as u8 * 2).find(|code| self.id(*code).as_ref() == Some(id))
    }

    /// The row of an attempt; `None` beyond what the run has room for.
    pub fn find(&self, attempt: Attempt) -> Option<u8> {
        self.rows.iter().position(|row| row.attempt == attempt).map(|row| row as u8)
    }

    /// The number of a vendor id.
    pub fn cred(&self, id: &VendorId) -> Option<u8> {
        self.creds.iter().position(|one| one == id).map(|cred| cred as u8)
    }
}
