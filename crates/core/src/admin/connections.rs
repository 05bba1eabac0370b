//! The connections of an admin listener, which are limited to a small number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::admin::request::read;
use crate::admin::response::{OK, Response};
use crate::admin::routes::{Answer, answer, refusal};
use crate::admin::{AdminListener, HttpSettings, Peer, Service, Shown, agent, events};

/// Serves the connections of one listener.
pub struct Connections {
    service: Arc<Service>,
    shown: Shown,
    /// The open connections, the oldest first, each with whether its request has been read.
    open: VecDeque<Open>,
    streams: Arc<AtomicUsize>,
}

struct Open {
    task: JoinHandle<()>,
    has_request: Arc<AtomicBool>,
}

/// The maximum number of connections. A further connection replaces the oldest one whose request has not been read, so that silent
/// clients do not block a probe.
const MAX_CONNECTIONS: usize = 32;

/// The maximum number of event streams. A stream stays open for as long as its page.
const MAX_STREAMS: usize = 16;

/// The pause after a failed accept, for example without free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

impl Connections {
    pub fn new(service: Service, shown: Shown) -> Self {
        Self {
            service: Arc::new(service),
            shown,
            open: VecDeque::new(),
            streams: Arc::default(),
        }
    }

    /// Accepts and serves forever.
    pub async fn serve(mut self, listener: AdminListener) {
        loop {
            match listener.accept().await {
                Ok(Peer::Tcp(peer)) => self.add(peer),
                Ok(Peer::Unix(peer)) => self.add(peer),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn add(&mut self, peer: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        self.open.retain(|open| !open.task.is_finished());
        if self.open.len() >= MAX_CONNECTIONS {
            let silent = self.open.iter().position(|open| !open.has_request.load(Relaxed));
            // If all connections have sent their request, the new connection is closed.
            let Some(silent) = silent.and_then(|index| self.open.remove(index)) else {
                return;
            };
            silent.task.abort();
        }
        let has_request = Arc::new(AtomicBool::new(false));
        let connection = Connection {
            service: Arc::clone(&self.service),
            shown: self.shown.clone(),
            streams: Arc::clone(&self.streams),
            has_request: Arc::clone(&has_request),
        };
        let task = tokio::spawn(connection.serve(peer));
        self.open.push_back(Open { task, has_request });
    }
}

struct Connection {
    service: Arc<Service>,
    shown: Shown,
    streams: Arc<AtomicUsize>,
    has_request: Arc<AtomicBool>,
}

impl Connection {
    async fn serve(self, mut peer: impl AsyncRead + AsyncWrite + Unpin) {
        match &*self.service {
            Service::Agent { concurrency } => agent::answer(&mut peer, &self.shown, *concurrency).await,
            Service::Http(settings) => self.serve_http(&mut peer, settings).await,
        }
    }

    async fn serve_http(&self, peer: &mut (impl AsyncRead + AsyncWrite + Unpin), settings: &HttpSettings) {
        let request = match read(peer).await {
            Ok(request) => request,
            Err(unread) => {
                if let Some(response) = refusal(unread) {
                    response.send(peer, true).await;
                }
                return;
            }
        };
        self.has_request.store(true, Relaxed);
        match answer(&request, settings, &self.shown).await {
            Answer::Once(response) => response.send(peer, request.wants_body).await,
            Answer::Stream if !request.wants_body => {
                let response = Response {
                    content_type: events::CONTENT_TYPE,
                    ..Response::text(OK, "")
                };
                response.send(peer, false).await;
            }
            Answer::Stream => {
                let Some(_stream) = Stream::begin(&self.streams) else {
                    let busy = Response::text("503 Service Unavailable", "Too many pages are open\n");
                    return busy.send(peer, request.wants_body).await;
                };
                events::send(peer, &self.shown).await;
            }
        }
    }
}

/// Counts an event stream until it is dropped.
struct Stream<'a>(&'a AtomicUsize);

impl<'a> Stream<'a> {
    fn begin(streams: &'a AtomicUsize) -> Option<Self> {
        // All connections of a listener are on one thread.
        if streams.load(Relaxed) >= MAX_STREAMS {
            return None;
        }
        streams.fetch_add(1, Relaxed);
        Some(Self(streams))
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
