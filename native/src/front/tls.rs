//! The certificate of the public port: read from PEM, and replaced while connections go on.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};
use x509_cert::der::Decode;

use crate::error::Fault;

/// What is spoken inside TLS, the preferred version first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// The first byte of every handshake of TLS.
pub const HANDSHAKE: u8 = 22;

pub struct Certificate {
    config: Arc<ServerConfig>,
    expires_seconds: Option<u64>,
}

impl Certificate {
    /// From PEM: the certificate with its chain behind it, and its private key.
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Fault::argument(format!("the certificate is no PEM: {error}")))?;
        let expires_seconds = chain
            .first()
            .map(expiry)
            .ok_or_else(|| Fault::argument("there is no certificate in the certificate's file"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| Fault::argument(unusable_key(key, &error)))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::argument(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| Fault::argument(unusable_pair(&error)))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Self { config: Arc::new(config), expires_seconds })
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Unix time. None: its dates are written in a way that is not understood.
    pub fn expires_seconds(&self) -> Option<u64> {
        self.expires_seconds
    }
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
}

fn unusable_key(key: &[u8], error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound if key.windows(9).any(|word| word == b"ENCRYPTED") => {
            "the private key is encrypted; write it without a password".to_owned()
        }
        pem::Error::NoItemsFound => "there is no private key in the key's file".to_owned(),
        _ => format!("the private key is no PEM: {error}"),
    }
}

fn unusable_pair(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the private key is not that of the certificate".to_owned()
        }
        rustls::Error::InvalidCertificate(_) => format!("the certificate is none: {error}"),
        _ => format!("the private key can not be used: {error}"),
    }
}
