//! Single keys from a terminal, without waiting for Enter. The terminal is put back as it was when
//! the guard goes, also while a panic unwinds; Ctrl-C stays a signal.

use std::io::Read;

use rustix::stdio::stdin;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr,
};
use tokio::sync::mpsc;

/// Keys pressed but not looked at yet; more are dropped.
const WAITING_KEYS_MAX: usize = 16;

/// A terminal that gives single keys, and what it was before.
pub(super) struct Keyboard {
    before: Termios,
    pressed: mpsc::Receiver<Key>,
}

/// A key that somebody pressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// `k`: kill the daemon.
    Kill,
    /// Any other.
    Other,
}

impl Keyboard {
    /// The keyboard, if standard input is a terminal and this process is in its foreground.
    pub(super) fn open() -> Option<Self> {
        let ours = isatty(stdin()) && tcgetpgrp(stdin()).ok() == Some(rustix::process::getpgrp());
        let before = tcgetattr(stdin()).ok().filter(|_| ours)?;
        let mut single = before.clone();
        single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        single.special_codes[SpecialCodeIndex::VMIN] = 1;
        single.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Now, &single).ok()?;
        let (press, pressed) = mpsc::channel(WAITING_KEYS_MAX);
        // It ends with the process: a read from a terminal can't be called off.
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = std::io::stdin().read(&mut bytes) {
                if let Some(key) = key(&bytes[..count])
                    && press.blocking_send(key).is_err()
                {
                    return;
                }
            }
        });
        Some(Self { before, pressed })
    }

    /// The next key.
    pub(super) async fn key(&mut self) -> Key {
        match self.pressed.recv().await {
            Some(key) => key,
            // The terminal is gone: nobody will press anything.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// What was pressed. An arrow or a function key comes as several bytes that begin with escape, and
/// is one key.
fn key(bytes: &[u8]) -> Option<Key> {
    match bytes {
        [b'\x1b', ..] => Some(Key::Other),
        _ if bytes.iter().any(|byte| matches!(byte, b'k' | b'K')) => Some(Key::Kill),
        _ if bytes.iter().all(u8::is_ascii_whitespace) => None,
        _ => Some(Key::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        for (bytes, expected) in [
            (&b"k"[..], Some(Key::Kill)),
            (b"K", Some(Key::Kill)),
            (b"kkk", Some(Key::Kill)),
            (b"q", Some(Key::Other)),
            (b"\x1b[A", Some(Key::Other)),
            (b"\x1bOk", Some(Key::Other)),
            (b"\n", None),
            ("\u{e4}".as_bytes(), Some(Key::Other)),
        ] {
            assert_eq!(key(bytes), expected, "{bytes:?}");
        }
    }
}
