//! Where scenes are played: connections over memory, whose both ends note what they see.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, abortable};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio_tungstenite::tungstenite::{Error, Message};
use traffik::runtime::{Manual, Runtime};
use traffik::storage::{AsyncStorage, BoxFuture};
use traffik::web::{Client, ClientKey, Throttle, ThrottleBuilder, WsPolicy, WsThrottle};
use traffik::{Strategy, Timer};
use traffik_test_support::elsewhere::elsewhere;
use traffik_test_support::faulty::{Course, Faulty};
use traffik_test_support::golden::golden;
use traffik_test_support::ledger::{Notes, Stored, unobserved};
use traffik_test_support::ways::compared;

use crate::wire::{Socket, pair};

/// Something to be played.
pub(crate) struct Scene {
    name: String,
    play: Box<dyn Fn(Stage) -> BoxFuture<'static, ()>>,
}

pub(crate) fn scene<F: Future<Output = ()> + Send + 'static>(
    name: impl Into<String>,
    play: impl Fn(Stage) -> F + 'static,
) -> Scene {
    Scene { name: name.into(), play: Box::new(move |stage| Box::pin(play(stage))) }
}

/// Plays scenes, and compares what is noted with goldens of this name.
pub(crate) fn play(name: &str, scenes: &[Scene]) {
    let ways = [("here", false), ("elsewhere", true)];
    let notes = ways.map(|_| Notes::default());
    let (mut texts, mut calls) = (String::new(), String::new());
    for scene in scenes {
        let mut told = Vec::new();
        for ((way, is_elsewhere), notes) in ways.into_iter().zip(&notes) {
            let of = |notes: Notes, is_observed| {
                let runtime = Manual::new();
                let stage =
                    Stage { runtime: runtime.clone(), notes: notes.clone(), is_elsewhere, is_observed };
                runtime.run((scene.play)(stage)).unwrap();
                notes.take()
            };
            told.push((way, of(notes.clone(), true)));
            // Nothing else changes where nobody listens.
            let unheard = of(Notes::default(), false);
            let seen = told.last().map(|(_, (text, calls))| (unobserved(text), calls.clone()));
            assert_eq!(Some(unheard), seen, "{} {way}", scene.name);
        }
        let heading = format!("== {}\n", scene.name);
        texts += &heading;
        texts += &compared(&told.iter().map(|(way, told)| (*way, told.0.clone())).collect::<Vec<_>>());
        calls += &heading;
        calls += &compared(&told.iter().map(|(way, told)| (*way, told.1.clone())).collect::<Vec<_>>());
    }
    texts += "== counted\n";
    let counted = ways.iter().zip(&notes).map(|((way, _), notes)| (*way, notes.counted()));
    texts += &compared(&counted.collect::<Vec<_>>());
    golden("tests/websocket/golden", name, &texts);
    golden("tests/websocket/golden", &format!("{name}-calls"), &calls);
}

/// Clones are the same stage.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) runtime: Manual,
    pub(crate) notes: Notes,
    is_elsewhere: bool,
    is_observed: bool,
}

impl Stage {
    /// A throttle that is observed, on a storage whose next calls go like this.
    pub(crate) fn throttle<S: Strategy>(
        &self,
        strategy: S,
        courses: &[Course],
    ) -> ThrottleBuilder<S, Stored<S>> {
        let store = self.store(courses);
        self.throttle_on(strategy, store)
    }

    /// A store whose next calls go like this.
    pub(crate) fn store<S: Strategy>(&self, courses: &[Course]) -> Faulty<S> {
        let store = Faulty::for_keys(64, &self.runtime);
        store.next(courses);
        store
    }

    pub(crate) fn throttle_on<S: Strategy>(
        &self,
        strategy: S,
        store: Faulty<S>,
    ) -> ThrottleBuilder<S, Stored<S>> {
        let truth = store.store.clone();
        let through: Stored<S> = if self.is_elsewhere { Arc::new(elsewhere(store)) } else { Arc::new(store) };
        let stored = self.notes.ledger("messages", through, truth);
        let throttle = Throttle::builder("messages", strategy, stored);
        if self.is_observed { throttle.observe(self.notes.clone()) } else { throttle }
    }

    pub(crate) fn policy<C>(&self) -> WsPolicy<C, Message> {
        WsPolicy::new(self.runtime.clone())
    }

    /// A connection counted for itself, under a limit and a policy, and all that its peer does.
    pub(crate) async fn plain<S: Strategy>(
        &self,
        strategy: S,
        policy: WsPolicy<S::Cost, Message>,
        steps: impl IntoIterator<Item = Step>,
    ) {
        let throttle = self.throttle(strategy, &[]).build().unwrap();
        self.connection(throttle.client_for(ClientKey::connection()), policy, steps).await;
    }

    /// The same for this client.
    pub(crate) async fn connection<S: Strategy, M: AsyncStorage<S> + 'static>(
        &self,
        client: impl Into<Option<Client<S, M>>>,
        policy: WsPolicy<S::Cost, Message>,
        steps: impl IntoIterator<Item = Step>,
    ) {
        let (server, socket) = pair(1 << 16).await;
        let server: WsThrottle<Socket, S, M, Message> = WsThrottle::new(server, client, policy);
        self.serve("", server);
        self.peer("", socket).steps(steps).await;
    }

    /// Reads a socket to its end, and notes what comes.
    pub(crate) fn serve<W, E>(&self, name: &'static str, mut socket: W)
    where
        W: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Unpin + Send + 'static,
        E: Display + Send,
    {
        let stage = self.clone();
        self.runtime.spawn(async move {
            while let Some(message) = socket.next().await {
                match message {
                    Ok(message) => stage.note(&format!("  {name}reads {}", words(&message))),
                    Err(error) => stage.note(&format!("  {name}is told: {error}")),
                }
            }
            stage.note(&format!("  {name}reads no more"));
        });
    }

    /// The other end, which notes what comes.
    pub(crate) fn peer(&self, name: &'static str, socket: Socket) -> Peer {
        let (sink, mut stream) = socket.split();
        let (stage, is_deaf) = (self.clone(), name == "deaf ");
        let (reads, reader) = abortable(async move {
            loop {
                match stream.next().await {
                    Some(Ok(message)) => stage.note(&format!("< {name}{}", words(&message))),
                    Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => break,
                    Some(Err(error)) => {
                        stage.note(&format!("< {name}{error}"));
                        break;
                    }
                }
            }
            stage.note(&format!("< {name}end"));
        });
        let reads = async move {
            if is_deaf {
                // It keeps the socket open all the same.
                std::future::pending::<()>().await;
            }
            let _ = reads.await;
        };
        self.runtime.spawn(reads);
        Peer { name, stage: self.clone(), reader, sink: Some(Box::new(sink)) }
    }

    /// Notes a line with the time.
    pub(crate) fn note(&self, line: &str) {
        self.notes.line(&format!("{line} ({} ms)", self.runtime.now().as_micros() / 1_000));
    }
}

/// A message in words; long ones by their length.
fn words(message: &Message) -> String {
    match message {
        Message::Text(text) if text.len() > 300 => format!("text of {} bytes", text.len()),
        Message::Text(text) => format!("text {text}"),
        Message::Binary(bytes) => format!("binary of {} bytes", bytes.len()),
        Message::Ping(bytes) => format!("ping {}", String::from_utf8_lossy(bytes)),
        Message::Pong(bytes) => format!("pong {}", String::from_utf8_lossy(bytes)),
        Message::Close(Some(frame)) => format!("close {} {}", u16::from(frame.code), frame.reason),
        Message::Close(None) => "close".to_owned(),
        Message::Frame(_) => "frame".to_owned(),
    }
}

/// The client's end of a connection.
pub(crate) struct Peer {
    name: &'static str,
    stage: Stage,
    reader: AbortHandle,
    sink: Option<Box<dyn Sink<Message, Error = Error> + Send + Unpin>>,
}

/// A step of a peer.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    Text(&'static str),
    /// This number of bytes of text.
    Long(usize),
    Bytes(usize),
    Ping,
    Pong,
    Close,
    /// It goes without a word.
    Go,
    /// It waits for so many milliseconds.
    Wait(u64),
}

use Step::{Close, Go, Text, Wait};

/// Four messages, one more once the window is over, and the end of the connection.
pub(crate) const USUAL: [Step; 8] =
    [Text("a"), Text("b"), Text("c"), Step::Ping, Text("d"), Wait(10_000), Text("e"), Close];

impl Peer {
    /// Does all of this, and waits until nothing more happens for a while.
    pub(crate) async fn steps(mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            self.step(step).await;
        }
        self.stage.runtime.sleep(Duration::from_secs(100)).await;
        self.stage.notes.left();
    }

    pub(crate) async fn step(&mut self, step: Step) {
        let message = match step {
            Text(text) => Message::text(text),
            Step::Long(length) => Message::text("x".repeat(length)),
            Step::Bytes(length) => Message::binary(vec![7; length]),
            Step::Ping => Message::Ping("p".into()),
            Step::Pong => Message::Pong("p".into()),
            Close => Message::Close(None),
            Go => {
                self.stage.note(&format!("> {}goes", self.name));
                self.sink = None;
                self.reader.abort();
                return self.stage.runtime.advance(Duration::ZERO);
            }
            Wait(millis) => return self.stage.runtime.sleep(Duration::from_millis(millis)).await,
        };
        let told = format!("> {}{}", self.name, words(&message));
        self.stage.note(&told);
        self.stage.notes.call(&told);
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.send(message).await
        {
            self.stage.note(&format!("> {}cannot: {error}", self.name));
        }
        // Whatever goes on by itself comes to where it waits.
        self.stage.runtime.advance(Duration::ZERO);
        self.stage.notes.left();
    }
}
