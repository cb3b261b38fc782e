//! What objects and namespaces may be called (apimachinery `IsDNS1123Subdomain`, `IsDNS1123Label`).

/// A DNS subdomain (RFC 1123), which is what an object may be called.
pub(crate) fn subdomain(name: &str) -> Result<(), &'static str> {
    if name.len() > 253 {
        Err("it has more than 253 characters")
    } else if name.split('.').all(is_label) {
        Ok(())
    } else {
        Err("it takes a-z, 0-9, '-' and '.', and each part begins and ends with a letter or digit")
    }
}

/// A DNS label, which is what a namespace may be called.
pub(crate) fn label(name: &str) -> Result<(), &'static str> {
    if name.len() > 63 {
        Err("it has more than 63 characters")
    } else if is_label(name) {
        Ok(())
    } else {
        Err("it takes a-z, 0-9 and '-', and begins and ends with a letter or digit")
    }
}

fn is_label(part: &str) -> bool {
    let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !part.is_empty() && part.bytes().all(inside) && !part.starts_with('-') && !part.ends_with('-')
}
