//! The real binary, killed with SIGKILL before and after each of its outside calls, in turn; then
//! started afresh, and again whenever it said that a date would come, until everything rests. All
//! the while a consumer reads and logs in, and a judge sees every call.

mod judge;
mod plot;
mod sleepers;
mod world;

use tokio::task::JoinSet;

use plot::{Plot, moments, tell, voyage};

/// Voyages at once: most of their time they wait, for a child process that keeps its pace.
const AT_ONCE: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_call_once_goes_on_from_there() {
    let mut total = 0;
    let mut wrong = Vec::new();
    for plot in Plot::ALL {
        let dry = voyage(plot, None).await;
        assert!(dry.violations.is_empty(), "{}", tell(&format!("{plot:?}"), &dry));
        let mut running = JoinSet::new();
        let mut holds = moments(dry.calls.len());
        let mut count = 0;
        let mut processes = 0;
        loop {
            while running.len() < AT_ONCE
                && let Some(hold) = holds.next()
            {
                running.spawn(async move { (hold.clone(), voyage(plot, Some(hold)).await) });
            }
            let Some(done) = running.join_next().await else { break };
            let (hold, ended) = done.unwrap();
            count += 1;
            processes += ended.processes;
            if ended.killed.is_none() || !ended.violations.is_empty() {
                wrong.push(tell(&format!("{plot:?} {hold:?}"), &ended));
            }
        }
        println!(
            "{plot:?}: {} outside calls, killed {count} times (before and after each), {processes} processes",
            dry.calls.len(),
        );
        total += count;
    }
    println!("{total} kills, {} violations", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
