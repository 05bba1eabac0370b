//! The TLVs of version 2: a type, a length of two bytes, and a value. Checked here, interpreted by the worker.

use super::HeaderError;

const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;

/// The maximum length of a unique id.
const MAX_UNIQUE_ID: usize = 128;
/// The client flags and the result of the verification, which precede the TLVs within the TLV of TLS.
const SSL_FIXED: usize = 5;
/// The type and the length.
const HEAD: usize = 3;

/// Checks that `tlvs`, the end of `header`, are well-formed, and verifies the checksum if there is one.
pub fn check(header: &[u8], tlvs: &[u8]) -> Result<(), HeaderError> {
    let mut rest = tlvs;
    let mut has_checksum = false;
    while !rest.is_empty() {
        let (kind, value, after) = first(rest)?;
        match kind {
            CRC32C if has_checksum => return Err(HeaderError::Tlv),
            CRC32C => {
                has_checksum = true;
                let expected: [u8; 4] = value.try_into().map_err(|_| HeaderError::Tlv)?;
                let at = header.len() - rest.len() + HEAD;
                if checksum(header, at) != u32::from_be_bytes(expected) {
                    return Err(HeaderError::Checksum);
                }
            }
            UNIQUE_ID if value.len() > MAX_UNIQUE_ID => return Err(HeaderError::Tlv),
            SSL => {
                let mut parts = value.get(SSL_FIXED..).ok_or(HeaderError::Tlv)?;
                while !parts.is_empty() {
                    (_, _, parts) = first(parts)?;
                }
            }
            _ => {}
        }
        rest = after;
    }
    Ok(())
}

/// Returns the type and the value of the first TLV, and the bytes after it.
fn first(tlvs: &[u8]) -> Result<(u8, &[u8], &[u8]), HeaderError> {
    let (&[kind, high, low], rest) = tlvs.split_first_chunk::<HEAD>().ok_or(HeaderError::Tlv)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, after) = rest.split_at_checked(length).ok_or(HeaderError::Tlv)?;
    Ok((kind, value, after))
}

/// Returns the checksum of a header whose checksum at `at` counts as zero.
fn checksum(header: &[u8], at: usize) -> u32 {
    let before = crc32c::crc32c(&header[..at]);
    let zeroed = crc32c::crc32c_append(before, &[0; 4]);
    crc32c::crc32c_append(zeroed, &header[at + 4..])
}
