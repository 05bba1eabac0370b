//! The routing settings of a listener. TypeScript has checked them.

use std::time::Duration;

use napi::{Error, Result, Status};
use napi_derive::napi;
use socketserver_core::parent::routing::sources::Sources;
use socketserver_core::parent::routing::spec::{Others, ProxySpec, RoutingSpec};

/// How the connections of a listener are routed.
#[napi(object)]
pub struct NativeRouting {
    /// The proxies that name the client.
    pub proxy: Option<NativeProxy>,
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
            ..Self::default()
        })
    }
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
