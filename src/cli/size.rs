//! A number of bytes as Kubernetes writes quantities: `4096`, `16Mi`, `1G`. Whole numbers alone.

/// What a letter multiplies by, the longer ones first (`resource.Quantity`, apimachinery).
const UNITS: &[(&str, u64)] = &[
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
];

/// The number of bytes that a text says, at least one.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .unwrap_or((text, 1));
    // `parse` would take a sign.
    let number = digits
        .bytes()
        .all(|digit| digit.is_ascii_digit())
        .then(|| digits.parse::<u64>().ok()?.checked_mul(unit))
        .flatten();
    match number {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("not a number of bytes, such as 4096, 16Mi or 1G".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        assert_eq!(bytes("1"), Ok(1));
        assert_eq!(bytes("16Ki"), Ok(16 << 10));
        assert_eq!(bytes("64Mi"), Ok(64 << 20));
        assert_eq!(bytes("2G"), Ok(2_000_000_000));
        assert_eq!(bytes("3k"), Ok(3_000));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "0",
            "0Mi",
            "Mi",
            "-1",
            "+1",
            "1.5Mi",
            "1 Mi",
            "1mi",
            "1KiB",
            "many",
            "18446744073709551616",
            "18446744073709551615Ki",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
