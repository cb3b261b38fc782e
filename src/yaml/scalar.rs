//! What an unquoted word means, as kubectl understands it.
//!
//! kubectl turns YAML into JSON with goyaml v2, which follows YAML 1.1: `on`, `y` and `0400` are
//! no strings there. The API then takes strings only, so whether a manifest is refused hangs on
//! these rules and not on those of YAML 1.2. They are kept here alone, as plain functions of text
//! (`resolve` of goyaml.v2/resolve.go; `convertToJSONableObject` of sigs.k8s.io/yaml for keys).
//!
//! Numbers are recognised; only a mode's is asked for its value. Dates need no rule: goyaml hands them on as text.

use std::fmt;

/// What a value is, in the words of an error. Never the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// Nothing, `~` or `null`.
    Null,
    /// A boolean in any of YAML 1.1's spellings.
    Boolean,
    /// A whole or broken number in any notation.
    Number,
    /// Tagged `!!binary`.
    Binary,
    /// A string.
    Text,
    /// A list.
    Sequence,
    /// A mapping.
    Mapping,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Binary => "tagged !!binary",
            Self::Text => "a string",
            Self::Sequence => "a list",
            Self::Mapping => "a mapping",
        })
    }
}

/// What a plain scalar is that carries no tag.
pub(crate) fn plain_type(text: &str) -> ValueType {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        ValueType::Null
    } else if boolean(text).is_some() {
        ValueType::Boolean
    } else if is_number(text) {
        ValueType::Number
    } else {
        ValueType::Text
    }
}

/// The boolean that a plain scalar stands for.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// Whether kubectl keeps an unquoted key as it is written. It reads keys like values and writes
/// them anew: `8080` stays, `on` becomes `true` and `0400` becomes `256`.
pub(crate) fn is_kept_as_key(text: &str, value_type: ValueType) -> bool {
    match value_type {
        ValueType::Text => true,
        ValueType::Boolean => matches!(text, "true" | "false"),
        ValueType::Number => {
            text.parse::<i64>().is_ok_and(|n| n.to_string() == text)
                || text.parse::<u64>().is_ok_and(|n| n.to_string() == text)
                || is_short_fraction(text)
        }
        ValueType::Null | ValueType::Binary | ValueType::Sequence | ValueType::Mapping => false,
    }
}

/// Whether Go's `FormatFloat(v, 'g', -1, 32)` gives back this text, in the range where it writes
/// no exponent.
fn is_short_fraction(text: &str) -> bool {
    text.parse::<f32>()
        .is_ok_and(|n| (1e-4..1e6).contains(&n.abs()) && n.to_string() == text)
}

fn is_number(text: &str) -> bool {
    if matches!(
        text.trim_start_matches(['+', '-']),
        ".inf" | ".Inf" | ".INF"
    ) {
        return text.len() <= "+.inf".len();
    }
    match text.as_bytes().first() {
        Some(b'.') => matches!(text, ".nan" | ".NaN" | ".NAN") || is_float(text),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let plain = text.replace('_', "");
            is_integer(&plain) || is_float(&plain)
        }
        _ => false,
    }
}

/// Go's `ParseInt` with base 0, then `ParseUint`, then a big integer where no sign forbids it.
fn is_integer(text: &str) -> bool {
    let signed = text.starts_with(['+', '-']);
    digits(text)
        .is_some_and(|(radix, digits)| !signed || signed_value(text, radix, digits).is_some())
}

/// The radix and digits of a whole number.
fn digits(text: &str) -> Option<(u32, &str)> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    let are_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    are_digits.then_some((radix, digits))
}

fn signed_value(text: &str, radix: u32, digits: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// The value of a whole number that fits: `0400` is octal, `1_000` is a thousand. Nothing for a
/// broken number, be it one by its value or by its digits (`0800`).
pub(crate) fn integer(text: &str) -> Option<i64> {
    let plain = text.replace('_', "");
    let (radix, digits) = digits(&plain)?;
    signed_value(&plain, radix, digits)
}

/// goyaml's `yamlStyleFloat`, within the range of a double.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |s: &str| s.bytes().all(|c| c.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    let exponent_is_right = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    has_digits
        && digits(whole)
        && digits(fraction)
        && exponent_is_right
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_goyaml_takes_them_for() {
        let table = [
            (ValueType::Null, "~ null Null NULL"),
            (ValueType::Boolean, "y N yes No ON off true False TRUE"),
            (
                ValueType::Number,
                "0 8080 -1 +1 0400 0800 0x10 0XFF 0b101 0o17 1_000 1e3 1E+3 1.5 1. .5 -.5 .5e-3 \
                 1.e5 0x1_F -0x10 12__3 99999999999999999999 0xffffffffffffffffffff \
                 -99999999999999999999 .inf -.Inf +.INF .nan .NaN 00 685_230.15",
            ),
            (
                ValueType::Text,
                "nUll tRue yEs 2026-01-01 2026-01-01T10:00:00Z 1:20 1.2.3 0x 0b 0b2 0o8 _1 . .. \
                 -.nan ++.inf 1e 1e999 e3 0xg 1.5.5 - + -- .e5 ._5 1k 10.0.0.1 inf nan Infinity \
                 -0xffffffffffffffffff << = 0x1p4 -a 1-2",
            ),
        ];
        for (value_type, words) in table {
            for word in words.split_whitespace() {
                assert_eq!(plain_type(word), value_type, "{word}");
            }
        }
        assert_eq!(plain_type(""), ValueType::Null);
        assert_eq!(plain_type("yes please"), ValueType::Text);
    }

    #[test]
    fn whole_numbers_have_the_value_that_goyaml_reads() {
        for (text, value) in [
            ("0400", Some(0o400)),
            ("0o400", Some(0o400)),
            ("256", Some(256)),
            ("0x1fF", Some(511)),
            ("0b11", Some(3)),
            ("+1_0", Some(10)),
            ("-0400", Some(-256)),
            ("0", Some(0)),
            ("00", Some(0)),
            ("0800", None),
            ("1.0", None),
            ("1e3", None),
            (".inf", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(integer(text), value, "{text}");
        }
    }

    #[test]
    fn keys_that_kubectl_would_rewrite_are_known() {
        for (key, kept) in [
            ("8080", true),
            ("-1", true),
            ("18446744073709551615", true),
            ("true", true),
            ("1.5", true),
            ("app.yaml", true),
            ("on", false),
            ("y", false),
            ("0400", false),
            ("+1", false),
            ("0x10", false),
            ("1e3", false),
            ("1.0", false),
            ("1.50", false),
            ("1234567.5", false),
            (".5", false),
            ("~", false),
        ] {
            assert_eq!(is_kept_as_key(key, plain_type(key)), kept, "{key}");
        }
    }
}
