//! The routing settings of a listener. TypeScript has checked them.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use napi::bindgen_prelude::Uint8Array;
use napi::{Error, Result, Status};
use napi_derive::napi;
use socketserver_core::parent::routing::request_head::Place;
use socketserver_core::parent::routing::server_names::ServerNames;
use socketserver_core::parent::routing::sources::Sources;
use socketserver_core::parent::routing::spec::{NamesSpec, Others, ProxySpec, RoutingSpec, StickyBy, StickySpec};

/// How the connections of a listener are routed.
#[napi(object)]
pub struct NativeRouting {
    /// The proxies that name the client.
    pub proxy: Option<NativeProxy>,
    /// The host names of TLS whose connections belong to the workers of another port.
    pub names: Option<NativeServerNames>,
    /// How connections are assigned to workers.
    pub sticky: Option<NativeSticky>,
    /// The maximum number of connections of one source; missing or 0 for no limit.
    pub max_per_source: Option<u32>,
}

/// The host names of TLS whose connections belong to the workers of another port.
#[napi(object)]
pub struct NativeServerNames {
    /// The ports by name. `*.` at the beginning stands for one label.
    pub ports: HashMap<String, u16>,
    /// Milliseconds from accept in which a client must send its host name.
    pub timeout_ms: u32,
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
            names: routing.names.map(NamesSpec::from),
            sticky: routing.sticky.map(StickySpec::try_from).transpose()?,
            max_per_source: routing.max_per_source.and_then(NonZeroU32::new),
            ..Self::default()
        })
    }
}

impl From<NativeServerNames> for NamesSpec {
    fn from(given: NativeServerNames) -> Self {
        let mut names = ServerNames::default();
        for (name, port) in &given.ports {
            names.insert(name, *port);
        }
        Self {
            names,
            timeout: Duration::from_millis(given.timeout_ms.into()),
        }
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
