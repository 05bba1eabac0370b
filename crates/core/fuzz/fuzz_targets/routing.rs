//! A client sends any bytes to a listener that routes. The parsers must not panic, must ask for more bytes only while bytes can be
//! missing, and must not depend on the bytes after a complete header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use socketserver_core::parent::routing::client_hello::{MAX_HELLO, ServerName, server_name};
use socketserver_core::parent::routing::proxy_header::{self, MAX_HEADER, Parsed};
use socketserver_core::parent::routing::request_head::{Found, Place};

fuzz_target!(|bytes: &[u8]| {
    match proxy_header::parse(bytes) {
        Ok(Parsed::Complete(header)) => {
            assert!(header.length <= bytes.len() && header.length <= MAX_HEADER);
            assert_eq!(
                proxy_header::parse(&bytes[..header.length]),
                Ok(Parsed::Complete(header))
            );
            for length in 0..header.length {
                let part = proxy_header::parse(&bytes[..length]);
                assert!(
                    matches!(part, Ok(Parsed::Incomplete { needed }) if length < needed && needed <= header.length)
                );
            }
        }
        Ok(Parsed::Incomplete { needed }) => assert!(bytes.len() < needed && needed <= MAX_HEADER),
        Err(_) => {}
    }
    match server_name(&mut bytes.to_vec()) {
        ServerName::Incomplete { needed } => assert!(bytes.len() < needed && needed <= MAX_HELLO),
        ServerName::Name(name) => assert!(!name.is_empty()),
        ServerName::Absent | ServerName::NotTls | ServerName::TooLong => {}
    }
    for place in [
        Place::Cookie("sid".into()),
        Place::Header("sid".into()),
        Place::Query("sid".into()),
    ] {
        if let Found::Value(value) = place.find(bytes) {
            assert!(!value.is_empty() && value.len() < bytes.len());
        }
    }
});
