//! What happens in a world, drawn from its seed: an ordered list, so that a failing one can be
//! shortened by leaving events out.

use std::time::Duration;

use crate::net::Trouble;
use crate::time::{DAY, HOUR, MINUTE};

/// Who is meant, counted round whatever there is.
pub type Which = usize;

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event {
    /// A service is in trouble for a while.
    Trouble(Which, Trouble, Duration),
    /// A daemon is started in this place, if none runs there.
    Start(usize),
    /// It is killed at one of its next writes, before or after that is applied.
    Crash(usize, u32, bool),
    /// It is killed at this moment.
    Kill(usize),
    /// SIGTERM.
    Stop(usize),
    /// It reads the declaration again.
    Reload(usize),
    /// A person types `once`.
    Once,
    /// A person types `rotate`, perhaps with `--leaked`.
    Rotate(Which, bool),
    /// The declaration names another application, or another zone.
    Move(Which, bool),
    /// It says `state = "retired"`.
    Retire(Which),
    /// It has another interval.
    Reschedule(Which, u64),
    /// The machine of all processes is suspended.
    Suspend(Duration),
    /// Terraform takes all `keyferry:` tags off.
    StripTags(Which),
    /// A person takes labels of this kind off.
    StripLabel(Which, Strip),
    /// A person moves AWSCURRENT back in AWS's console.
    MoveBack(Which),
    /// A person schedules a secret for deletion.
    Delete(Which),
    /// And restores it.
    Restore(Which),
    /// A person ends a credential in the vendor's console: the newest, or the oldest.
    EndAtVendor(Which, bool),
    /// An application is deleted and made again under its name.
    Recreate(Which),
    /// Somebody else makes a credential in a place of ours.
    Foreign(Which),
    /// A pause of so many hours.
    Pause(Which, u64),
    /// `keyferry confirm`.
    Confirm(Which),
    /// A person accepts what is current: `keyferry resume --accept`.
    Accept(Which),
    /// A person types `adopt`, for a secret that was there before.
    Adopt(Which),
}

/// Labels that people take off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strip {
    /// `kf-cred` of the previous version.
    LeaseOfPrevious,
    /// `kf-cred` of the current version.
    LeaseOfCurrent,
    /// Every `kf-open`.
    Open,
    /// AWSPREVIOUS.
    Previous,
}

/// How wild a world is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// Nothing happens but what the calendar brings.
    Quiet,
    /// Services and processes fail.
    Faults,
    /// People and vendors interfere.
    People,
    /// All of it.
    Wild,
}

/// A world's schedule: days in which things happen. After them it is quiet.
pub const BUSY: Duration = Duration::from_secs(4 * 86_400);

/// Draws the events.
pub fn drawn(dice: &mut fastrand::Rng) -> (Mood, Vec<(Duration, Event)>) {
    let mood =
        [Mood::Quiet, Mood::Faults, Mood::Faults, Mood::People, Mood::People, Mood::Wild, Mood::Wild, Mood::Wild]
            [dice.usize(..8)];
    let mut events = vec![(Duration::ZERO, Event::Start(0))];
    if mood != Mood::Quiet && dice.usize(..3) == 0 {
        events.push((within(dice, DAY), Event::Start(1)));
    }
    let count = match mood {
        Mood::Quiet => dice.usize(..3),
        _ => dice.usize(3..14),
    };
    for _ in 0..count {
        let at = within(dice, BUSY);
        draw_one(mood, at, dice, &mut events);
    }
    events.sort_by_key(|(at, _)| *at);
    (mood, events)
}

fn draw_one(mood: Mood, at: Duration, dice: &mut fastrand::Rng, events: &mut Vec<(Duration, Event)>) {
    let which = dice.usize(..8);
    let kind = match mood {
        Mood::Quiet => 20 + dice.usize(..6),
        Mood::Faults => dice.usize(..26),
        Mood::People => 20 + dice.usize(..33),
        Mood::Wild => dice.usize(..53),
    };
    let event = match kind {
        0..=9 => {
            let trouble = Trouble::ALL[dice.usize(..Trouble::ALL.len())];
            Event::Trouble(which, trouble, span(dice))
        }
        10..=12 => Event::Crash(dice.usize(..2), dice.u32(..12), dice.bool()),
        13 => Event::Kill(dice.usize(..2)),
        14 => Event::Suspend([MINUTE, 5 * MINUTE, 16 * MINUTE, HOUR, 7 * HOUR][dice.usize(..5)]),
        15 => Event::Stop(dice.usize(..2)),
        16..=19 => Event::Once,
        20..=21 => Event::Rotate(which, false),
        22..=23 => Event::Rotate(which, true),
        24 => Event::Reschedule(which, dice.u64(..40)),
        25 => Event::Confirm(which),
        26..=29 => Event::Move(which, dice.usize(..3) == 0),
        30 => Event::Retire(which),
        31..=33 => Event::StripTags(which),
        34..=35 => Event::StripLabel(which, Strip::LeaseOfPrevious),
        36 => Event::StripLabel(which, Strip::LeaseOfCurrent),
        37 => Event::StripLabel(which, Strip::Open),
        38 => Event::StripLabel(which, Strip::Previous),
        39..=40 => Event::MoveBack(which),
        48 => Event::Accept(which),
        41 => {
            events.push((at + span(dice), Event::Restore(which)));
            Event::Delete(which)
        }
        42..=43 => Event::EndAtVendor(which, dice.bool()),
        44..=45 => Event::Recreate(which),
        46..=47 => Event::Foreign(which),
        49 => Event::Pause(which, dice.u64(1..30)),
        50..=51 => Event::Adopt(which),
        _ => Event::Once,
    };
    if matches!(event, Event::Move(..) | Event::Retire(_) | Event::Reschedule(..)) {
        // The second replica hears of an edit later, or never.
        events.push((at + MINUTE, Event::Reload(0)));
        if dice.bool() {
            events.push((at + span(dice), Event::Reload(1)));
        }
    }
    if matches!(event, Event::Crash(..) | Event::Kill(_) | Event::Stop(_)) {
        let place = dice.usize(..2);
        events.push((at + span(dice), Event::Start(place)));
    }
    if matches!(event, Event::Rotate(..)) && dice.bool() {
        // Something happens while it is under way.
        let moment = at + Duration::from_millis(dice.u64(..4_000));
        let crash = Event::Crash(0, dice.u32(..5), dice.bool());
        events.push((moment, if dice.bool() { crash } else { Event::Once }));
    }
    events.push((at, event));
}

fn within(dice: &mut fastrand::Rng, span: Duration) -> Duration {
    Duration::from_millis(dice.u64(..u64::try_from(span.as_millis()).unwrap()))
}

fn span(dice: &mut fastrand::Rng) -> Duration {
    let most = [10 * MINUTE, HOUR, 6 * HOUR, DAY][dice.usize(..4)];
    within(dice, most)
}
