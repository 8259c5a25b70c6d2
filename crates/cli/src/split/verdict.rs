//! Whether a split matches the configured one: Pearson's chi-square test.

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF as _};

/// The significance level: a correct split is rejected once in a thousand runs.
const LEAST_P: f64 = 0.001;

/// The result of the test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct ChiSquare {
    /// The statistic; infinite if something impossible was observed.
    #[serde(serialize_with = "finite_or_null")]
    pub(super) chi_square: f64,
    pub(super) degrees_of_freedom: u32,
    pub(super) p_value: f64,
    pub(super) consistent: bool,
}

impl ChiSquare {
    /// Tests counts against shares; `None` if every visitor gets the same result.
    pub(super) fn of(shares: impl Iterator<Item = (f64, u64)> + Clone) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "counts of visitors are far below 2^53")]
        let shares = shares.map(|(configured, observed)| (configured, observed as f64));
        let total: f64 = shares.clone().map(|(_, observed)| observed).sum();
        let (mut statistic, mut places) = (0.0, 0_u32);
        for (configured, observed) in shares {
            let expected = configured * total;
            if expected > 0.0 {
                statistic += (observed - expected).powi(2) / expected;
                places += 1;
            } else if observed > 0.0 {
                statistic = f64::INFINITY;
            }
        }
        let degrees_of_freedom = places.saturating_sub(1);
        let p_value = if statistic.is_infinite() {
            0.0
        } else {
            ChiSquared::new(f64::from(degrees_of_freedom)).ok()?.sf(statistic)
        };
        Some(Self { chi_square: statistic, degrees_of_freedom, p_value, consistent: p_value >= LEAST_P })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn finite_or_null<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.serialize_none() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(shares: &[(f64, u64)]) -> Option<ChiSquare> {
        ChiSquare::of(shares.iter().copied())
    }

    fn is(shares: &[(f64, u64)], statistic: f64, degrees_of_freedom: u32, p_value: f64) -> bool {
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 1e-9;
        test(shares).is_some_and(|found| {
            near(found.chi_square, statistic)
                && found.degrees_of_freedom == degrees_of_freedom
                && near(found.p_value, p_value)
                && found.consistent == (p_value > LEAST_P)
        })
    }

    #[test]
    fn p_values_match_known_ones() {
        // With one degree of freedom the p-value is erfc(sqrt(x / 2)).
        assert!(is(&[(0.5, 5_050), (0.5, 4_950)], 1.0, 1, 0.317_310_507_862_914_15));
        // With two it is exp(-x / 2).
        let statistic = 196.0 / 3.0;
        let shares = [(0.5, 5_400), (0.3, 2_800), (0.2, 1_800)];
        assert!(is(&shares, statistic, 2, (-statistic / 2.0_f64).exp()));
    }

    #[test]
    fn the_impossible_is_never_consistent() {
        let impossible = test(&[(1.0, 100), (0.0, 1)]);
        assert!(impossible.is_some_and(|found| !found.consistent && found.p_value == 0.0));
        let written = impossible.and_then(|found| serde_json::to_value(found).ok());
        assert!(written.is_some_and(|written| written["chi_square"].is_null()));
        assert!(test(&[(1.0, 100)]).is_none());
    }
}
