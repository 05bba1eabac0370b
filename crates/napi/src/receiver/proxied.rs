//! What a proxy told about the client of a connection.

use std::net::SocketAddr;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use socketserver_core::protocol::proxied_record::Proxied;

use crate::address::ip_text;

/// What a proxy told about the client of a connection.
#[napi(object)]
pub struct ProxiedClient {
    /// The version of the PROXY protocol, 1 or 2.
    pub version: u8,
    /// The client.
    pub client: NativeAddress,
    /// The address to which the client has connected.
    pub local: NativeAddress,
    /// The proxy; missing if the proxy has connected to a Unix socket.
    pub via: Option<NativeAddress>,
    /// The well-formed TLVs of version 2.
    pub tlvs: Uint8Array,
}

/// An address in the shape of the result of Node's `getpeername`.
#[napi(object)]
pub struct NativeAddress {
    /// The IP address.
    pub address: String,
    /// `IPv4` or `IPv6`.
    #[napi(ts_type = "'IPv4' | 'IPv6'")]
    pub family: String,
    /// The port.
    pub port: u16,
}

impl From<Proxied> for ProxiedClient {
    fn from(proxied: Proxied) -> Self {
        Self {
            version: proxied.version,
            client: proxied.client.into(),
            local: proxied.local.into(),
            via: proxied.via.map(Into::into),
            tlvs: proxied.tlvs.into_vec().into(),
        }
    }
}

impl From<SocketAddr> for NativeAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            address: ip_text(address),
            family: if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
            port: address.port(),
        }
    }
}
