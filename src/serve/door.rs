//! Who may connect, for how long, and how many at once. Clients that are slow, many or broken must not
//! use up the descriptors that the rotation needs.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections at once; more wait in the system's queue.
const CONNECTION_COUNT_MAX: usize = 16;
/// How long a client may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last: one question and its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16_384;
/// Wait after a connection could not be accepted: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers by `router` until `shutdown` ends.
pub(super) async fn keep(listener: Arc<TcpListener>, router: Router, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTION_COUNT_MAX));
    let mut failing = false;
    tokio::pin!(shutdown);
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            both = accept => both,
            () = &mut shutdown => return,
        };
        match (place, accepted) {
            (Ok(place), Ok((stream, _))) => {
                failing = false;
                tokio::spawn(answer(stream, router.clone(), place));
            }
            (_, Err(error)) => {
                if !failing {
                    tracing::warn!(
                        "the status page can't be asked: {error}; the credentials are looked after all the same"
                    );
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // Nobody closes the semaphore.
            (Err(_), Ok(_)) => return,
        }
    }
}

async fn answer(stream: TcpStream, router: Router, _place: OwnedSemaphorePermit) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false).max_buf_size(HEAD_BYTES_MAX);
    let serving = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION_TIMEOUT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client of the status page went away"),
        Err(_) => tracing::debug!("a client of the status page was too slow"),
    }
}
