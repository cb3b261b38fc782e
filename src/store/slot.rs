//! The request in hand: what the thread that answers the kernel is at, where a successor finds it.
//!
//! A kernel before 6.9 does not send a request again whose reader died with it; whoever asked waits for
//! ever. So the request is written here before it is looked at, and taken away when it is answered. It
//! lies in the header of the volume's file, in a mapping of its own: the thread needs no lock for it.

use std::os::fd::BorrowedFd;

use super::error::StoreError;
use super::memory::SharedMemory;

/// Where in the header it is: the newest number that was read, the length of what follows, the request.
const AT_NEWEST: usize = 128;
const AT_LENGTH: usize = 136;
const AT_REQUEST: usize = 144;
/// How much of a file is mapped here.
const MAPPED: usize = 4096;
/// The longest request that is kept, in bytes: a rename with two long names.
const LONGEST: usize = 1024;

/// The request in hand of a volume's one thread.
#[derive(Debug)]
pub struct Slot(SharedMemory);

impl Slot {
    /// That of a volume's file.
    ///
    /// # Errors
    ///
    /// The machine does not map it.
    pub fn of(file: BorrowedFd<'_>) -> Result<Self, StoreError> {
        let file = file.try_clone_to_owned();
        let file = file.map_err(StoreError::system("share a volume's memory"))?;
        SharedMemory::part(file, MAPPED).map(Self)
    }

    /// A request is about to be looked at: first what of it has a length that is a multiple of 8, then the rest
    /// in its parts. One that is too long is not kept.
    pub fn asked(&self, number: u64, fixed: &[u8], tail: &[&[u8]]) {
        self.0.set_number(AT_NEWEST, number);
        let length = fixed.len() + tail.iter().map(|part| part.len()).sum::<usize>();
        if length > LONGEST || !fixed.len().is_multiple_of(8) {
            return;
        }
        let mut place = AT_REQUEST;
        for word in fixed.as_chunks::<8>().0 {
            self.0.set_number(place, u64::from_le_bytes(*word));
            place += 8;
        }
        let mut rest = tail.iter().copied().flatten().copied();
        while place < AT_REQUEST + length {
            let word = std::array::from_fn(|_| rest.next().unwrap_or(0));
            self.0.set_number(place, u64::from_le_bytes(word));
            place += 8;
        }
        // Last: from here on it counts.
        self.0.set_number(AT_LENGTH, length as u64);
    }

    /// It is answered, or kept elsewhere.
    pub fn answered(&self) {
        self.0.set_number(AT_LENGTH, 0);
    }

    /// The newest number that was read, and the request in hand.
    pub fn found(&self) -> (u64, Option<Vec<u8>>) {
        let length = usize::try_from(self.0.number(AT_LENGTH)).unwrap_or(usize::MAX);
        let request = (1..=LONGEST).contains(&length).then(|| {
            let words = (AT_REQUEST..AT_REQUEST + length).step_by(8);
            let bytes = words.flat_map(|place| self.0.number(place).to_le_bytes());
            bytes.take(length).collect()
        });
        (self.0.number(AT_NEWEST), request)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_request_is_found_as_it_was_asked() {
        let file = SharedMemory::new("slot", MAPPED).expect("memory");
        let file = file.descriptor();
        let slot = Slot::of(file.as_fd()).expect("it is mapped");
        assert_eq!(slot.found(), (0, None));
        let fixed: Vec<u8> = (0..48).collect();
        let name = [b'n'; 600];
        for (number, length) in (2..).step_by(2).zip([0, 1, 7, 8, 9, 17, 255, 300, 470]) {
            let tail = [&name[..length], &[0], &name[..length], &[0]];
            slot.asked(number, &fixed, &tail);
            let whole = [&fixed[..], &tail.concat()].concat();
            // Another process finds it.
            let found = Slot::of(file.as_fd()).expect("it is mapped").found();
            assert_eq!(found, (number, Some(whole)));
            slot.answered();
            assert_eq!(slot.found(), (number, None));
        }
        // One that has no room is not there, but its number is.
        slot.asked(100, &fixed, &[&name, &name]);
        assert_eq!(slot.found(), (100, None));
    }
}
