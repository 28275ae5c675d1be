//! A chain as one file that another program can check.
//!
//! Eight bytes `DSCCHAIN`, a `u16` format, then records: a `u64` length and as many bytes. The
//! first record is the genesis, the others are the blocks from height 0 upwards. All integers are
//! little-endian.
//!
//! # Invariants
//!
//! 1. A record's length is checked against its bound, and memory grows only as bytes come in.

use std::{
    fmt,
    io::{self, Read, Write},
};

use super::{ImportError, Ledger, StoreError};
use crate::{
    block::Block,
    codec,
    genesis::{BLOCK_BYTES_MAX, GENESIS_BYTES_MAX, Genesis},
    units::Height,
};

const MAGIC: [u8; 8] = *b"DSCCHAIN";
const FORMAT: u16 = 1;

/// A part of an exported chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// Magic and format.
    Head,
    /// The genesis.
    Genesis,
    /// The block at a height.
    Block(Height),
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("the file's head"),
            Self::Genesis => f.write_str("the genesis"),
            Self::Block(height) => write!(f, "block {height}"),
        }
    }
}

/// Why an export did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The output took no more.
    #[error("writing the chain: {0}")]
    Io(#[from] io::Error),
    /// The ledger was started from a snapshot, so it has not every block.
    #[error("the ledger begins after block {base}: it has none of those before")]
    Base {
        /// The last block that it does not have.
        base: Height,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ledger {
    /// Writes genesis and all blocks to `output`; returns how many blocks.
    ///
    /// # Errors
    ///
    /// [`ExportError`] if `output` or the store fails, or the first blocks are not here.
    pub fn export(&self, output: &mut impl Write) -> Result<u64, ExportError> {
        if let Some(base) = self.base() {
            return Err(ExportError::Base { base });
        }
        let mut export = Export::new(output, self.state().chain().genesis())?;
        while let Some(bytes) = self.block_bytes(export.next)? {
            export.block(&bytes)?;
        }
        Ok(export.finish()?)
    }
}

/// A chain being written: the genesis, then block after block.
#[derive(Debug)]
pub struct Export<W> {
    output: W,
    next: Height,
}

impl<W: Write> Export<W> {
    /// Writes up to the first block.
    ///
    /// # Errors
    ///
    /// Those of `output`.
    pub fn new(mut output: W, genesis: &Genesis) -> io::Result<Self> {
        output.write_all(&MAGIC)?;
        output.write_all(&FORMAT.to_le_bytes())?;
        write_record(&mut output, &codec::encode(genesis))?;
        Ok(Self { output, next: Height(0) })
    }

    /// Writes the encoded block at the next height.
    ///
    /// # Errors
    ///
    /// Those of `output`.
    pub fn block(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_record(&mut self.output, bytes)?;
        self.next = self.next.next();
        Ok(())
    }

    /// Ends the file; returns how many blocks it has.
    ///
    /// # Errors
    ///
    /// Those of `output`.
    pub fn finish(mut self) -> io::Result<u64> {
        self.output.flush()?;
        Ok(self.next.0)
    }
}

fn write_record(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(&(bytes.len() as u64).to_le_bytes())?;
    output.write_all(bytes)
}

/// An exported chain being read: the genesis, then an iterator over the blocks.
///
/// Nothing but the form is checked; [`super::State::check`] checks the blocks.
#[derive(Debug)]
pub struct Import<R> {
    input: R,
    genesis: Genesis,
    next: Height,
    failed: bool,
}

impl<R: Read> Import<R> {
    /// Reads up to the first block.
    ///
    /// # Errors
    ///
    /// [`ImportError`] if `input` does not start like an exported chain.
    pub fn new(mut input: R) -> Result<Self, ImportError> {
        if read_array(&mut input, Record::Head)? != MAGIC {
            return Err(ImportError::Magic);
        }
        let got = u16::from_le_bytes(read_array(&mut input, Record::Head)?);
        if got != FORMAT {
            return Err(ImportError::Format { got, expected: FORMAT });
        }
        let record = Record::Genesis;
        let len = u64::from_le_bytes(read_array(&mut input, record)?);
        let genesis = read_record(&mut input, record, len, GENESIS_BYTES_MAX as u64)?;
        Ok(Self { input, genesis: decode(record, &genesis)?, next: Height(0), failed: false })
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The next block, or `None` at the end of the file.
    fn read(&mut self) -> Result<Option<Block>, ImportError> {
        let record = Record::Block(self.next);
        let Some(len) = read_length(&mut self.input, record)? else { return Ok(None) };
        let bytes = read_record(&mut self.input, record, len, BLOCK_BYTES_MAX)?;
        self.next = self.next.next();
        decode(record, &bytes).map(Some)
    }
}

impl<R: Read> Iterator for Import<R> {
    type Item = Result<Block, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let block = self.read().transpose();
        self.failed = !matches!(block, Some(Ok(_)));
        block
    }
}

fn read_array<const LEN: usize>(
    input: &mut impl Read,
    record: Record,
) -> Result<[u8; LEN], ImportError> {
    let mut bytes = [0; LEN];
    input.read_exact(&mut bytes).map_err(|error| within(record, error))?;
    Ok(bytes)
}

fn within(record: Record, error: io::Error) -> ImportError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ImportError::Truncated { record },
        _ => error.into(),
    }
}

/// The length of the next record, or `None` if the file ends before it.
fn read_length(input: &mut impl Read, record: Record) -> Result<Option<u64>, ImportError> {
    let mut bytes = Vec::new();
    input.take(8).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = bytes.try_into().map_err(|_| ImportError::Truncated { record })?;
    Ok(Some(u64::from_le_bytes(bytes)))
}

fn read_record(
    input: &mut impl Read,
    record: Record,
    len: u64,
    max: u64,
) -> Result<Vec<u8>, ImportError> {
    if len > max {
        return Err(ImportError::TooLong { record, got: len, max });
    }
    let mut bytes = Vec::new();
    input.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(ImportError::Truncated { record }) }
}

fn decode<T: bincode::Decode<()>>(record: Record, bytes: &[u8]) -> Result<T, ImportError> {
    codec::decode(bytes).map_err(|error| ImportError::Decode { record, error })
}
