//! One contract for every vendor in `vendors::ALL` and every credential type of each, told through
//! the trait `Vendor` alone and judged by what its simulator then holds.
//!
//! A new type takes part by its example in `config/sandbox.toml`. What it can't do it says in its
//! capabilities, and the suite asks for exactly the rest. It learns the names of a vendor's calls by
//! watching them, so that every fault can be put on every call without a list.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keyferry::config;
use keyferry::model::attempt::{Attempt, Mark};
use keyferry::model::capability::{Marking, Proof};
use keyferry::model::fault::{Class, Fault};
use keyferry::model::name::{Arn, VendorId, VendorName};
use keyferry::model::option::Options;
use keyferry::model::payload::Outputs;
use keyferry::model::secret::{Keyring, Read, SecretValue};
use keyferry::model::time::Clock;
use keyferry::sandbox::faults::{Broken, Effect, Rule};
use keyferry::sandbox::simulator::Seed;
use keyferry::vendors::{self, Ended, Grounds, Instance, Minted, Place, Type, Vendor, Verdict, http};
use serde_json::{Value, json};

use crate::stage::{Stage, impatient};

/// What is tried of a type: the options of the sandbox's examples of it, by name.
fn examples(kind: &str, of: &Type) -> Vec<Options> {
    let text = include_str!("../../config/sandbox.toml");
    let declared = config::load_text(&[("config/sandbox.toml", text)]).unwrap().declaration;
    let of_type = |kind: &str, name: &str| {
        let all = declared.credentials.iter();
        let own = all.filter(|one| declared.vendors[&one.vendor].spec.kind == kind && one.type_name == name);
        own.map(|one| one.options.clone()).collect::<Vec<_>>()
    };
    let found = of_type(kind, of.name);
    assert!(!found.is_empty(), "config/sandbox.toml has no example of a {} of {kind}", of.name);
    found
}

/// The sandbox's admin secrets are this word, all of them.
struct Sandboxed;

impl Keyring for Sandboxed {
    fn read<'a>(&'a self, _: &'static str) -> Read<'a> {
        Box::pin(std::future::ready(Ok(SecretValue::new("sandbox"))))
    }
}

/// A fresh instance of the stage's vendor of this name: it remembers nothing.
pub fn open(stage: &Stage, name: &str) -> Arc<dyn Vendor> {
    let declared = &stage.engine.declaration().vendors[&VendorName::new(name).unwrap()];
    let clock: Arc<dyn Clock> = stage.clock.clone();
    (declared.spec.connect)(Instance {
        name: declared.name.clone(),
        options: declared.options.clone(),
        keyring: Arc::new(Sandboxed),
        client: http::Client::with_limits(None, http::Limits { total_timeout: Duration::from_secs(5), ..impatient() })
            .unwrap(),
        clock,
    })
    .unwrap()
}

/// One type of one vendor on a stage of its own.
struct Bench {
    stage: Stage,
    kind: &'static str,
    of: &'static Type,
    options: Options,
    /// Prepares and clears; what is under test is opened afresh.
    helper: Arc<dyn Vendor>,
    number: std::cell::Cell<u32>,
}

/// What the suite calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    List,
    Create,
    Verify,
    Revoke,
}

impl Bench {
    async fn all() -> Vec<Self> {
        let mut benches = Vec::new();
        for spec in vendors::ALL {
            for of in spec.types {
                let example = examples(spec.kind, of).remove(0);
                benches.push(Self::new(spec.kind, of, example).await);
            }
        }
        benches
    }

    /// The example moved to a place of its own, called `app`.
    async fn new(kind: &'static str, of: &'static Type, example: Options) -> Self {
        let stage = Stage::with("").await;
        let mut options = example;
        if let Some(place) = of.place.last() {
            let field = of.fields.iter().find(|field| field.name == *place).unwrap();
            options.set(field, keyferry::model::option::Value::Text("app".into()));
        }
        stage.sandbox.seed(&Seed { vendor: kind.into(), type_name: of.name.into(), options: options.clone() });
        let helper = open(&stage, kind);
        Self { stage, kind, of, options, helper, number: std::cell::Cell::new(0) }
    }

    fn vendor(&self) -> Arc<dyn Vendor> {
        open(&self.stage, self.kind)
    }

    fn place(&self) -> Place<'_> {
        Place { type_name: self.of.name, options: &self.options }
    }

    /// The mark of one more attempt.
    fn mark(&self) -> Mark {
        self.number.set(self.number.get() + 1);
        let arn = Arn::new("arn:aws:secretsmanager:us-east-1:000000000000:secret:app-a1b2c3").unwrap();
        Mark::new(&arn, Attempt::derive(&arn, &None, self.number.get()))
    }

    fn live(&self) -> BTreeSet<String> {
        self.stage.sandbox.vendor(self.kind).unwrap().live().into_iter().collect()
    }

    fn fault(&self, operation: &str, times: u64, effect: Effect) {
        let (service, operation) = (self.kind.into(), operation.into());
        self.stage.sandbox.add_fault(Rule { service, operation, skip: 0, times, chance: 1.0, effect });
    }

    fn calm(&self) {
        self.stage.sandbox.world.faults.lock().unwrap().clear();
    }

    async fn create(&self, vendor: &dyn Vendor) -> Result<Minted, Fault> {
        quiet(vendor.create(self.place(), &self.mark()).await)
    }

    async fn ids(&self, vendor: &dyn Vendor) -> Result<BTreeSet<String>, Fault> {
        let listing = quiet(vendor.list(self.place()).await)?;
        Ok(listing.credentials.iter().map(|one| one.id.to_string()).collect())
    }

    /// Fair weather, and nothing lives.
    async fn clear(&self) {
        self.calm();
        for id in self.ids(&*self.helper).await.unwrap() {
            let id = VendorId::new(&id).unwrap();
            self.helper.revoke(self.place(), &id, Grounds::Listed).await.unwrap();
        }
        assert!(self.live().is_empty(), "{}", self.what());
    }

    fn what(&self) -> String {
        format!("{} {}", self.kind, self.of.name)
    }

    /// What a login with a wrong secret would send: all the same but for the last piece.
    fn wrong(&self, minted: &Minted) -> Outputs {
        let (last, others) = self.of.proof_outputs.split_last().unwrap();
        let kept = others
            .iter()
            .fold(Outputs::default(), |outputs, name| outputs.secret(name, minted.outputs.get(name).unwrap()));
        kept.secret(last, SecretValue::new("not-the-secret"))
    }

    fn proves(&self) -> bool {
        match self.of.capabilities.proof {
            Proof::Login | Proof::LoginAt(_) | Proof::Existence => true,
            Proof::Impossible => false,
        }
    }

    /// Whether credentials are made and ended one by one. A record that is set in place is another
    /// contract.
    fn mints(&self) -> bool {
        match self.of.capabilities.marking {
            Marking::Named | Marking::Unnamed => true,
            Marking::InPlace => false,
        }
    }

    fn settings_url(&self) -> String {
        format!("http://{}/{}/settings", self.stage.sandbox.control_address(), self.kind)
    }

    /// Sets a switch of the simulator, if it has one of this name.
    async fn set(&self, name: &str, value: Value) -> bool {
        let http = reqwest::Client::new();
        let answer = http.get(self.settings_url()).send().await.unwrap();
        let mut settings: Value = answer.json().await.unwrap_or_default();
        if settings.get(name).is_none() {
            return false;
        }
        settings[name] = value;
        let answer = http.put(self.settings_url()).json(&settings).send().await.unwrap();
        assert!(answer.status().is_success());
        true
    }

    fn counted(&self) -> Vec<(&'static str, u64)> {
        let vendor = self.stage.sandbox.vendor(self.kind).unwrap();
        let mut counts: Vec<(&'static str, u64)> = Vec::new();
        for one in vendor.call_counts() {
            match counts.iter_mut().find(|(operation, _)| *operation == one.operation) {
                Some((_, count)) => *count += one.count,
                None => counts.push((one.operation, one.count)),
            }
        }
        counts
    }

    /// The vendor's own names of the calls that `ask` makes.
    async fn operations(&self, vendor: &dyn Vendor, ask: Ask) -> Vec<&'static str> {
        self.clear().await;
        let minted = self.create(vendor).await.unwrap();
        let before = self.counted();
        self.ask(vendor, ask, &minted).await.unwrap();
        let made = |(operation, count): &(&'static str, u64)| {
            !before.iter().any(|(known, earlier)| known == operation && earlier == count)
        };
        self.counted().into_iter().filter(made).map(|(operation, _)| operation).collect()
    }

    async fn ask(&self, vendor: &dyn Vendor, ask: Ask, minted: &Minted) -> Result<(), Fault> {
        let truth = self.live();
        match ask {
            Ask::List => {
                let listed = self.ids(vendor).await?;
                assert_eq!(listed, truth, "{}: a listing is whole and true, or it is a fault", self.what());
            }
            Ask::Create => {
                let minted = self.create(vendor).await?;
                assert!(self.live().contains(minted.id.as_str()), "{}: made, it says", self.what());
            }
            Ask::Verify => {
                let verdict = quiet(vendor.verify(self.place(), &minted.outputs).await)?;
                assert!(!matches!(verdict, Verdict::Bad { .. }), "{}: a good one is never called bad", self.what());
            }
            Ask::Revoke => {
                let ended = quiet(vendor.revoke(self.place(), &minted.id, Grounds::Listed).await)?;
                if ended != Ended::Confirmed {
                    // The vendor's word, or the listing's, but not yet a confirmation.
                    return Err(Fault::new(Class::Gone, "ending what is at `app`", format!("{ended:?}")));
                }
                assert!(!self.live().contains(minted.id.as_str()), "{}: ended, it says", self.what());
            }
        }
        Ok(())
    }
}

/// No fault shows a secret: every one that the sandbox makes holds this word.
fn quiet<T>(outcome: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(fault) = &outcome {
        assert!(!format!("{fault} {fault:?}").contains("kfcanary"), "{fault}");
    }
    outcome
}

fn broken() -> Vec<Effect> {
    [Broken::Empty, Broken::Html, Broken::Truncated, Broken::Huge, Broken::WrongType, Broken::Redirect]
        .map(Effect::Body)
        .to_vec()
}

fn refused() -> Vec<Effect> {
    let refuse = |status| Effect::Refuse { status, code: "refused".into() };
    let mut effects: Vec<Effect> = [400, 401, 403, 404, 409, 422, 500, 502, 503].into_iter().map(refuse).collect();
    effects.push(Effect::Throttle { retry_after: None });
    effects.push(Effect::Throttle { retry_after: Some("7".into()) });
    effects
}

fn lost() -> Vec<Effect> {
    vec![Effect::DropBefore, Effect::DropAfter, Effect::FailAfter]
}

#[test]
fn every_vendor_s_types_have_an_example_and_say_what_they_can_do() {
    for spec in vendors::ALL {
        assert!(keyferry::sandbox::ALL.iter().any(|one| one.kind == spec.kind), "{}", spec.kind);
        for of in spec.types {
            let name = format!("{} {}", spec.kind, of.name);
            examples(spec.kind, of);
            assert!(of.proof_outputs.iter().all(|output| of.outputs.contains(output)), "{name}");
            assert!(of.place.iter().all(|place| of.fields.iter().any(|field| field.name == *place)), "{name}");
            if let Proof::LoginAt(option) = of.capabilities.proof {
                assert!(of.fields.iter().any(|field| field.name == option), "{name}: {option}");
            }
            let documented = of.fields.iter().chain(spec.fields).all(|field| field.doc.ends_with('.'));
            assert!(documented, "{name}: a sentence for each option");
        }
    }
}

#[tokio::test]
async fn a_credential_is_made_listed_proved_and_ended() {
    for bench in Bench::all().await.into_iter().filter(Bench::mints) {
        let (what, vendor) = (bench.what(), bench.vendor());
        vendor.check(bench.place()).await.unwrap();
        assert!(bench.ids(&*vendor).await.unwrap().is_empty(), "{what}");
        let mark = bench.mark();
        let minted = vendor.create(bench.place(), &mark).await.unwrap();
        let names: Vec<&str> = minted.outputs.names().collect();
        for output in bench.of.outputs {
            assert!(names.contains(output), "{what}: output `{output}` is promised, and there are {names:?}");
        }
        assert_eq!(bench.ids(&*vendor).await.unwrap(), bench.live(), "{what}");
        let listing = vendor.list(bench.place()).await.unwrap();
        assert_eq!(listing.at, bench.stage.clock.wall().minus(Duration::from_millis(listing_lag(&bench, &listing))));
        let listed = listing.credentials.iter().find(|one| one.id == minted.id).unwrap();
        let marked = bench.of.capabilities.marking == Marking::Named;
        assert_eq!(listed.mark.as_deref() == Some(mark.as_str()), marked, "{what}: it is found by its mark");
        assert_eq!(listed.last_used, None, "{what}: nobody used it");
        if bench.proves() {
            assert_eq!(vendor.provable(bench.place()).await.unwrap(), Proof::Login, "{what}");
            assert_eq!(vendor.verify(bench.place(), &minted.outputs).await.unwrap(), Verdict::Good, "{what}");
            let wrong = vendor.verify(bench.place(), &bench.wrong(&minted)).await.unwrap();
            assert!(matches!(wrong, Verdict::Bad { .. }), "{what}: {wrong:?}");
        } else {
            let verdict = vendor.verify(bench.place(), &minted.outputs).await.unwrap();
            assert!(matches!(verdict, Verdict::CannotTell { .. }), "{what}: {verdict:?}");
        }
        let listing = vendor.list(bench.place()).await.unwrap();
        let used = listing.credentials[0].last_used.is_some();
        assert_eq!(used, bench.of.capabilities.last_used && bench.proves(), "{what}: when it was last used");
        let second = bench.create(&*vendor).await.unwrap();
        let ended = vendor.revoke(bench.place(), &minted.id, Grounds::Listed).await.unwrap();
        assert_eq!(ended, Ended::Confirmed, "{what}");
        assert_eq!(bench.live(), BTreeSet::from([second.id.to_string()]), "{what}: this one and no other");
        if bench.proves() {
            let dead = vendor.verify(bench.place(), &minted.outputs).await.unwrap();
            assert!(matches!(dead, Verdict::Bad { .. }), "{what}: {dead:?}");
        }
        let again = vendor.revoke(bench.place(), &minted.id, Grounds::Tracked).await.unwrap();
        assert_eq!(again, Ended::UnknownToVendor, "{what}: only the vendor's own word tells");
        let unseen = vendor.revoke(bench.place(), &minted.id, Grounds::Listed).await.unwrap();
        assert_ne!(unseen, Ended::Confirmed, "{what}");
    }
}

/// HTTP dates have no fraction.
fn listing_lag(bench: &Bench, listing: &keyferry::model::observed::Listing) -> u64 {
    u64::try_from(bench.stage.clock.wall().since(listing.at).as_millis()).unwrap().min(999)
}

#[tokio::test]
async fn an_id_that_is_not_there_or_is_hostile_ends_nothing() {
    for bench in Bench::all().await.into_iter().filter(Bench::mints) {
        let vendor = bench.vendor();
        bench.create(&*vendor).await.unwrap();
        let live = bench.live();
        let nobody = VendorId::new("nobody").unwrap();
        let unknown = vendor.revoke(bench.place(), &nobody, Grounds::Listed).await.unwrap();
        assert_ne!(unknown, Ended::Confirmed, "{}", bench.what());
        let own = live.first().unwrap();
        let long = "x".repeat(512);
        for id in [
            "..",
            ".",
            "../x",
            "a/b",
            &format!("x/../{own}"),
            &format!("{own}/"),
            &format!("{own}?x=1"),
            &format!("{own}#x"),
            "%2e%2e",
            "%00",
            " ",
            "ü",
            "\\",
            &long,
        ] {
            for grounds in [Grounds::Listed, Grounds::Tracked] {
                let outcome = quiet(vendor.revoke(bench.place(), &VendorId::new(id).unwrap(), grounds).await);
                assert_ne!(outcome, Ok(Ended::Confirmed), "{} {id:?}", bench.what());
                assert_eq!(bench.live(), live, "{} {id:?}", bench.what());
            }
        }
        for id in ["a\r\nb", "a\0b", "", &"x".repeat(513)] {
            assert!(VendorId::new(id).is_err(), "{id:?} is no id at all");
        }
    }
}

#[tokio::test]
async fn an_application_with_a_hostile_name_is_none() {
    // Where a record is kept in place, its name is ours to give: `check` refuses strange ones.
    for bench in Bench::all().await.into_iter().filter(Bench::mints) {
        for name in ["../x", "..", ".", "a/b", "a?b#c", "%2e%2e", " x", "ü", &"x".repeat(255)] {
            let mut options = bench.options.clone();
            for place in bench.of.place {
                let field = bench.of.fields.iter().find(|field| field.name == *place).unwrap();
                options.set(field, keyferry::model::option::Value::Text(name.into()));
            }
            let place = Place { type_name: bench.of.name, options: &options };
            let fault = quiet(bench.vendor().check(place).await).unwrap_err();
            let refused = match fault.class {
                Class::Gone => fault.hint.is_some(),
                class => class == Class::Rejected,
            };
            assert!(refused, "{} {name:?}: {fault} {:?}", bench.what(), fault.class);
        }
    }
}

/// The class that each kind of refusal must have: what may be done about it hangs on this.
#[tokio::test]
async fn every_refusal_has_its_class() {
    const RETRY: fn(Option<u64>) -> Class = |seconds| Class::Retry { after: seconds.map(Duration::from_secs) };
    for bench in Bench::all().await.into_iter().filter(Bench::mints) {
        let vendor = bench.vendor();
        for (ask, unclear) in [(Ask::List, RETRY(None)), (Ask::Create, Class::InDoubt), (Ask::Revoke, Class::InDoubt)] {
            // The last of the calls is the one that the asking is about.
            let operations = bench.operations(&*vendor, ask).await;
            let [.., operation] = operations.as_slice() else { panic!("{}: {ask:?} calls nothing", bench.what()) };
            let operation = about(ask, &operations).unwrap_or(operation);
            for effect in refused() {
                bench.clear().await;
                let minted = bench.create(&*vendor).await.unwrap();
                bench.fault(operation, 0, effect.clone());
                let fault = bench.ask(&*vendor, ask, &minted).await.unwrap_err();
                let classes: Vec<Class> = match &effect {
                    Effect::Throttle { retry_after } => vec![RETRY(retry_after.as_ref().map(|_| 7))],
                    Effect::Refuse { status: 401 | 403, .. } => vec![Class::Denied],
                    // The fault's code is none of the vendor's: one that has a code for what is not there
                    // takes this for a wrong address.
                    Effect::Refuse { status: 404, .. } if ask == Ask::Revoke => vec![Class::Gone, Class::InDoubt],
                    Effect::Refuse { status: 404, .. } => vec![Class::Gone, Class::Rejected],
                    // A name that is taken may be taken by an earlier send of this very call.
                    Effect::Refuse { status: 409, .. } if ask == Ask::Create => vec![Class::Rejected, Class::InDoubt],
                    Effect::Refuse { status: 400..500, .. } => vec![Class::Rejected],
                    _ => vec![unclear],
                };
                let what = format!("{} {operation} {effect:?}: {fault} {:?}", bench.what(), fault.class);
                assert!(classes.contains(&fault.class), "{what}, not {classes:?}");
                assert!(fault.hint.is_some() || fault.heals_by_itself() || fault.class == Class::Gone, "{what}");
                assert!(fault.doing.contains("`app`") || bench.of.place.is_empty(), "{what}");
            }
        }
    }
}

/// Of the calls of an asking, the one that has its effect.
fn about(ask: Ask, operations: &[&'static str]) -> Option<&'static str> {
    let word = match ask {
        Ask::List => "list",
        Ask::Create => "create",
        Ask::Revoke => "delete",
        Ask::Verify => return None,
    };
    operations.iter().copied().find(|operation| operation.starts_with(word))
}

/// Whatever goes wrong at whatever call, warm or cold: no wrong word about a credential, no second
/// create, no end of another one, no secret shown; and "surely not applied" is true.
#[tokio::test]
async fn whatever_goes_wrong_nothing_wrong_is_said() {
    for bench in Bench::all().await.into_iter().filter(Bench::mints) {
        for ask in [Ask::List, Ask::Create, Ask::Verify, Ask::Revoke] {
            for operation in bench.operations(&*bench.vendor(), ask).await {
                for effect in refused().into_iter().chain(broken()).chain(lost()) {
                    // Where existence is all there is to prove, that it is not there is the word about it.
                    let not_there = matches!(effect, Effect::Refuse { status: 404, .. });
                    if ask == Ask::Verify && not_there && bench.of.capabilities.proof == Proof::Existence {
                        continue;
                    }
                    // For ever, and once: what is asked again inside the driver may go well then.
                    for times in [0, 1] {
                        bench.clear().await;
                        let minted = bench.create(&*bench.helper).await.unwrap();
                        let neighbour = bench.create(&*bench.helper).await.unwrap();
                        let before = bench.live();
                        bench.fault(operation, times, effect.clone());
                        let outcome = bench.ask(&*bench.vendor(), ask, &minted).await;
                        let (what, after) = (format!("{} {ask:?} {operation} {effect:?}", bench.what()), bench.live());
                        let untouched = outcome.as_ref().is_err_and(Fault::surely_not_applied);
                        // A delete that was applied and then asked for again is not there any more.
                        let repeated = ask == Ask::Revoke
                            && outcome
                                .as_ref()
                                .is_err_and(|fault| fault.class == Class::Gone || fault.heals_by_itself());
                        assert!(!untouched || before == after || repeated, "{what}: {outcome:?}");
                        assert!(after.contains(neighbour.id.as_str()), "{what}: another one is gone");
                        assert!(after.len() <= before.len() + 1, "{what}: created twice");
                        if ask != Ask::Revoke {
                            assert!(before.is_subset(&after), "{what}");
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_create_is_in_doubt_and_what_it_left_is_found_as_the_type_says() {
    for bench in Bench::all().await.into_iter().filter(Bench::mints) {
        let (what, vendor) = (bench.what(), bench.vendor());
        let operations = bench.operations(&*vendor, Ask::Create).await;
        let operation = about(Ask::Create, &operations).unwrap();
        for effect in lost().into_iter().chain(broken()) {
            bench.clear().await;
            bench.fault(operation, 0, effect.clone());
            let mark = bench.mark();
            let fault = quiet(vendor.create(bench.place(), &mark).await).err().unwrap();
            assert_eq!(fault.class, Class::InDoubt, "{what} {effect:?}: {fault}");
            bench.calm();
            let made = usize::from(effect != Effect::DropBefore);
            let listing = vendor.list(bench.place()).await.unwrap();
            assert_eq!((listing.credentials.len(), bench.live().len()), (made, made), "{what} {effect:?}: sent once");
            match bench.of.capabilities.marking {
                Marking::Named => {
                    assert!(listing.credentials.iter().all(|one| one.mark.as_deref() == Some(mark.as_str())), "{what}");
                }
                Marking::Unnamed => {
                    let told = listing
                        .credentials
                        .iter()
                        .all(|one| one.mark.as_deref() != Some(mark.as_str()) && one.last_used.is_none());
                    assert!(told, "{what}: told by elimination and by no use, or never taken for ours");
                }
                Marking::InPlace => unreachable!("those are left out above"),
            }
        }
    }
}

#[tokio::test]
async fn a_listing_goes_to_the_last_page_and_one_without_end_is_a_fault() {
    for bench in Bench::all().await {
        let (what, vendor) = (bench.what(), bench.vendor());
        if bench.mints() && bench.of.capabilities.live_max.is_none() {
            // Where the client says how long a page is, more than any client asks for at once.
            let count = if bench.set("page_count_max", json!(2)).await { 7 } else { 105 };
            for _ in 0..count {
                bench.create(&*vendor).await.unwrap();
            }
            assert_eq!(bench.ids(&*vendor).await.unwrap(), bench.live(), "{what}");
            assert_eq!(bench.live().len(), count);
        }
        // Neighbours, more than any page holds: what is declared is found among them.
        if let Some(place) = bench.of.place.last() {
            let field = bench.of.fields.iter().find(|field| field.name == *place).unwrap();
            for number in 0..230 {
                let mut options = bench.options.clone();
                options.set(field, keyferry::model::option::Value::Text(format!("neighbour-{number}")));
                bench.stage.sandbox.seed(&Seed { vendor: bench.kind.into(), type_name: bench.of.name.into(), options });
            }
            bench.vendor().check(bench.place()).await.unwrap();
        }
        // One record is fetched, not looked for in a list.
        if bench.mints() && bench.set("cursor_stuck", json!(true)).await {
            let fresh = bench.vendor();
            let fault = quiet(fresh.check(bench.place()).await.and(fresh.list(bench.place()).await.map(drop))).err();
            let fault = fault.unwrap_or_else(|| panic!("{what}: an endless list came to an end"));
            assert!(matches!(fault.class, Class::Retry { .. }) && fault.answer.contains("circles"), "{what}: {fault}");
        }
    }
}

#[tokio::test]
async fn as_many_live_as_may_and_the_next_is_refused_in_numbers() {
    for bench in Bench::all().await.into_iter().filter(Bench::mints) {
        let Some(max) = bench.of.capabilities.live_max else { continue };
        let (what, vendor) = (bench.what(), bench.vendor());
        let mut last = None;
        for _ in 0..max.get() {
            last = Some(bench.create(&*vendor).await.unwrap().id);
        }
        let fault = bench.create(&*vendor).await.err().unwrap();
        assert_eq!((fault.class, bench.live().len()), (Class::Rejected, usize::from(max.get())), "{what}: {fault}");
        assert!(fault.answer.contains(&max.to_string()) && fault.hint.is_some(), "{what}: {fault}");
        vendor.revoke(bench.place(), &last.unwrap(), Grounds::Listed).await.unwrap();
        bench.create(&*vendor).await.unwrap();
    }
}

// ---- The other contract: one record whose value is ours, set in place. ----------------------------

impl Bench {
    /// A bench for each example: they differ in what is set, and in what is set with it.
    async fn in_place() -> Vec<Self> {
        let mut benches = Vec::new();
        for spec in vendors::ALL {
            for of in spec.types.iter().filter(|of| of.capabilities.marking == Marking::InPlace) {
                for example in examples(spec.kind, of) {
                    benches.push(Self::new(spec.kind, of, example).await);
                }
            }
        }
        benches
    }

    /// All pieces that the example supplies, made up.
    fn pieces(&self, value: &str) -> Outputs {
        let fixed = self.of.outputs.iter().filter_map(|name| Some((*name, self.options.text(name)?)));
        let outputs = fixed.fold(Outputs::default(), |outputs, (name, text)| outputs.public(name, text));
        self.options
            .pieces()
            .iter()
            .fold(outputs, |outputs, piece| outputs.secret(piece.output, SecretValue::new(value)))
    }

    async fn set_value(&self, vendor: &dyn Vendor, mark: &Mark, value: &str) -> Result<Verdict, Fault> {
        quiet(vendor.set(self.place(), mark, &self.pieces(value)).await)
    }

    /// Whose value the record holds; `None` without one.
    async fn holds(&self, vendor: &dyn Vendor) -> Result<Option<String>, Fault> {
        let listing = quiet(vendor.list(self.place()).await)?;
        assert!(listing.credentials.len() <= 1, "{}: one record", self.what());
        Ok(listing.credentials.into_iter().next().and_then(|one| one.mark))
    }

    /// The vendor's own names of the calls that a listing, or setting a value for the second time, makes.
    async fn calls_of(&self, sets: bool) -> Vec<&'static str> {
        let vendor = self.vendor();
        self.set_value(&*self.helper, &self.mark(), "kfcanary-before").await.unwrap();
        let before = self.counted();
        match sets {
            true => drop(self.set_value(&*vendor, &self.mark(), "kfcanary-after").await.unwrap()),
            false => drop(self.holds(&*vendor).await.unwrap()),
        }
        let made = |(operation, count): &(&'static str, u64)| {
            !before.iter().any(|(known, earlier)| known == operation && earlier == count)
        };
        self.counted().into_iter().filter(made).map(|(operation, _)| operation).collect()
    }
}

#[tokio::test]
async fn in_place_a_value_is_set_listed_set_again_and_nothing_else_can_be_done_with_it() {
    for bench in Bench::in_place().await {
        let (what, vendor) = (bench.what(), bench.vendor());
        vendor.check(bench.place()).await.unwrap();
        assert_eq!(bench.holds(&*vendor).await.unwrap(), None, "{what}");
        let marks = [bench.mark(), bench.mark()];
        for (mark, value) in [(0, "kfcanary-a"), (0, "kfcanary-a"), (1, "kfcanary-b"), (0, "kfcanary-a")] {
            vendor.accepts(bench.place(), &bench.pieces(value)).unwrap();
            let verdict = bench.set_value(&*vendor, &marks[mark], value).await.unwrap();
            assert_eq!(verdict, Verdict::Good, "{what}");
            // Whoever never saw it made finds it, too.
            let found = bench.holds(&*bench.vendor()).await.unwrap();
            assert_eq!(found.as_deref(), Some(marks[mark].as_str()), "{what}");
        }
        let listing = vendor.list(bench.place()).await.unwrap();
        assert_eq!(listing.at, bench.stage.clock.wall().minus(Duration::from_millis(listing_lag(&bench, &listing))));
        let id = listing.credentials[0].id.clone();
        let pieces = bench.pieces("kfcanary-c");
        let outcomes = [
            vendor.create(bench.place(), &bench.mark()).await.map(drop),
            vendor.verify(bench.place(), &pieces).await.map(drop),
            vendor.revoke(bench.place(), &id, Grounds::Listed).await.map(drop),
        ];
        assert!(outcomes.iter().all(|one| one.as_ref().is_err_and(|fault| fault.class == Class::Rejected)), "{what}");
        // Another AWS secret's value is in it: that one's owner would lose it.
        let arn = Arn::new("arn:aws:secretsmanager:us-east-1:000000000000:secret:other-a1b2c3").unwrap();
        let theirs = Mark::new(&arn, Attempt::derive(&arn, &None, 1));
        let fault = bench.set_value(&*vendor, &theirs, "kfcanary-d").await.unwrap_err();
        assert!(fault.class == Class::Rejected && fault.hint.is_some(), "{what}: {fault}");
        assert_eq!(bench.holds(&*vendor).await.unwrap().as_deref(), Some(marks[0].as_str()), "{what}: untouched");
        for value in ["", &"x".repeat(1 << 20)] {
            let accepted = vendor.accepts(bench.place(), &bench.pieces(value));
            let refused = accepted.is_err_and(|fault| fault.class == Class::Rejected && fault.hint.is_some());
            assert_eq!(refused, !bench.options.pieces().is_empty(), "{what}: {} bytes", value.len());
        }
    }
}

#[tokio::test]
async fn in_place_every_refusal_has_its_class() {
    for bench in Bench::in_place().await {
        for (sets, unclear) in [(false, Class::Retry { after: None }), (true, Class::InDoubt)] {
            let operations = bench.calls_of(sets).await;
            let word = if sets { "update" } else { "fetch" };
            let operation = operations.iter().copied().find(|operation| operation.starts_with(word));
            let operation = operation.unwrap_or_else(|| panic!("{}: {operations:?}", bench.what()));
            for effect in refused() {
                bench.fault(operation, 0, effect.clone());
                let vendor = bench.vendor();
                let fault = match sets {
                    true => bench.set_value(&*vendor, &bench.mark(), "kfcanary").await.map(drop).unwrap_err(),
                    false => bench.holds(&*vendor).await.map(drop).unwrap_err(),
                };
                bench.calm();
                let classes: Vec<Class> = match &effect {
                    Effect::Throttle { retry_after } => {
                        vec![Class::Retry { after: retry_after.as_ref().map(|_| Duration::from_secs(7)) }]
                    }
                    Effect::Refuse { status: 401 | 403, .. } => vec![Class::Denied],
                    Effect::Refuse { status: 404, .. } => vec![Class::Gone, Class::Rejected],
                    Effect::Refuse { status: 400..500, .. } => vec![Class::Rejected],
                    _ => vec![unclear],
                };
                let what = format!("{} {operation} {effect:?}: {fault} {:?}", bench.what(), fault.class);
                assert!(classes.contains(&fault.class), "{what}, not {classes:?}");
                assert!(fault.hint.is_some() || fault.heals_by_itself() || fault.class == Class::Gone, "{what}");
                assert!(fault.doing.contains("app`"), "{what}: names the record");
            }
        }
    }
}

/// Whatever goes wrong at whatever call: a good value is never called bad, there is never a second
/// record, a listing is true or a fault, and setting the value again puts all right.
#[tokio::test]
async fn in_place_whatever_goes_wrong_setting_it_again_puts_it_right() {
    let mut tried = BTreeSet::new();
    for bench in Bench::in_place().await {
        // Examples that take the same way are one.
        if !tried.insert([bench.calls_of(false).await, bench.calls_of(true).await]) {
            continue;
        }
        for sets in [false, true] {
            for operation in bench.calls_of(sets).await {
                for effect in refused().into_iter().chain(broken()).chain(lost()) {
                    for times in [0, 1] {
                        let (old, new) = (bench.mark(), bench.mark());
                        bench.set_value(&*bench.helper, &old, "kfcanary-old").await.unwrap();
                        bench.fault(operation, times, effect.clone());
                        let what = format!("{} {operation} {effect:?} {times} {sets}", bench.what());
                        let vendor = bench.vendor();
                        let outcome = match sets {
                            true => Some(bench.set_value(&*vendor, &new, "kfcanary-new").await),
                            false => {
                                let held = bench.holds(&*vendor).await;
                                assert!(held.is_err() || held.ok() == Some(Some(old.as_str().into())), "{what}");
                                None
                            }
                        };
                        bench.calm();
                        let held = bench.holds(&*bench.vendor()).await.unwrap().expect("the record stays");
                        let known = [old.as_str(), new.as_str()].contains(&held.as_str());
                        assert!(known, "{what}: somebody's mark: {held}");
                        if let Some(Ok(verdict)) = outcome {
                            assert_eq!((verdict, held.as_str()), (Verdict::Good, new.as_str()), "{what}");
                        }
                        let again = bench.set_value(&*bench.vendor(), &new, "kfcanary-new").await.unwrap();
                        let held = bench.holds(&*bench.vendor()).await.unwrap();
                        assert_eq!((again, held.as_deref()), (Verdict::Good, Some(new.as_str())), "{what}");
                    }
                }
            }
        }
    }
}
