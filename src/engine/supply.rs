//! Where the values come from that keyferry supplies itself: made up from the system's randomness,
//! read where a person keeps them, or taken from another credential's AWS secret.

use crate::engine::keyring::refer;
use crate::engine::place;
use crate::engine::reconcile::Run;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::name::{Name, VersionId};
use crate::model::option::Piece;
use crate::model::payload::Outputs;
use crate::model::secret::SecretValue;
use crate::model::source::Source;
use crate::vendors::Type;

impl Run<'_> {
    /// Every piece of this credential, afresh. None of it was written anywhere yet, and all of it
    /// fits the vendor.
    pub(super) async fn supply(&self) -> Result<Outputs, Fault> {
        let mut outputs = Outputs::default();
        for name in self.kind()?.outputs {
            if let Some(text) = self.credential.options.text(name) {
                outputs = outputs.public(name, text);
            }
        }
        for piece in self.credential.options.pieces() {
            let value = self.piece(piece).await?;
            outputs = outputs.secret(piece.output, value);
        }
        self.vendor.accepts(place(self.credential), &outputs)?;
        Ok(outputs)
    }

    async fn piece(&self, piece: &Piece) -> Result<SecretValue, Fault> {
        let name = &self.credential.name;
        match &piece.source {
            Source::Generate(rule) => rule.make(getrandom::fill).map_err(|error| {
                let doing = format!("making up the `{}` of `{name}`", piece.output);
                Fault::new(Class::Retry { after: None }, doing, format!("the system gives no random bytes: {error}"))
            }),
            Source::Read(reference) => {
                let doing = format!("reading the `{}` of `{name}`", piece.output);
                self.engine.reachable(reference)?;
                let value = refer(reference, self.engine.stores(), piece.output, &doing).await?;
                match value.is_empty() {
                    true => Err(Fault::new(Class::Denied, doing, "its source is empty; nothing was written")),
                    false => Ok(value),
                }
            }
            Source::Credential { name: source, output } => {
                let doing = format!("reading `{output}` of `{source}`, which feeds `{name}`");
                let (_, outputs) = self.outputs_of(source, &doing).await?;
                outputs.get(output).ok_or_else(|| {
                    Fault::new(Class::Rejected, &doing, "its stored value does not hold that output")
                        .with_hint("it was stored in another shape than is declared now: rotate it once")
                })
            }
        }
    }

    /// The published pieces of another credential of the declaration, and which version they are.
    pub(super) async fn outputs_of(&self, name: &Name, doing: &str) -> Result<(VersionId, Outputs), Fault> {
        let source = self.source(name, doing)?;
        let store = self.engine.store(source).await?;
        let (version, current) = store.current_by_name(&source.destination.name).await.map_err(|fault| {
            match fault.class {
                // It comes up by itself, in this pass or another.
                Class::Gone => Fault::new(Class::Retry { after: None }, doing, "it has no value yet"),
                Class::InDoubt => Fault { class: Class::Retry { after: None }, ..fault },
                _ => Fault { doing: format!("{doing}: {}", fault.doing), ..fault },
            }
        })?;
        let recovered = source.destination.shape.recover(&current);
        recovered.map(|outputs| (version, outputs)).ok_or_else(|| {
            Fault::new(Class::Rejected, doing, "its stored value is not in the declared shape")
                .with_hint("rotate that one once: `keyferry rotate`")
        })
    }

    fn source(&self, name: &Name, doing: &str) -> Result<&Credential, Fault> {
        let declared = &self.engine.declaration().credentials;
        let found = declared.iter().find(|one| one.name == *name).map(AsRef::as_ref);
        found.ok_or_else(|| Fault::new(Class::Rejected, doing, "it is not declared"))
    }

    fn kind(&self) -> Result<&'static Type, Fault> {
        let vendor = self.engine.declaration().vendors.get(&self.credential.vendor);
        let kinds = vendor.map(|vendor| vendor.spec.types).unwrap_or_default();
        let found = kinds.iter().find(|kind| kind.name == self.credential.type_name);
        found.ok_or_else(|| self.fault("looking up its type", "the vendor has no such type"))
    }
}
