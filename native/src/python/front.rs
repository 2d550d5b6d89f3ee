//! The public port.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::error::Fault;
use crate::front::body::BodyLimits;
use crate::front::forward::App;
use crate::front::listener::{self, Listener};
use crate::front::pace::Pace;
use crate::front::places::PlaceLimits;
use crate::front::respond;
use crate::front::templates::{self, Templates};
use crate::front::tls::Certificate;
use crate::plane::Plane;
use crate::sync::lock;

/// What connections that are cut off may take to notice.
const CUT_OFF: Duration = Duration::from_secs(1);

/// The public port, open.
#[pyclass(frozen, module = "serval._native")]
pub struct Front {
    listener: Arc<Listener>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    plane: Arc<Plane>,
}

#[pymethods]
impl Front {
    fn beat(&self) {
        self.listener.front().beat();
    }

    fn close_after_each_answer(&self) {
        self.listener.front().close_after_each_answer();
    }

    fn stop(&self, py: Python<'_>, patience_seconds: f64) -> PyResult<usize> {
        let Some(accepting) = lock(&self.accepting).take() else {
            return Ok(0);
        };
        self.listener.close();
        let cut_off = py.detach(|| {
            Ok::<_, Fault>(self.plane.runtime()?.block_on(async {
                let mut accepting = accepting;
                if tokio::time::timeout(Duration::from_secs_f64(patience_seconds), &mut accepting).await.is_ok() {
                    return 0;
                }
                let cut_off = self.listener.cut_off();
                let _ = tokio::time::timeout(CUT_OFF, &mut accepting).await;
                cut_off
            }))
        })?;
        Ok(cut_off)
    }

    fn set_certificate(&self, py: Python<'_>, chain: Vec<u8>, key: Vec<u8>) -> PyResult<()> {
        let certificate = py.detach(|| Certificate::read(&chain, &key))?;
        if self.listener.set_certificate(certificate) {
            Ok(())
        } else {
            Err(Fault::argument("the port speaks plain HTTP").into())
        }
    }

    fn metrics<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut text = String::new();
        self.listener.write(&mut text);
        PyBytes::new(py, text.as_bytes())
    }
}

/// Unix time at which a certificate expires; None where its dates are not understood. The key is held against it.
#[pyfunction]
pub fn certificate_expiry(chain: Vec<u8>, key: Vec<u8>) -> PyResult<Option<u64>> {
    Ok(Certificate::read(&chain, &key)?.expires_seconds())
}

/// A certificate with its chain, and its private key, both PEM.
pub type CertificatePair = (Vec<u8>, Vec<u8>);

/// A refusal that the front may send by itself: name, status, headers, body.
#[derive(FromPyObject)]
pub struct RefusalTemplate(String, u16, Vec<(String, String)>, Vec<u8>);

/// `serval.data_plane.settings.FrontSettings`.
#[derive(FromPyObject)]
pub struct FrontSettings {
    connections: usize,
    connections_by_address: usize,
    head_bytes: usize,
    body_bytes: usize,
    buffered_bytes: usize,
    forwarded: usize,
    forwarded_by_user: usize,
    forwarded_by_address: usize,
    small_body_bytes: usize,
    min_body_bytes_per_second: f64,
    head_seconds: f64,
    body_seconds: f64,
    idle_seconds: f64,
    write_seconds: f64,
    stall_seconds: f64,
    https_only: bool,
    trusted_proxies: Vec<String>,
}

impl FrontSettings {
    fn front(&self) -> Result<respond::Limits, Fault> {
        Ok(respond::Limits {
            body: BodyLimits {
                body_bytes: self.body_bytes,
                buffered_bytes: self.buffered_bytes,
                pace: Pace {
                    patience: Duration::from_secs_f64(self.body_seconds),
                    small_bytes: self.small_body_bytes,
                    min_bytes_per_second: self.min_body_bytes_per_second,
                },
            },
            places: PlaceLimits {
                total: self.forwarded,
                user: self.forwarded_by_user,
                address: self.forwarded_by_address,
            },
            stall_seconds: self.stall_seconds,
            https_only: self.https_only,
            trusted_proxies: self.trusted_proxies()?,
        })
    }

    fn trusted_proxies(&self) -> Result<Vec<IpNet>, Fault> {
        self.trusted_proxies.iter().map(|text| network(text)).collect()
    }

    fn listener(&self) -> Result<listener::Limits, Fault> {
        Ok(listener::Limits {
            connections: self.connections,
            connections_by_address: self.connections_by_address,
            head_bytes: self.head_bytes,
            head_seconds: self.head_seconds,
            idle_seconds: self.idle_seconds,
            write_seconds: self.write_seconds,
            trusted_proxies: self.trusted_proxies()?,
        })
    }
}

impl Front {
    /// Answers on a listening socket. `placeholders`: a text in the refusals, and the name of what is put there.
    #[allow(clippy::too_many_arguments, reason = "all that the port needs")]
    pub fn open(
        plane: &Arc<Plane>,
        descriptor: i32,
        app_socket: &Path,
        settings: &FrontSettings,
        refusals: Vec<RefusalTemplate>,
        placeholders: &HashMap<String, String>,
        live: Vec<u8>,
        certificate: Option<CertificatePair>,
    ) -> Result<Self, Fault> {
        let certificate = certificate.map(|(chain, key)| Certificate::read(&chain, &key)).transpose()?;
        let published = refusals.into_iter().map(|RefusalTemplate(name, status, headers, body)| templates::Published {
            name,
            status,
            headers,
            body,
        });
        let templates = Templates::of(published.collect(), placeholders)?;
        let runtime = plane.runtime()?;
        let _inside = runtime.enter();
        let stream = listening(descriptor)
            .map_err(|error| Fault::argument(format!("descriptor {descriptor} is no listening socket: {error}")))?;
        let limits = settings.front()?;
        let app = App::new(app_socket, limits.body.pace);
        let front = respond::Front::new(plane.clone(), app, templates, live.into(), limits);
        let listener = Arc::new(Listener::new(Arc::new(front), settings.listener()?, certificate));
        let accepting = runtime.spawn(listener.clone().accept(stream));
        Ok(Self { listener, accepting: Mutex::new(Some(accepting)), plane: plane.clone() })
    }
}

/// The socket that the parent bound: a copy of the descriptor, which the caller keeps.
fn listening(descriptor: i32) -> io::Result<TcpListener> {
    // SAFETY: the descriptor stays open while this call lasts, because the caller owns it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let listener = std::net::TcpListener::from(borrowed.try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// An address is the network of itself alone.
fn network(text: &str) -> Result<IpNet, Fault> {
    text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
        Fault::argument(format!("`trusted_proxies`: `{text}` is neither an IP address nor a network like `10.0.0.0/8`"))
    })
}
