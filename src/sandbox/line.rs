//! The line to one client: an ordinary TCP connection that a handler can cut without an answer.
//!
//! A lost reply is the case that secret rotation must survive, so it has to be real: the client's
//! socket sees a reset, not an error page. It is not a proxy: nothing is delayed or altered here.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use crate::sandbox::gate;

/// A handle on the connection that a request came in on; take it as `ConnectInfo<Line>`.
#[derive(Clone, Debug, Default)]
pub struct Line {
    cut: Arc<AtomicBool>,
    peer: Option<SocketAddr>,
}

impl Line {
    /// Cuts the connection: not one byte of the returned response reaches the client, whose socket
    /// is reset instead. Return it from the handler.
    pub fn cut(&self) -> Response {
        self.cut.store(true, Ordering::Release);
        Response::new(Body::empty())
    }

    /// The client's end of it.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }
}

/// Serves `router` on `listener` until `shutdown` is done; its handlers may take `ConnectInfo<Line>`.
///
/// # Errors
/// Those of `axum::serve`, which in practice means none.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = gate::guarded(router).into_make_service_with_connect_info::<Line>();
    axum::serve(Lines(listener), service).with_graceful_shutdown(shutdown).await
}

/// Asks `router` without a socket: the answer, whole; `None` where the line was cut.
///
/// # Panics
/// If a body breaks off by itself; those of the sandbox's services are in memory.
pub async fn ask(router: &Router, request: http::Request<Bytes>) -> Option<http::Response<Bytes>> {
    let line = Line::default();
    let mut request = request.map(Body::from);
    request.extensions_mut().insert(ConnectInfo(line.clone()));
    let Ok(response) = router.clone().call(request).await;
    if line.is_cut() {
        return None;
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("the body is in memory");
    Some(http::Response::from_parts(parts, body))
}

struct Lines(TcpListener);

struct CuttableStream {
    stream: TcpStream,
    line: Line,
}

impl Listener for Lines {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Small answers on loopback: waiting for more data to send only costs time. A failure costs no more than that.
        let _ = stream.set_nodelay(true);
        (CuttableStream { stream, line: Line { cut: Arc::default(), peer: Some(address) } }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(incoming: IncomingStream<'_, Lines>) -> Self {
        incoming.io().line.clone()
    }
}

impl CuttableStream {
    /// Refuses the write once the line is cut; hyper then drops the socket, which the zero linger
    /// turns into a reset.
    fn check(&self) -> io::Result<()> {
        if !self.line.is_cut() {
            return Ok(());
        }
        self.stream.set_zero_linger()?;
        Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut by the sandbox"))
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
