//! Quantities as Kubernetes writes them: `100m`, `1.5Gi`, `128e6` (`ParseQuantity`, apimachinery
//! `resource/quantity.go`).
//!
//! Exact down to a billionth, which is as fine as the API keeps them. Written here because nothing
//! more than reading and dividing is needed of them.

use std::fmt;

use thiserror::Error;

/// One, in billionths.
const ONE: i128 = 1_000_000_000;
/// The most that a quantity with a binary suffix can be (`maxAllowed`).
const MOST_BINARY: i128 = i64::MAX as i128 * ONE;

/// How many of something there are. Shown in base units without a suffix: `0.1`, `134217728`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    nanos: i128,
    form: Form,
}

/// How it was written. The API keeps to that when it writes it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `100m`, `5`, `2k`
    Decimal,
    /// `2e3`
    Exponent,
    /// `2Ki`
    Binary,
}

impl Quantity {
    /// None of it.
    pub const ZERO: Self = Self {
        nanos: 0,
        form: Form::Decimal,
    };

    /// Reads one. What is finer than a billionth is rounded away from zero.
    ///
    /// # Errors
    ///
    /// It is no quantity as the API writes one, or larger than can be counted here.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        let (whole, broken) = number.split_once('.').unwrap_or((number, ""));
        let digits = [whole, broken].concat();
        if digits.is_empty() || digits.contains('.') {
            return Err(QuantityError::Format);
        }
        let Unit { form, tens, twos } = Unit::of(suffix)?;
        let mut nanos = if digits.bytes().all(|digit| digit == b'0') {
            0 // Whatever the unit is.
        } else {
            let places = i32::try_from(broken.len()).map_err(|_| QuantityError::TooLarge)?;
            let whole = digits.parse::<i128>().ok();
            whole
                .and_then(|digits| digits.checked_mul(1 << twos))
                .and_then(|all| shifted(all, tens.checked_sub(places)?.checked_add(9)?))
                .ok_or(QuantityError::TooLarge)?
        };
        if form == Form::Binary {
            nanos = nanos.min(MOST_BINARY);
        }
        Ok(Self {
            nanos: if text.starts_with('-') { -nanos } else { nanos },
            // Less than one has no binary form.
            form: match form {
                Form::Binary if nanos < ONE => Form::Decimal,
                form => form,
            },
        })
    }

    /// In billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// Whether the API would write it with a 1, then nothing or one unit: `1`, `1k`, `1Mi`, `1m`.
    pub(super) fn is_one_unit(self) -> bool {
        let powers_of = |base: i128| {
            std::iter::successors(Some(ONE), move |power| power.checked_mul(base)).take(7)
        };
        match self.form {
            Form::Decimal => self.nanos == ONE / 1000 || powers_of(1000).any(|p| p == self.nanos),
            Form::Exponent => self.nanos == ONE,
            Form::Binary => powers_of(1024).any(|p| p == self.nanos),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let (whole, broken) = (self.nanos.abs() / ONE, self.nanos.abs() % ONE);
        if broken == 0 {
            return write!(f, "{sign}{whole}");
        }
        let broken = format!("{broken:09}");
        write!(f, "{sign}{whole}.{}", broken.trim_end_matches('0'))
    }
}

/// What a suffix stands for.
struct Unit {
    form: Form,
    /// The power of ten to multiply with.
    tens: i32,
    /// The power of two to multiply with.
    twos: u32,
}

impl Unit {
    fn of(suffix: &str) -> Result<Self, QuantityError> {
        let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        if let Some(at) = (-3..).zip(decimal).find(|(_, unit)| *unit == suffix) {
            return Ok(Self {
                form: Form::Decimal,
                tens: 3 * at.0,
                twos: 0,
            });
        }
        if let Some(at) = (1..).zip(binary).find(|(_, unit)| *unit == suffix) {
            return Ok(Self {
                form: Form::Binary,
                tens: 0,
                twos: 10 * at.0,
            });
        }
        let exponent = suffix
            .strip_prefix(['e', 'E'])
            .ok_or(QuantityError::Format)?;
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        let tens = exponent.parse().map_err(|_| QuantityError::TooLarge)?;
        Ok(Self {
            form: Form::Exponent,
            tens,
            twos: 0,
        })
    }
}

/// A positive number times a power of ten, rounded up; nothing where it is too large.
fn shifted(number: i128, tens: i32) -> Option<i128> {
    let power = 10_i128.checked_pow(tens.unsigned_abs());
    if tens >= 0 {
        number.checked_mul(power?)
    } else {
        // Divided by more than there can be, something is left all the same.
        Some(power.map_or(1, |power| (number - 1) / power + 1))
    }
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// It is not written as one.
    #[error("a quantity is a number with a suffix such as m, k, Mi or e3, or none")]
    Format,
    /// It has more digits than are kept.
    #[error("a quantity of more digits than a computer has things to count")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What apimachinery's `ParseQuantity` makes of each.
    #[test]
    fn quantities_are_read_as_the_api_reads_them() {
        for (text, shown) in [
            ("0", "0"),
            ("00", "0"),
            ("0e99", "0"),
            ("5", "5"),
            ("+5", "5"),
            ("-5", "-5"),
            ("-1500m", "-1.5"),
            ("100m", "0.1"),
            ("0.1", "0.1"),
            (".5", "0.5"),
            ("1.", "1"),
            ("250u", "0.00025"),
            ("7n", "0.000000007"),
            ("1k", "1000"),
            ("1M", "1000000"),
            ("1G", "1000000000"),
            ("1T", "1000000000000"),
            ("1P", "1000000000000000"),
            ("1E", "1000000000000000000"),
            ("1Ki", "1024"),
            ("128Mi", "134217728"),
            ("1.5Gi", "1610612736"),
            ("1Ti", "1099511627776"),
            ("1Pi", "1125899906842624"),
            ("1Ei", "1152921504606846976"),
            ("128e6", "128000000"),
            ("128E6", "128000000"),
            ("12e-1", "1.2"),
            ("12e+1", "120"),
            ("128974848000m", "128974848"),
            // Finer than a billionth is rounded away from zero.
            ("0.1n", "0.000000001"),
            ("1e-99", "0.000000001"),
            ("-1.1n", "-0.000000002"),
            ("0.3Ki", "307.2"),
            // The API's own bound, for binary suffixes alone.
            ("16Ei", "9223372036854775807"),
            ("16E", "16000000000000000000"),
        ] {
            let read = Quantity::parse(text).map(|quantity| quantity.to_string());
            assert_eq!(read.as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", "+", "-", ".", "a", "m", "Ki", "1K", "1ki", "1mi", "1g", "1ni", "1 k", " 1",
            "1.2.3", "1..2", "--1", "1e", "1e+", "1e1k", "1ee1", "1_000", "0x10", "1µ", "٣", "1,5",
        ] {
            assert_eq!(
                Quantity::parse(text),
                Err(QuantityError::Format),
                "{text:?}"
            );
        }
        for text in [
            "1e40",
            "1e99999999999",
            &"9".repeat(50),
            "99999999999999999999999999999E",
        ] {
            assert_eq!(
                Quantity::parse(text),
                Err(QuantityError::TooLarge),
                "{text}"
            );
        }
    }
}
