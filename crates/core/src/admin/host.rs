//! Checks the Host header, against DNS rebinding: a page of another site whose name resolves to this listener has that site's name
//! in the header.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Returns whether a request with this Host header is allowed. An IP address is allowed, because no other site has it. A client
/// without the header is not a browser.
pub fn is_allowed(header: Option<&str>, names: &[String]) -> bool {
    let Some(header) = header else { return true };
    let name = name_of(header);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_address = name.parse::<Ipv4Addr>().is_ok()
        || name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .is_some_and(|name| name.parse::<Ipv6Addr>().is_ok());
    is_address
        || name.eq_ignore_ascii_case("localhost")
        || names
            .iter()
            .any(|known| known == "*" || known.eq_ignore_ascii_case(name))
}

/// Returns the header without its port.
fn name_of(header: &str) -> &str {
    match header.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => header,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_given_names_are_allowed() {
        let names = ["metrics.internal".to_owned()];
        for header in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.1.2.3:9090",
            "[::1]:9090",
            "[::1]",
            "localhost",
            "LOCALHOST:80",
            "localhost.:80",
            "metrics.internal:9090",
        ] {
            assert!(is_allowed(Some(header), &names), "{header}");
        }
        assert!(is_allowed(None, &names));
        for header in [
            "",
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "::1",
        ] {
            assert!(!is_allowed(Some(header), &names), "{header}");
        }
        assert!(is_allowed(Some("evil.example"), &["*".to_owned()]));
    }
}
