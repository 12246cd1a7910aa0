//! Which values a setting may have.

use std::ops::RangeInclusive;

use crate::telemetry;

/// The values that are allowed for a setting of type `T`.
pub trait Check<T> {
    /// The allowed values, for help and documentation: `1 to 60`.
    fn allowed(&self) -> String;

    /// What is wrong with a value, to follow it in a sentence: `is not between 1 and 60`.
    fn problem(&self, value: &T) -> Option<String>;
}

impl Check<u32> for RangeInclusive<u32> {
    fn allowed(&self) -> String {
        format!("{} to {}", self.start(), self.end())
    }

    fn problem(&self, value: &u32) -> Option<String> {
        (!self.contains(value)).then(|| format!("is not between {} and {}", self.start(), self.end()))
    }
}

/// A power of two in this range.
pub struct PowerOfTwo(pub RangeInclusive<u32>);

impl Check<u32> for PowerOfTwo {
    fn allowed(&self) -> String {
        format!("a power of two, {}", self.0.allowed())
    }

    fn problem(&self, value: &u32) -> Option<String> {
        if let Some(problem) = self.0.problem(value) {
            return Some(problem);
        }
        let below = 1_u32 << value.checked_ilog2().unwrap_or_default();
        (!value.is_power_of_two())
            .then(|| format!("is not a power of two: {below} and {} are", below.saturating_mul(2)))
    }
}

/// A share of a whole, in percent.
pub struct Percent;

impl Check<f64> for Percent {
    fn allowed(&self) -> String {
        "above 0, at most 100".to_owned()
    }

    fn problem(&self, value: &f64) -> Option<String> {
        (!(*value > 0.0 && *value <= 100.0)).then(|| "is not above 0 and at most 100".to_owned())
    }
}

/// A list of ports, at most so many.
pub struct Ports(pub usize);

impl Check<Vec<u16>> for Ports {
    fn allowed(&self) -> String {
        format!("at most {} ports", self.0)
    }

    fn problem(&self, value: &Vec<u16>) -> Option<String> {
        (value.len() > self.0 || value.contains(&0))
            .then(|| format!("has a port 0, or more than {} ports", self.0))
    }
}

/// A list of at most so many entries.
pub struct AtMost(pub u32);

impl<T> Check<Vec<T>> for AtMost {
    fn allowed(&self) -> String {
        format!("at most {} entries", self.0)
    }

    fn problem(&self, value: &Vec<T>) -> Option<String> {
        (value.len() > self.0 as usize).then(|| format!("is longer than {}", self.0))
    }
}

/// A log filter.
pub struct LogFilter;

impl Check<String> for LogFilter {
    fn allowed(&self) -> String {
        "levels, also by target: target=level,…".to_owned()
    }

    fn problem(&self, value: &String) -> Option<String> {
        let error = telemetry::parse_filter(value).err()?;
        Some(format!("is not a log filter such as `info,tcp_events=debug`: {error}"))
    }
}
