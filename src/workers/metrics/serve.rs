//! Connections, their limits, and what is answered under which path. Whoever is slow, silent or many hurts nobody but those who
//! ask here.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::Sender;
use futures_util::future::{select, Either};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{mpsc, oneshot, watch, Semaphore};
use tokio::time::timeout;

use super::accept::Format;
use super::encode::encode;
use super::gather::{self, Asker};
use super::stream::Ending;
use super::{Counts, Request};
use crate::core::metrics::snapshot::Snapshot;
use crate::workers::Wake;

/// Connections at a time; more are closed at once.
const CONNECTIONS: usize = 16;

/// Bytes of a request's head, the least that hyper allows.
const HEAD: usize = 8 << 10;

/// From its connection to the last byte of its answer.
const REQUEST: Duration = Duration::from_secs(10);

/// /healthz waits so long for Redis' thread.
const HEALTH: Duration = Duration::from_secs(1);

/// Where a connection cannot be taken: of files there may be none left.
const REST: Duration = Duration::from_millis(100);

const NO_ANSWER: &str = "redis: its thread did not answer (it is busy, or loads the dataset)";

struct Desk {
    askers: mpsc::Sender<Asker>,
    counts: Arc<Counts>,
}

type Answer = Response<Full<Bytes>>;

/// Serves until it is told to stop.
pub async fn run(
    socket: TcpListener,
    requests: Sender<Request>,
    wake: Wake,
    counts: Arc<Counts>,
    mut stopping: watch::Receiver<()>,
) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return log::warn!("cannot listen for metrics: {error}"),
    };
    let (askers, asked) = mpsc::channel(CONNECTIONS);
    let desk = Arc::new(Desk { askers, counts });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(gather::run(asked, requests, wake));
    loop {
        // That first: a socket that has ended accepts nobody, at once.
        let accepted = match select(pin!(stopping.changed()), pin!(listener.accept())).await {
            Either::Left(_) => return,
            Either::Right((accepted, _)) => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(REST).await;
            continue;
        };
        let stream = Ending(stream);
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    serve(stream, &desk).await;
                    drop(place);
                });
            }
            Err(_) => desk.counts.refuse(),
        }
    }
}

/// One request.
async fn serve(stream: Ending, desk: &Arc<Desk>) {
    let service = service_fn(|request| async {
        let answer = desk.answer(request).await;
        if !answer.status().is_success() && answer.status() != StatusCode::SERVICE_UNAVAILABLE {
            desk.counts.refuse();
        }
        Ok::<_, Infallible>(answer)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(REQUEST, connection).await {
        Ok(Ok(())) => {}
        // No HTTP, too much of it, or too slowly.
        Ok(Err(_)) | Err(_) => desk.counts.refuse(),
    }
}

impl Desk {
    async fn answer(&self, request: hyper::Request<Incoming>) -> Answer {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are answered here\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/metrics" => {
                let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
                self.metrics(Format::wanted(&accept.collect::<Vec<_>>().join(","))).await
            }
            "/healthz" => self.health().await,
            _ => text(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n"),
        }
    }

    async fn metrics(&self, format: Format) -> Answer {
        let Some(snapshot) = self.snapshot().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, format!("{NO_ANSWER}\n"));
        };
        match encode(snapshot, format) {
            Ok(body) => {
                self.counts.scraped();
                let mut answer = text(StatusCode::OK, body);
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
                answer
            }
            // Writing to memory does not fail.
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    async fn health(&self) -> Answer {
        let snapshot = timeout(HEALTH, self.snapshot()).await.ok().flatten();
        let reasons = snapshot.map_or_else(|| vec![NO_ANSWER.to_owned()], |snapshot| snapshot.health.reasons());
        match reasons.is_empty() {
            true => text(StatusCode::OK, "ok\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
        }
    }

    async fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let (asker, answered) = oneshot::channel();
        self.askers.send(asker).await.ok()?;
        answered.await.ok().flatten()
    }
}

/// HEAD has the same answer; hyper leaves out its body.
fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
