//! Addresses as Node prints them.

use std::net::SocketAddr;

use napi_derive::napi;
use socketserver_core::ListenerAddress as CoreAddress;

/// The address of a listener.
#[napi(object)]
pub struct ListenerAddress {
    /// `IPv4`, `IPv6` or `Unix`.
    pub family: String,
    /// An IP address or a path.
    pub address: String,
    /// 0 for a Unix socket.
    pub port: u16,
}

impl From<&CoreAddress> for ListenerAddress {
    fn from(address: &CoreAddress) -> Self {
        match address {
            CoreAddress::Tcp(address) => Self {
                family: if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
                address: address.ip().to_string(),
                port: address.port(),
            },
            CoreAddress::Unix(path) => Self {
                family: "Unix".to_owned(),
                address: path.to_string_lossy().into_owned(),
                port: 0,
            },
        }
    }
}

/// Returns the text and the port of a client's address.
pub fn remote_parts(remote: Option<SocketAddr>) -> (Option<String>, Option<u16>) {
    (remote.map(ip_text), remote.map(|address| address.port()))
}

/// Returns the text of an IP address without the port; a link-local address has its zone.
pub fn ip_text(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        other => other.ip().to_string(),
    }
}
