//! Where a connection comes from.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// What the front knows of a connection before any request.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    pub peer: SocketAddr,
    pub is_tls: bool,
    /// The peer is a proxy whose statements about its client are believed.
    pub is_trusted: bool,
}

/// The address of the client, for counting what one address takes: that of the peer or, where this is a trusted proxy, of
/// the last host outside the trusted networks by `X-Forwarded-For` or `Forwarded`. A proxy that writes one of them may
/// pass on what the client wrote into the other: where both are there, neither is read.
pub fn client_address(headers: &HeaderMap, origin: Origin, trusted: &[IpNet]) -> IpAddr {
    let peer = origin.peer.ip();
    if !origin.is_trusted {
        return peer;
    }
    let listed = |name: &str| -> Vec<&str> {
        let lines = headers.get_all(name).iter();
        lines.flat_map(|line| line.to_str().unwrap_or_default().split(',')).map(str::trim).collect()
    };
    let (addresses, elements) = (listed("x-forwarded-for"), listed("forwarded"));
    let hops = match (addresses.is_empty(), elements.is_empty()) {
        (false, true) => addresses,
        (true, false) => elements.into_iter().map(forwarded_for).collect(),
        _ => return peer,
    };
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        let Some(address) = address_of(hop) else { break };
        client = address;
        if !trusted.iter().any(|network| network.contains(&address)) {
            break;
        }
    }
    client
}

/// The node of an element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> &str {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    value.unwrap_or_default().trim_matches('"')
}

/// Of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:80`.
fn address_of(node: &str) -> Option<IpAddr> {
    let bare = node.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(node);
    let address = bare.parse::<IpAddr>().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let peer: SocketAddr = peer.parse().unwrap();
        let is_trusted = trusted.iter().any(|network: &IpNet| network.contains(&peer.ip()));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        client_address(&map, Origin { peer, is_tls: false, is_trusted }, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_say_who_their_client_is() {
        assert_eq!(client("192.0.2.9:1", &[("x-forwarded-for", "192.0.2.1")]), "192.0.2.9");
        assert_eq!(client("10.0.0.1:1", &[("x-forwarded-for", "192.0.2.1")]), "192.0.2.1");
        assert_eq!(client("10.0.0.1:1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_client_cannot_write_itself_another_address() {
        assert_eq!(client("10.0.0.1:1", &[("x-forwarded-for", "192.0.2.7, 192.0.2.1, 10.0.0.2")]), "192.0.2.1");
        let both = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2")];
        assert_eq!(client("10.0.0.1:1", &both), "10.0.0.1");
        assert_eq!(client("10.0.0.1:1", &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "x")]), "10.0.0.1");
    }

    #[test]
    fn a_node_may_have_a_port() {
        for node in ["192.0.2.1:80", "::ffff:192.0.2.1"] {
            assert_eq!(address_of(node).unwrap().to_string(), "192.0.2.1");
        }
        for node in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80"] {
            assert_eq!(address_of(node).unwrap().to_string(), "2001:db8::1");
        }
        assert_eq!(client("10.0.0.1:1", &[("forwarded", "proto=https;For=\"[2001:db8::1]:80\"")]), "2001:db8::1");
    }
}
