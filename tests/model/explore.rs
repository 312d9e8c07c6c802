//! Visits every state there is, nearest first, and then asks of each whether everything still comes
//! to rest from it without further faults.

use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::config::Config;
use crate::moves::{Out, World};
use crate::world::State;

/// What a run found.
pub struct Report {
    /// The configuration.
    pub name: &'static str,
    /// Distinct states.
    pub states: usize,
    /// Moves between them.
    pub edges: usize,
    /// States at rest.
    pub clean: usize,
    /// Distinct things that `decide` was asked.
    pub decisions: usize,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a run.
pub enum Verdict {
    /// Everything holds everywhere.
    Holds,
    /// Something happened that must not.
    Broken { what: String, trace: Vec<String> },
    /// From some states nothing comes to rest any more.
    Stuck { states: usize, trace: Vec<String> },
    /// There are more states than the configuration has room for.
    Unfinished,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:<66} states {:>9}  edges {:>10}  clean {:>8}  decisions {:>7}  ",
            self.name, self.states, self.edges, self.clean, self.decisions
        )?;
        let steps = |out: &mut fmt::Formatter<'_>, trace: &[String]| {
            trace.iter().enumerate().try_for_each(|(index, line)| write!(out, "\n   {:>2} {line}", index + 1))
        };
        match &self.verdict {
            Verdict::Holds => write!(out, "holds"),
            Verdict::Unfinished => write!(out, "UNFINISHED"),
            Verdict::Broken { what, trace } => {
                write!(out, "BROKEN: {what}")?;
                steps(out, trace)
            }
            Verdict::Stuck { states, trace } => {
                write!(out, "STUCK: {states} states never come to rest; the nearest:")?;
                steps(out, trace)
            }
        }
    }
}

/// Explores one configuration.
pub fn explore(config: &Config) -> Report {
    let (mut world, first) = World::new(config);
    let mut states = vec![first];
    let mut numbers: FxHashMap<State, u32> = FxHashMap::from_iter([(first, 0)]);
    let mut parents = vec![0_u32];
    let mut heals: Vec<(u32, u32)> = Vec::new();
    let mut clean: Vec<u32> = Vec::new();
    let mut edges = 0;
    let mut at = 0;
    let mut verdict = None;
    let mut out = Out { next: Vec::new(), broken: None };
    while at < states.len() {
        if states.len() > config.states_max {
            verdict = Some(Verdict::Unfinished);
            break;
        }
        let state = states[at];
        let number = u32::try_from(at).expect("fewer than 2^32 states");
        if world.clean(&state) {
            clean.push(number);
        }
        out.next.clear();
        world.next(&state, &mut out);
        if let Some((what, complaint)) = out.broken.take() {
            let mut trace = trace(&mut world, &states, &parents, number);
            trace.push(what.to_string());
            verdict = Some(Verdict::Broken { what: complaint, trace });
            break;
        }
        edges += out.next.len();
        for next in &out.next {
            let to = *numbers.entry(next.to).or_insert_with(|| {
                states.push(next.to);
                parents.push(number);
                u32::try_from(states.len() - 1).expect("fewer than 2^32 states")
            });
            if next.heals && to != number {
                heals.push((number, to));
            }
        }
        at += 1;
    }
    let verdict = verdict.unwrap_or_else(|| match stuck(states.len(), &heals, &clean) {
        (0, _) => Verdict::Holds,
        (count, nearest) => Verdict::Stuck { states: count, trace: trace(&mut world, &states, &parents, nearest) },
    });
    let decisions = world.decisions.len();
    Report { name: config.name, states: states.len(), edges, clean: clean.len(), decisions, verdict }
}

/// Visits `count` states and compares some fifty views of AWS among them with what `Secret::new`
/// makes of the same versions; says how many.
pub fn compare_views(config: &Config, count: usize) -> u32 {
    let (mut world, first) = World::new(config);
    let mut states = vec![first];
    let mut known: FxHashSet<State> = FxHashSet::from_iter([first]);
    let mut out = Out { next: Vec::new(), broken: None };
    let mut at = 0;
    while at < states.len() && states.len() < count {
        out.next.clear();
        let state = states[at];
        world.next(&state, &mut out);
        states.extend(out.next.iter().map(|next| next.to).filter(|to| known.insert(*to)));
        at += 1;
    }
    let mut numbers: Vec<u32> = states.iter().map(|state| state.aws).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut compared = 0;
    for &number in numbers.iter().step_by(numbers.len().div_ceil(50)) {
        compared += u32::from(world.lens.agrees_with_engine(&world.aws.get(number)));
    }
    compared
}

/// How many states no path of healing moves leads to rest from, and the nearest of them.
fn stuck(count: usize, heals: &[(u32, u32)], clean: &[u32]) -> (usize, u32) {
    let mut first = vec![0_u32; count + 1];
    for (_, to) in heals {
        first[*to as usize + 1] += 1;
    }
    for index in 0..count {
        first[index + 1] += first[index];
    }
    let mut fill = first.clone();
    let mut sources = vec![0_u32; heals.len()];
    for (from, to) in heals {
        let place = &mut fill[*to as usize];
        sources[*place as usize] = *from;
        *place += 1;
    }
    let mut rests = vec![false; count];
    let mut todo: Vec<u32> = clean.to_vec();
    for state in clean {
        rests[*state as usize] = true;
    }
    while let Some(state) = todo.pop() {
        for source in &sources[first[state as usize] as usize..first[state as usize + 1] as usize] {
            if !rests[*source as usize] {
                rests[*source as usize] = true;
                todo.push(*source);
            }
        }
    }
    let stuck = rests.iter().filter(|rests| !**rests).count();
    let nearest = rests.iter().position(|rests| !rests).unwrap_or(0);
    (stuck, u32::try_from(nearest).expect("fewer than 2^32 states"))
}

/// How a state is reached, told from the beginning.
fn trace(world: &mut World, states: &[State], parents: &[u32], last: u32) -> Vec<String> {
    let mut path = vec![last];
    while path[path.len() - 1] != 0 {
        path.push(parents[path[path.len() - 1] as usize]);
    }
    path.reverse();
    let mut lines = Vec::new();
    let mut out = Out { next: Vec::new(), broken: None };
    for pair in path.windows(2) {
        out.next.clear();
        world.next(&states[pair[0] as usize], &mut out);
        let step = out.next.iter().find(|next| next.to == states[pair[1] as usize]);
        lines.push(step.map_or_else(|| "?".into(), |next| next.what.to_string()));
    }
    lines
}
