//! The limit: what hyper and ONNX Runtime can do together, with nothing else in the way.
//!
//! `limit LIBRARY MODEL DESIGN [memory]` prints its port and answers `POST /predict` until it is ended. There are two designs, because which of them is
//! faster depends on the machine and on the connections: `alone`, where each thread has a listener and connections of its own, and
//! `shared`, where tokio moves connections to whichever thread is free. With `memory` a row is computed once.

mod answer;

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;

use crate::answer::{Answerer, Model};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fault = Box<dyn std::error::Error + Send + Sync>;

thread_local! {
    static ANSWERER: RefCell<Option<Answerer>> = const { RefCell::new(None) };
}

/// What every thread is given.
#[derive(Clone)]
struct Given {
    model: Arc<Model>,
    remembers: bool,
}

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, library, model, design, rest @ ..] = arguments.as_slice() else {
        return Err("usage: limit LIBRARY MODEL alone|shared [memory]".into());
    };
    let given = Given { model: Arc::new(Model::load(Path::new(library), Path::new(model))?), remembers: !rest.is_empty() };
    let threads = thread::available_parallelism()?.get();
    let listener = listen("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    let others = (1..threads).map(|_| listen(address)).collect::<Result<Vec<_>, _>>()?;
    println!("{}", address.port());
    if design == "shared" {
        drop(others);
        return Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_io()
            .build()?
            .block_on(async { tokio::spawn(serve(listener, given)).await? });
    }
    for listener in others {
        let given = given.clone();
        thread::spawn(move || serve_alone(listener, given));
    }
    serve_alone(listener, given)
}

fn serve_alone(listener: TcpListener, given: Given) -> Result<(), Fault> {
    Builder::new_current_thread().enable_io().build()?.block_on(serve(listener, given))
}

/// A listener on an address that others may listen on too: the kernel deals out the connections.
fn listen(address: SocketAddr) -> Result<TcpListener, Fault> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

async fn serve(listener: TcpListener, given: Given) -> Result<(), Fault> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let given = given.clone();
        let service = service_fn(move |request| answered(request, given.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answered(request: Request<Incoming>, given: Given) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST || request.uri().path() != "/predict" {
        return Ok(refusal(StatusCode::NOT_FOUND));
    }
    let Some(body) = whole(request.into_body()).await else { return Ok(refusal(StatusCode::BAD_REQUEST)) };
    let Ok(answer) = ANSWERER.with_borrow_mut(|own| answer(own, &given, &body)) else { return Ok(refusal(StatusCode::BAD_REQUEST)) };
    let mut response = Response::new(Full::new(Bytes::from(answer)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn answer(own: &mut Option<Answerer>, given: &Given, body: &[u8]) -> Result<Vec<u8>, Fault> {
    match own {
        Some(own) => own.answer(body),
        None => own.insert(Answerer::new(&given.model, given.remembers)?).answer(body),
    }
}

/// A body that came in one piece costs no copy.
async fn whole(mut body: Incoming) -> Option<Bytes> {
    let first = body.frame().await?.ok()?.into_data().ok()?;
    if body.is_end_stream() {
        return Some(first);
    }
    let rest = body.collect().await.ok()?.to_bytes();
    Some([first, rest].concat().into())
}

fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
