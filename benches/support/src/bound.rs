//! The bound that a figure is held against, and measuring again where noise may have missed it.

use std::fmt;

/// The values of a figure that keep its promise.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// No less than the first and no more than the second.
    Within(f64, f64),
}

impl Bound {
    /// Returns whether `figure` keeps the promise; one that is no number does not.
    pub fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
            Self::Within(least, most) => (least..=most).contains(&figure),
        }
    }

    /// Returns whether `figure` is nearer to the promise than `other`.
    fn prefers(self, figure: f64, other: f64) -> bool {
        match self {
            Self::AtMost(_) => figure < other,
            Self::AtLeast(_) => figure > other,
            Self::Within(..) => self.holds(figure) && !self.holds(other),
        }
    }
}

/// Shows three digits behind the point at most.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bound: &f64| (bound * 1_000.0).round() / 1_000.0;
        match self {
            Self::AtMost(most) => write!(f, "at most {}", short(most)),
            Self::AtLeast(least) => write!(f, "at least {}", short(least)),
            Self::Within(least, most) => write!(f, "{} to {}", short(least), short(most)),
        }
    }
}

/// Measures until `figure` of the result keeps `bound`, `times` times at most, and returns the best result.
///
/// Everything else that runs on the machine only makes a figure worse, so the best one counts. Measures once
/// if there is no bound.
pub fn best<T>(
    times: usize,
    bound: Option<Bound>,
    figure: impl Fn(&T) -> f64,
    mut measure: impl FnMut() -> T,
) -> T {
    let mut best = measure();
    let Some(bound) = bound else { return best };
    for _ in 1..times {
        if bound.holds(figure(&best)) {
            break;
        }
        let again = measure();
        if bound.prefers(figure(&again), figure(&best)) {
            best = again;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_until_the_bound_is_kept_and_returns_the_best() {
        let run = |times, bound, figures: &[f64]| {
            let mut figures = figures.iter().copied();
            let best = best(times, bound, |figure| *figure, || figures.next().unwrap());
            (best, figures.count())
        };
        assert_eq!(run(3, None, &[9.0, 1.0]), (9.0, 1));
        assert_eq!(run(3, Some(Bound::AtMost(2.0)), &[2.0, 1.0]), (2.0, 1));
        assert_eq!(run(3, Some(Bound::AtMost(2.0)), &[5.0, 3.0, 4.0, 1.0]), (3.0, 1));
        assert_eq!(run(3, Some(Bound::AtLeast(2.0)), &[1.0, 1.5, 2.5, 9.0]), (2.5, 1));
    }
}
