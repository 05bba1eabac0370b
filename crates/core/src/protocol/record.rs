//! A record: one fixed-size item of a frame.

use std::marker::PhantomData;

use super::error::FrameError;

/// One fixed-size record of a frame.
pub trait Record: Sized {
    /// The size in bytes.
    const SIZE: usize;
    /// Appends the record to `bytes`: exactly [`Record::SIZE`] bytes.
    fn encode(&self, bytes: &mut Vec<u8>);
    /// Decodes a record from exactly [`Record::SIZE`] bytes.
    fn decode(bytes: &[u8]) -> Result<Self, FrameError>;
}

/// An iterator that decodes the records of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records<'a, R> {
    bytes: &'a [u8],
    record: PhantomData<R>,
}

impl<'a, R> Records<'a, R> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            record: PhantomData,
        }
    }
}

impl<R: Record> Iterator for Records<'_, R> {
    type Item = Result<R, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (record, rest) = self.bytes.split_at_checked(R::SIZE)?;
        self.bytes = rest;
        Some(R::decode(record))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.bytes.len() / R::SIZE;
        (left, Some(left))
    }
}

impl<R: Record> ExactSizeIterator for Records<'_, R> {}

/// Decodes the fields of a record in order. [`Records`] has checked the size of the record.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((array, rest)) => {
                self.0 = rest;
                *array
            }
            None => [0; N],
        }
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}
