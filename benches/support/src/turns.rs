//! Contenders that take turns, so that everything else that runs on the machine meets all of them alike.

/// A name, and a function that runs one round on an input and returns its figure.
pub type Contender<'a, I> = (&'a str, Box<dyn FnMut(&I) -> f64 + 'a>);

/// Runs `rounds` rounds, each of all contenders in turn on an input of its own: the median figure of each.
pub fn race<I, const N: usize>(
    rounds: usize,
    contenders: &mut [Contender<'_, I>; N],
    mut input: impl FnMut() -> I,
) -> [f64; N] {
    let mut figures = [const { Vec::new() }; N];
    for _ in 0..rounds {
        let input = input();
        for ((_, run), figures) in contenders.iter_mut().zip(&mut figures) {
            figures.push(run(&input));
        }
    }
    figures.map(median)
}

/// The median figure of each of two, and the median of their ratios round by round.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Median of the first.
    pub one: f64,
    /// Median of the second.
    pub other: f64,
    /// Median of the first over the second.
    pub ratio: f64,
}

/// Runs `rounds` rounds of two, one right after the other, and pairs each of the figures that they return.
pub fn pairs<const N: usize>(
    rounds: usize,
    mut one: impl FnMut() -> [f64; N],
    mut other: impl FnMut() -> [f64; N],
) -> [Pair; N] {
    let mut figures: [[Vec<f64>; 3]; N] = [const { [const { Vec::new() }; 3] }; N];
    for _ in 0..rounds {
        let (one, other) = (one(), other());
        for (([ones, others, ratios], one), other) in figures.iter_mut().zip(one).zip(other) {
            ones.push(one);
            others.push(other);
            ratios.push(one / other);
        }
    }
    figures.map(|figures| {
        let [one, other, ratio] = figures.map(median);
        Pair { one, other, ratio }
    })
}

/// Returns the median of the figures, the upper one of two; no number if there are none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_judged_round_by_round() {
        let (mut one, mut other) = ([1.0, 8.0, 3.0].into_iter(), [2.0, 4.0, 2.0].into_iter());
        let [pair] = pairs(3, || [one.next().unwrap()], || [other.next().unwrap()]);
        assert_eq!((pair.one, pair.other, pair.ratio), (3.0, 2.0, 1.5));
    }

    #[test]
    fn each_round_has_one_input_for_all_contenders() {
        let mut contenders: [Contender<'_, f64>; 2] =
            [("same", Box::new(|input| *input)), ("double", Box::new(|input| 2.0 * input))];
        let mut round = 0.0;
        let medians = race(3, &mut contenders, || {
            round += 1.0;
            round
        });
        assert_eq!(medians, [2.0, 4.0]);
    }
}
