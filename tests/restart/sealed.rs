//! Contents that prove that they are whole, and say of which version they are.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// Length, checksum, version and file before the body.
const HEADER: usize = 32;

/// The files that change, and how many versions each keeps its bytes.
pub const CHANGING: [(&str, u64); 4] = [("a", 1), ("b", 2), ("c", 3), (MAPPED, 1)];
/// The file that is mapped: its size never changes, so that nobody reads beyond its end.
pub const MAPPED: &str = "map";
/// The file that never changes.
pub const SAME: &str = "same";

/// Which version of a file a version of the volume has.
pub fn version_of(name: &str, version: u64) -> u64 {
    let kept = CHANGING.iter().find(|(changing, _)| *changing == name);
    kept.map_or(version, |(_, kept)| version / kept)
}

/// What a file has at its version.
pub fn content(name: &str, version: u64) -> Vec<u8> {
    // Sizes grow and shrink, across pages and requests.
    const SIZES: [usize; 7] = [64, 5_000, 300, 70_000, 4_096, 1, 12_345];
    let body = if name == MAPPED {
        3 * 4096 - HEADER
    } else {
        SIZES[usize::try_from(version % 7).expect("small")]
    };
    let seed = version.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let file = name.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte));
    let mut bytes = Vec::with_capacity(HEADER + body);
    let numbers = [HEADER as u64 + body as u64, 0, version, file];
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend((0..body as u64).map(|at| (seed.wrapping_mul(at | 1) >> 24).to_le_bytes()[0]));
    let sum = sum(&bytes);
    bytes[8..16].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn sum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(&bytes[16..]);
    hasher.finish()
}

/// The version, where these are all bytes of one; otherwise what is wrong.
pub fn check(bytes: &[u8]) -> Result<u64, String> {
    if bytes.len() < HEADER {
        return Err(format!("{} bytes", bytes.len()));
    }
    let number = |at: usize| u64::from_le_bytes(bytes[at..][..8].try_into().expect("8 bytes"));
    if number(0) != bytes.len() as u64 {
        return Err(format!(
            "{} bytes of {} of version {}",
            bytes.len(),
            number(0),
            number(16)
        ));
    }
    if number(8) != sum(bytes) {
        return Err(format!("a mix of version {} and another", number(16)));
    }
    Ok(number(16))
}
