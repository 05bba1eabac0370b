//! The header of the PROXY protocol, versions 1 and 2: the addresses of a proxied connection. Pure and without allocation.
//!
//! The specification is `doc/proxy-protocol.txt` of HAProxy. A receiver must not guess whether a header is present, so only
//! connections from configured sources are parsed, and anything but a header is an error.

mod tlv;
mod v1;
mod v2;

use std::net::SocketAddr;

/// The maximum length of a header in bytes. Version 2 allows 65551, but no known sender exceeds this limit: the largest part is
/// a client's certificate.
pub const MAX_HEADER: usize = 4096;

/// The length of the shortest header, `PROXY UNKNOWN` and the end of the line.
pub const MIN_HEADER: usize = v1::MIN_LENGTH;

/// A complete header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The length in bytes. Later bytes are from the client.
    pub length: usize,
    /// The version of the PROXY protocol.
    pub version: Version,
    /// The ends of the client's connection. `None` if the proxy itself is the client, as for a health check, or if the proxy does
    /// not know the client: then the addresses of the socket are valid.
    pub addresses: Option<Addresses>,
    /// The well-formed TLVs of version 2. Empty without addresses.
    pub tlvs: &'a [u8],
}

/// The version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    One,
    /// Binary, with TLVs.
    Two,
}

/// The ends of the client's connection to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub client: SocketAddr,
    /// The address to which the client has connected.
    pub local: SocketAddr,
}

/// The result of [`parse`] for bytes that may begin a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The header is complete.
    Complete(Header<'a>),
    /// The header is incomplete: there must be at least this many bytes.
    Incomplete {
        /// More than the length of the input.
        needed: usize,
    },
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first bytes are those of neither version.
    #[error("the connection does not begin with a PROXY protocol header")]
    Signature,
    /// The line of version 1 breaks the grammar.
    #[error("the line of version 1 is malformed")]
    Line,
    /// The line of version 1 has more than 107 bytes, or the header of version 2 more than [`MAX_HEADER`].
    #[error("the header is too long")]
    TooLong,
    /// The version is neither 1 nor 2.
    #[error("the version is unknown")]
    Version,
    /// The command is neither LOCAL nor PROXY.
    #[error("the command is unknown")]
    Command,
    /// The address family or the transport protocol is unknown.
    #[error("the address family is unknown")]
    Family,
    /// The header is shorter than its addresses.
    #[error("the header is shorter than its addresses")]
    Addresses,
    /// The TLVs do not fit in the header, or a known TLV has a wrong length.
    #[error("a TLV is malformed")]
    Tlv,
    /// The checksum is wrong.
    #[error("the checksum is wrong")]
    Checksum,
}

/// Parses the header at the beginning of `bytes`.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    if is_prefix(bytes, &v2::SIGNATURE) {
        v2::parse(bytes)
    } else if is_prefix(bytes, v1::PREFIX) {
        v1::parse(bytes)
    } else {
        Err(HeaderError::Signature)
    }
}

/// Returns whether one of `bytes` and `expected` begins with the other.
fn is_prefix(bytes: &[u8], expected: &[u8]) -> bool {
    let length = bytes.len().min(expected.len());
    bytes[..length] == expected[..length]
}

#[cfg(test)]
mod tests;
