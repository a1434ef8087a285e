//! The last hour of the busiest throttles, for the live page.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};

use serde_json::{Value, json};
use traffik::web::Tally;

use crate::live::totals::{Point, Totals};
use crate::throttles::pipeline::ThrottleControl;

/// Most throttles whose hour is kept.
const MOST: usize = 100;

/// The points of an hour.
const POINTS: usize = 360;

/// The ticks of a point: one a second.
pub(super) const TICKS: u64 = 10;

/// The hour takes no more memory than this, however many throttles there are: 100 * 360 * 20 bytes.
const LARGEST: usize = 720_000;
const _: () = assert!(MOST * POINTS * size_of::<Point>() <= LARGEST, "the hour has to stay small");

/// The last hour of the busiest throttles.
#[derive(Default)]
pub(super) struct Hour {
    tracks: Vec<Track>,
    uses: Uses,
}

/// The last hour of a throttle.
struct Track {
    uid: String,
    /// The counts at the end of the last point, and now.
    start: Totals,
    now: Totals,
    /// The points, oldest first.
    points: VecDeque<Point>,
}

impl Hour {
    /// Notes the counts of the busiest throttles. `number` is that of the tick, from 1.
    pub(super) fn tick(&mut self, number: u64, controls: &Arc<Vec<ThrottleControl>>, tally: &Tally) {
        let is_new = self.uses.scan(controls, tally);
        let is_point = number.is_multiple_of(TICKS);
        for track in &mut self.tracks {
            track.now = Totals::of(&track.uid, tally);
            // A point begins where the one before ended, so no request is in two of them or in none.
            if is_point {
                // Room for one more than the hour would double the memory.
                if track.points.len() == POINTS {
                    track.points.pop_front();
                }
                track.points.push_back(Point::between(&track.start, &track.now));
                track.start = track.now.clone();
            }
        }
        if is_new || is_point {
            self.choose(controls, tally);
        }
    }

    /// Tracks the busiest throttles. Of equally busy ones, those that are tracked already stay.
    fn choose(&mut self, controls: &[ThrottleControl], tally: &Tally) {
        let mut known = std::mem::take(&mut self.tracks);
        let mut order: Vec<_> = controls.iter().enumerate().collect();
        if order.len() > MOST {
            let uids: HashSet<_> = known.iter().map(|track| &track.uid).collect();
            let rank = |at: usize, uid: &String| (Reverse(self.uses.busyness(at)), !uids.contains(uid));
            order.sort_by_cached_key(|(at, control)| rank(*at, &control.uid));
            order.truncate(MOST);
            // Throttles keep their order, so that they do not jump about on the page.
            order.sort_unstable_by_key(|(at, _)| *at);
        }
        for (_, control) in order {
            let found = known.iter().position(|track| track.uid == control.uid);
            let track = found.map(|at| known.swap_remove(at));
            self.tracks.push(track.unwrap_or_else(|| Track::new(&control.uid, tally)));
        }
    }

    /// Returns the number of throttles that are not tracked.
    pub(super) fn others(&self) -> usize {
        self.uses.last.len().saturating_sub(self.tracks.len())
    }

    /// Returns the counts of each tracked throttle, the point under way, and the point that ended just now.
    pub(super) fn sample(&self, number: u64) -> Vec<Value> {
        let sample = |track: &Track| {
            let mut sample = track.now.json(&track.uid);
            if let Some(sample) = sample.as_object_mut() {
                sample.insert("now".to_owned(), Point::between(&track.start, &track.now).json());
                let last = track.points.back().filter(|_| number.is_multiple_of(TICKS));
                sample.extend(last.map(|point| ("point".to_owned(), point.json())));
            }
            sample
        };
        self.tracks.iter().map(sample).collect()
    }

    /// Returns all points of each tracked throttle.
    pub(super) fn json(&self, number: u64) -> String {
        let hour = |track: &Track| json!({ "uid": track.uid, "points": track.points.iter().map(Point::json).collect::<Vec<_>>() });
        json!({ "number": number, "throttles": self.tracks.iter().map(hour).collect::<Vec<_>>() }).to_string()
    }
}

impl Track {
    fn new(uid: &str, tally: &Tally) -> Self {
        let start = Totals::of(uid, tally);
        Self { uid: uid.to_owned(), now: start.clone(), start, points: VecDeque::with_capacity(POINTS) }
    }
}

/// The recent use of every throttle.
#[derive(Default)]
struct Uses {
    /// The throttles that the other fields belong to. A weak pointer keeps none of them alive.
    controls: Weak<Vec<ThrottleControl>>,
    last: Vec<Use>,
    /// The place of the next throttle to look at.
    next: usize,
}

/// The recent use of a throttle.
#[derive(Clone, Default)]
struct Use {
    /// Number of all checks so far; `None` before the first look.
    total: Option<u64>,
    /// The checks between two looks, of which each further look takes an eighth away.
    recent: u64,
}

impl Uses {
    /// Looks at a tenth of the throttles, so that ten thousand of them cost a thousand lookups a second.
    /// Returns whether the throttles are others than before.
    fn scan(&mut self, controls: &Arc<Vec<ThrottleControl>>, tally: &Tally) -> bool {
        let is_new = !Weak::ptr_eq(&self.controls, &Arc::downgrade(controls));
        if is_new {
            let last = vec![Use::default(); controls.len()];
            *self = Self { controls: Arc::downgrade(controls), last, next: 0 };
        }
        let each = controls.len().div_ceil(TICKS as usize);
        for (control, it) in controls.iter().zip(&mut self.last).skip(self.next).take(each) {
            // One lookup finds all checks of a throttle; its counts by outcome would take seven.
            let total = tally.check_times(&control.uid).iter().map(|(_, count)| count).sum::<u64>();
            let more = total.saturating_sub(it.total.unwrap_or(total));
            // An eighth each ten seconds: a burst fades within a minute or two, and a steady throttle stays.
            *it = Use { total: Some(total), recent: it.recent - it.recent / 8 + more };
        }
        self.next = if self.next + each < controls.len() { self.next + each } else { 0 };
        is_new
    }

    fn busyness(&self, at: usize) -> u64 {
        self.last.get(at).map_or(0, |it| it.recent)
    }
}
