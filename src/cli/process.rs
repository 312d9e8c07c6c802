//! The process itself: what it must have before it begins, that no memory of it reaches a disk, and
//! that a bug ends it with a sentence.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Descriptors that any verb needs besides those that it was given: the runtime's own, a declaration,
/// and a few connections.
const SPARE_DESCRIPTOR_COUNT: usize = 24;

/// Keeps secrets out of core files, and out of reach of other processes of the same user.
pub(super) fn forbid_dumps() {
    // Where a sandbox around this process refuses, it goes on: its own limits are the sandbox's matter.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Whether enough files can be opened to begin at all. The runtime would panic otherwise.
///
/// # Errors
/// What the system says.
pub(super) fn can_open_files() -> io::Result<()> {
    let files: io::Result<Vec<File>> = (0..SPARE_DESCRIPTOR_COUNT).map(|_| File::open("/")).collect();
    files.map(drop)
}

/// Set once the process ends: what still runs then has lost its runtime, and panics on that.
static ENDS: AtomicBool = AtomicBool::new(false);

/// From now on a panic is one line in the log. What it says may hold anything, so only its place is
/// told.
pub(super) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if ENDS.load(Ordering::SeqCst) {
            return;
        }
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!("keyferry failed at {place}: this is a bug of keyferry, please report it");
    }));
}

/// The process ends now: nobody waits for what is still under way.
pub(super) fn end() {
    ENDS.store(true, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_core_file_can_be_written() {
        forbid_dumps();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
    }
}
