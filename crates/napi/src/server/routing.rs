//! The routing settings of a listener. TypeScript has checked them.

use std::time::Duration;

use napi::bindgen_prelude::Uint8Array;
use napi::{Error, Result, Status};
use napi_derive::napi;
use socketserver_core::parent::routing::request_head::Place;
use socketserver_core::parent::routing::sources::Sources;
use socketserver_core::parent::routing::spec::{Others, ProxySpec, RoutingSpec, StickyBy, StickySpec};

/// How the connections of a listener are routed.
#[napi(object)]
pub struct NativeRouting {
    /// The proxies that name the client.
    pub proxy: Option<NativeProxy>,
    /// How connections are assigned to workers.
    pub sticky: Option<NativeSticky>,
}

/// How connections are assigned to workers.
#[napi(object)]
pub struct NativeSticky {
    /// What decides.
    #[napi(ts_type = "'address' | 'sni' | 'cookie' | 'header' | 'query'")]
    pub by: String,
    /// The name of the cookie, the header or the parameter; else empty.
    pub name: String,
    /// The key of the hashes and of the session ids, 16 bytes.
    pub key: Uint8Array,
    /// Milliseconds from accept in which a client must send what decides.
    pub timeout_ms: u32,
    /// Whether a connection waits for the slot of its hash.
    pub strict: bool,
    /// Milliseconds from accept for which a connection waits for its slot.
    pub wait_ms: u32,
}

/// The proxies that name the client by the PROXY protocol.
#[napi(object)]
pub struct NativeProxy {
    /// Networks in CIDR notation, and `unix`.
    pub from: Vec<String>,
    /// Milliseconds from accept in which the header must be complete.
    pub timeout_ms: u32,
    /// Whether connections from other addresses are reset.
    pub refuses_others: bool,
}

impl TryFrom<NativeRouting> for RoutingSpec {
    type Error = Error;

    fn try_from(routing: NativeRouting) -> Result<Self> {
        Ok(Self {
            proxy: routing.proxy.map(ProxySpec::try_from).transpose()?,
            sticky: routing.sticky.map(StickySpec::try_from).transpose()?,
            ..Self::default()
        })
    }
}

impl TryFrom<NativeSticky> for StickySpec {
    type Error = Error;

    fn try_from(sticky: NativeSticky) -> Result<Self> {
        let name = sticky.name.into_boxed_str();
        let by = match sticky.by.as_str() {
            "address" => StickyBy::Address,
            "sni" => StickyBy::ServerName,
            "cookie" => StickyBy::Request(Place::Cookie(name)),
            "header" => StickyBy::Request(Place::Header(name)),
            "query" => StickyBy::Request(Place::Query(name)),
            other => return Err(Error::new(Status::InvalidArg, format!("{other:?} decides nothing"))),
        };
        Ok(Self {
            by,
            key: key_of(&sticky.key)?,
            timeout: Duration::from_millis(sticky.timeout_ms.into()),
            strict: sticky.strict,
            wait: Duration::from_millis(sticky.wait_ms.into()),
        })
    }
}

/// Returns a key of 16 bytes.
pub fn key_of(bytes: &[u8]) -> Result<[u8; 16]> {
    let key = bytes.try_into();
    key.map_err(|_| Error::new(Status::InvalidArg, "the key does not have 16 bytes".to_owned()))
}

impl TryFrom<NativeProxy> for ProxySpec {
    type Error = Error;

    fn try_from(proxy: NativeProxy) -> Result<Self> {
        let from = Sources::parse(proxy.from.iter().map(String::as_str));
        let from = from.map_err(|word| Error::new(Status::InvalidArg, format!("{word:?} is not a network")))?;
        Ok(Self {
            from,
            others: if proxy.refuses_others {
                Others::Refuse
            } else {
                Others::Direct
            },
            timeout: Duration::from_millis(proxy.timeout_ms.into()),
        })
    }
}
