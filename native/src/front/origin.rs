//! Where a connection comes from.

use std::net::SocketAddr;

/// What the front knows of a connection, whatever is asked on it.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    pub peer: SocketAddr,
    pub is_tls: bool,
    /// The peer is a proxy whose statements about its client are believed.
    pub is_trusted: bool,
}
