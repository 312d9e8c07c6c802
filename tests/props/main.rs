//! Property tests of everything that reads text from outside: whatever it is given, it neither panics
//! nor hangs nor grows, and what keyferry wrote itself it reads back as written.
//!
//! | file | what is read |
//! |---|---|
//! | `words` | labels, tags, marks and places |
//! | `value` | templates: a stored value is read back into the pieces it was made from |
//! | `paper` | the declaration, durations and cron patterns in it |
//! | `answers` | what the vendors and AWS answer, claims included |
//!
//! Every case follows from a fixed seed, so a run never differs from the one before. `cargo test` tries
//! a few hundred cases of each; `KEYFERRY_PROPS=full` tries 50 times as many, and `KEYFERRY_PROPS_SEED`
//! names another seed for them. A case that ever failed is kept as a row beside its property.

mod answers;
#[path = "../wire/bench.rs"]
#[expect(dead_code, reason = "the wire's rows need more of it")]
mod bench;
mod paper;
#[path = "../wire/relay.rs"]
#[expect(dead_code, reason = "the wire's rows need more of it")]
mod relay;
mod value;
mod words;

use proptest::strategy::{BoxedStrategy, Just, Strategy};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// How many times as many cases there are where everything is asked for.
const FULL: u32 = 50;

/// Whether `test` holds for `cases` values of `strategy`, and for each of `kept`, which are tried
/// first. It says so by not panicking.
fn holds<S>(cases: u32, kept: impl IntoIterator<Item = S::Value>, strategy: S, test: impl Fn(S::Value))
where
    S: Strategy,
    S::Value: Clone,
{
    kept.into_iter().for_each(&test);
    let full = std::env::var("KEYFERRY_PROPS").is_ok_and(|asked| asked == "full");
    let asked = std::env::var("KEYFERRY_PROPS_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&asked.unwrap_or(1).to_le_bytes());
    let cases = if full { cases * FULL } else { cases };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let outcome = runner.run(&strategy, |value| {
        test(value);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}\nseed {}; keep the smallest case above as a row", asked.unwrap_or(1));
    }
}

/// Any text: of any characters, of those that our own words are made of, and of those that terminals
/// and parsers stumble over.
fn text() -> BoxedStrategy<String> {
    const HARD: &str = "[\\x00-\\x1f\\x7f\u{85}\u{200b}\u{202e}\u{2066}\u{feff}\u{1f600}\"'\\\\{}@:~%/ .=-]{0,40}";
    proptest::prop_oneof![".{0,60}", HARD, "[a-zA-Z0-9@:~./= _-]{0,80}", Just(String::new()), "[a-z]{2000,4000}"]
        .boxed()
}

#[test]
fn a_property_that_does_not_hold_is_seen() {
    let outcome = std::panic::catch_unwind(|| {
        holds(200, [], "[a-z]{0,9}", |text| assert!(text.len() < 7, "too long"));
    });
    assert!(outcome.is_err());
}
