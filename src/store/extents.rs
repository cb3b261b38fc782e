//! Which parts of the contents' file are in use. Pure: offsets in, offsets out.

use std::collections::BTreeMap;

/// What memory is given and taken back in, in bytes.
pub(super) const PAGE: u64 = 4096;

/// The parts in use: where each begins, how long it is (whole pages), and how many contents lie in it.
#[derive(Debug, Default)]
pub(super) struct Extents {
    parts: BTreeMap<u64, Extent>,
    /// Everything before that is in use: there a gap is looked for. Many small parts that wait to be given back
    /// must not make each new one slow.
    full: u64,
}

#[derive(Debug)]
struct Extent {
    len: u64,
    users: usize,
}

/// A part that nobody uses any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unused {
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Extents {
    /// The first gap that is large enough, in use from now on by so many.
    pub(super) fn take(&mut self, len: u64, users: usize) -> u64 {
        let len = len.next_multiple_of(PAGE);
        let mut offset = self.full;
        for (begin, extent) in self.parts.range(offset..) {
            if begin - offset >= len {
                break;
            }
            let end = begin + extent.len;
            if *begin == self.full {
                self.full = end;
            }
            offset = end;
        }
        self.parts.insert(offset, Extent { len, users });
        offset
    }

    /// What a predecessor had in use: each content by its offset and length.
    pub(super) fn found(mut contents: Vec<(u64, u64)>) -> Self {
        contents.sort_unstable();
        let mut all: BTreeMap<u64, Extent> = BTreeMap::new();
        for (offset, len) in contents {
            let begin = offset / PAGE * PAGE;
            let end = (offset + len).next_multiple_of(PAGE);
            match all.last_entry() {
                Some(mut last) if begin < last.key() + last.get().len => {
                    let start = *last.key();
                    let extent = last.get_mut();
                    extent.len = extent.len.max(end - start);
                    extent.users += 1;
                }
                _ => {
                    let len = end - begin;
                    all.insert(begin, Extent { len, users: 1 });
                }
            }
        }
        Self {
            parts: all,
            full: 0,
        }
    }

    /// One user less of the part around an offset. Tells the part where that was the last.
    pub(super) fn leave(&mut self, offset: u64) -> Option<Unused> {
        let (begin, extent) = self.parts.range_mut(..=offset).next_back()?;
        let (begin, len) = (*begin, extent.len);
        if offset >= begin + len {
            return None;
        }
        extent.users = extent.users.saturating_sub(1);
        (extent.users == 0).then_some(Unused { offset: begin, len })
    }

    /// Gives a part back.
    pub(super) fn free(&mut self, unused: &Unused) {
        self.parts.remove(&unused.offset);
        self.full = self.full.min(unused.offset);
    }

    /// The parts between those in use, up to an end.
    pub(super) fn gaps(&self, end: u64) -> Vec<Unused> {
        let mut gaps = Vec::new();
        let mut offset = 0;
        for (begin, extent) in &self.parts {
            if *begin > offset {
                gaps.push(Unused {
                    offset,
                    len: begin - offset,
                });
            }
            offset = begin + extent.len;
        }
        if end > offset {
            gaps.push(Unused {
                offset,
                len: end - offset,
            });
        }
        gaps
    }

    /// Nothing before that is free any more: between what is in use is what nobody knows.
    pub(super) fn fill(&mut self, end: u64) {
        for Unused { offset, len } in self.gaps(end) {
            self.parts.insert(offset, Extent { len, users: 1 });
        }
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.values().map(|extent| extent.len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_used_again() {
        let mut extents = Extents::default();
        let places: Vec<u64> = [1, 2 * PAGE, 1]
            .iter()
            .map(|len| extents.take(*len, 1))
            .collect();
        assert_eq!(places, [0, PAGE, 3 * PAGE]);
        let unused = extents.leave(PAGE + 17).expect("its only user");
        assert_eq!((unused.offset, unused.len), (PAGE, 2 * PAGE));
        extents.free(&unused);
        assert_eq!(extents.take(PAGE + 1, 1), PAGE, "fits exactly");
        assert_eq!(extents.take(1, 1), 4 * PAGE);
    }

    #[test]
    fn what_was_found_is_in_use_until_its_last_user_goes() {
        let mut extents = Extents::found(vec![(PAGE + 100, 50), (PAGE, 100), (5 * PAGE, PAGE + 1)]);
        assert_eq!(extents.take(2 * PAGE, 1), 2 * PAGE);
        assert_eq!(extents.leave(PAGE), None);
        assert!(extents.leave(PAGE + 100).is_some());
        assert_eq!(extents.gaps(8 * PAGE).len(), 3);
    }

    #[test]
    fn what_nobody_knows_is_given_to_nobody() {
        let mut extents = Extents::found(vec![(PAGE, 100)]);
        extents.fill(4 * PAGE);
        assert_eq!(extents.take(1, 1), 4 * PAGE);
        let unused = extents.leave(PAGE).expect("its only user");
        extents.free(&unused);
        assert_eq!(extents.take(1, 1), PAGE);
    }

    #[test]
    fn the_first_gap_that_is_large_enough_is_taken_whatever_was_given_back() {
        let mut extents = Extents::default();
        let mut taken = Vec::new();
        // Any sequence, the same each time.
        let mut any = 1_u64;
        for _ in 0..1_500 {
            any = any.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (number, len) = ((any >> 33) as usize, ((any >> 20) % 4 + 1) * PAGE);
            if number % 5 < 3 || taken.is_empty() {
                let gaps = extents.gaps(u64::MAX);
                let first = gaps
                    .iter()
                    .find(|gap| gap.len >= len)
                    .expect("there is room");
                let offset = extents.take(len, 1);
                assert_eq!(offset, first.offset);
                taken.push(offset);
            } else {
                let offset = taken.swap_remove(number % taken.len());
                let unused = extents.leave(offset).expect("its only user");
                extents.free(&unused);
            }
        }
        assert!(taken.len() > 50, "it has grown");
    }
}
