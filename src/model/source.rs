//! Where a value comes from that keyferry supplies itself: made up by a rule, read from where a
//! person keeps it, or taken over from another credential of the same declaration.

use std::path::PathBuf;

use crate::model::name::{Name, SecretName, TargetName};
use crate::model::secret::SecretValue;

/// Longest value from any source, in bytes (ChatBotKit contract 3.3: keep values under 32 KiB).
pub const SOURCE_BYTES_MAX: usize = 32 * 1024;
/// Longest generated text, in characters.
pub const GENERATED_CHAR_COUNT_MAX: usize = 4_096;
/// A generated value is at least so hard to guess.
pub const GENERATED_BITS_MIN: f64 = 96.0;

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Made up, anew for each rotation.
    Generate(Rule),
    /// Read where a person keeps it.
    Read(Reference),
    /// Another credential's output: this one follows when that one is rotated.
    Credential {
        /// The credential.
        name: Name,
        /// The output, as it stands in that one's AWS secret.
        output: String,
    },
}

/// Where an admin secret is read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reference {
    /// An environment variable of this process.
    Env(String),
    /// A file, without its trailing line break.
    File(PathBuf),
    /// A file in `$CREDENTIALS_DIRECTORY` (systemd `LoadCredential=`).
    SystemdCredential(String),
    /// AWSCURRENT of another secret, or one key of its JSON.
    AwsSecret {
        /// The target it lies in; `None` for the only one.
        target: Option<TargetName>,
        /// Its name.
        name: SecretName,
        /// The key of its JSON; `None` for the whole text.
        key: Option<String>,
    },
    /// The sandbox's own; only with loopback endpoints.
    Sandbox,
}

/// How a value is made up: so many characters, each any of an alphabet, all equally likely.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    length: usize,
    alphabet: Vec<char>,
}

impl Rule {
    /// A rule; `None` when it makes values that are too short, too long or can be guessed.
    pub fn new(length: usize, alphabet: &str) -> Option<Self> {
        let mut letters: Vec<char> = alphabet.chars().collect();
        letters.sort_unstable();
        letters.dedup();
        let rule = Self { length, alphabet: letters };
        let fits = (1..=GENERATED_CHAR_COUNT_MAX).contains(&length) && (2..=256).contains(&rule.alphabet.len());
        (fits && rule.bits() >= GENERATED_BITS_MIN).then_some(rule)
    }

    /// How hard a value is to guess, in bits.
    pub fn bits(&self) -> f64 {
        let letters = u32::try_from(self.alphabet.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        f64::from(letters).log2() * f64::from(length)
    }

    /// Characters of a value.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The characters it is made of, in order, each once.
    pub fn alphabet(&self) -> String {
        self.alphabet.iter().collect()
    }

    /// Makes a value from random bytes, of which `fill` gives as many as are asked for. A byte
    /// beyond the last whole multiple of the alphabet is thrown away: a remainder would favour
    /// the alphabet's first letters.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn make<E>(&self, mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<SecretValue, E> {
        let letters = self.alphabet.len();
        let usable = 256 - 256 % letters;
        let mut text = zeroize::Zeroizing::new(String::with_capacity(4 * self.length));
        let mut left = self.length;
        while left > 0 {
            let mut bytes = zeroize::Zeroizing::new([0_u8; 64]);
            fill(bytes.as_mut_slice())?;
            for byte in bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < usable).take(left) {
                text.push(self.alphabet[byte % letters]);
                left -= 1;
            }
        }
        Ok(SecretValue::new(text.as_str()))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test looks at what was made up")]
mod tests {
    use super::*;

    #[test]
    fn every_letter_is_equally_likely_and_no_other_comes() {
        let rule = Rule::new(3_000, "abc").unwrap();
        let mut next = 0_u8;
        let every_byte = |bytes: &mut [u8]| {
            bytes.iter_mut().for_each(|byte| {
                *byte = next;
                next = next.wrapping_add(1);
            });
            Ok::<(), ()>(())
        };
        let made = rule.make(every_byte).unwrap();
        assert_eq!(made.len(), 3_000);
        let counts = ["a", "b", "c"].map(|letter| made.expose().matches(letter).count());
        // 255 of the 256 bytes are used, 85 for each letter; the last round is not a whole one.
        assert!(counts.iter().all(|count| (975..=1_025).contains(count)), "{counts:?}");
        assert_eq!(counts.iter().sum::<usize>(), 3_000);
    }

    #[test]
    fn what_could_be_guessed_is_refused() {
        let hex = "0123456789abcdef";
        assert!(Rule::new(24, hex).is_some(), "96 bits");
        for (length, alphabet) in
            [(23, hex), (0, hex), (4_097, hex), (95, "ab"), (40, ""), (40, "a"), (40, "aaaa"), (usize::MAX, hex)]
        {
            assert!(Rule::new(length, alphabet).is_none(), "{length} of {alphabet:?}");
        }
        assert_eq!(Rule::new(61, "abca").unwrap().alphabet(), "abc", "a letter counts once");
    }

    #[test]
    fn a_failure_to_get_random_bytes_makes_no_value() {
        assert_eq!(Rule::new(48, "abcd").unwrap().make(|_| Err("none")).err(), Some("none"));
    }
}
