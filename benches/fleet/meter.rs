//! Wall time, CPU time and memory, as Linux tells them.

use std::fs;
use std::ops::Add;
use std::time::Duration;

use keyferry::clock::HostClock;
use keyferry::model::time::Clock;

/// What something took.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    pub wall: Duration,
    pub cpu: Duration,
}

impl Spent {
    /// The share of each of `count`.
    pub fn each(self, count: u32) -> Self {
        Self { wall: self.wall / count, cpu: self.cpu / count }
    }
}

impl Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

#[derive(Clone, Copy)]
enum Whose {
    Process(u32),
    EndedChildren,
}

/// Counts from its making on.
pub struct Meter {
    clock: HostClock,
    whose: Whose,
    cpu: Duration,
}

impl Meter {
    pub fn of_this_process() -> Self {
        Self::of_process(std::process::id())
    }

    pub fn of_process(id: u32) -> Self {
        Self::new(Whose::Process(id))
    }

    /// Of child processes that were waited for; their CPU is told in steps of 10 ms.
    pub fn of_ended_children() -> Self {
        Self::new(Whose::EndedChildren)
    }

    fn new(whose: Whose) -> Self {
        Self { clock: HostClock::real(), whose, cpu: cpu(whose) }
    }

    pub fn spent(&self) -> Spent {
        Spent { wall: self.clock.monotonic(), cpu: cpu(self.whose).saturating_sub(self.cpu) }
    }
}

fn cpu(whose: Whose) -> Duration {
    match whose {
        // proc(5), schedstat: nanoseconds on a CPU, of each thread that still runs.
        Whose::Process(id) => {
            let threads = fs::read_dir(format!("/proc/{id}/task")).expect("the process runs");
            let of_thread = |text: String| text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
            let schedstats = threads.flatten().filter_map(|one| fs::read_to_string(one.path().join("schedstat")).ok());
            Duration::from_nanos(schedstats.filter_map(of_thread).sum())
        }
        // proc(5), stat: fields 16 and 17, in hundredths of a second.
        Whose::EndedChildren => {
            let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
            let (_, fields) = stat.rsplit_once(") ").expect("the name of the program stands in parentheses");
            let ticks = fields.split(' ').skip(13).take(2).map(|text| text.parse::<u64>().expect("it is a number"));
            Duration::from_millis(10 * ticks.sum::<u64>())
        }
    }
}

pub struct Memory {
    pub now_mib: f64,
    pub peak_mib: f64,
}

/// Resident memory of a process.
pub fn memory(id: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process runs");
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("Linux tells it");
        let number: u32 = line.trim().trim_end_matches(" kB").parse().expect("it is a number");
        f64::from(number) / 1024.0
    };
    Memory { now_mib: kib("VmRSS:"), peak_mib: kib("VmHWM:") }
}
