//! The spread of the values of one figure.

/// The median and the quartiles of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    /// A quarter of the values is below.
    pub(crate) quarter: f64,
    pub(crate) median: f64,
    /// A quarter of the values is above.
    pub(crate) three_quarters: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// The spread of `values`, which must not be empty.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        // The value at `quarters` quarters of the way from the first to the last value; between two values, their weighted mean.
        let at = |quarters: usize| {
            let way = (sorted.len() - 1) * quarters;
            let (below, rest) = (way / 4, way % 4);
            let above = (below + 1).min(sorted.len() - 1);
            let share = [0.0, 0.25, 0.5, 0.75][rest];
            sorted[below] * (1.0 - share) + sorted[above] * share
        };
        Self { low: at(0), quarter: at(1), median: at(2), three_quarters: at(3), high: at(4) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_of_values_lies_between_two() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]);
        let expected = Spread { low: 1.0, quarter: 1.75, median: 2.5, three_quarters: 3.25, high: 4.0 };
        assert_eq!(spread, expected);
    }

    #[test]
    fn one_value_is_all_of_it() {
        let expected = Spread { low: 7.0, quarter: 7.0, median: 7.0, three_quarters: 7.0, high: 7.0 };
        assert_eq!(Spread::of(&[7.0]), expected);
    }
}
