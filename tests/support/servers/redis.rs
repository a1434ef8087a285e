//! A Redis server as a process.

use std::io::{self, Error};
use std::net::SocketAddr;
use std::path::Path;

use super::identity::Identity;
use super::ports::BUS;
use super::resp::{Client, Reply};
use super::server::{Program, Server};
use super::sockets;

pub type Redis = Server<RedisOptions>;

/// How a server is set up. Unless told otherwise it keeps nothing over a restart and asks for no password.
#[derive(Clone, Default)]
pub struct RedisOptions {
    password: Option<String>,
    arguments: Vec<String>,
    /// A certificate and its key.
    secured: Option<[String; 2]>,
    /// Whether nodes of a cluster talk to each other over TLS as well.
    has_secured_bus: bool,
    /// Another program than Debian's Redis.
    program: Option<String>,
}

/// Files in the directory of a server, with its certificate and the key of it.
const SECRETS: [&str; 2] = ["certificate.pem", "key.pem"];

impl RedisOptions {
    /// Keeps what it has answered to over `stop`, and over `kill` as well: a write is with the system before
    /// it is answered.
    pub fn persistent(self) -> Self {
        // With a sync each second, a write waits for a sync under way, for up to two seconds, and is answered
        // before.
        self.config(&["appendonly", "yes"]).config(&["appendfsync", "no"])
    }

    /// The password of the user `default`.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.config(&["requirepass", password])
    }

    /// Another user, with rules such as `["~limits:*", "+@all"]`.
    pub fn user(self, name: &str, password: &str, rules: &[&str]) -> Self {
        self.config(&[&["user", name, "on", &format!(">{password}")], rules].concat())
    }

    /// Another program that serves the same: a newer Redis, or Valkey.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = Some(path.to_str().unwrap().to_owned());
        self
    }

    /// A line of the configuration file, word by word; a later one replaces an earlier one.
    pub fn config(mut self, words: &[&str]) -> Self {
        for (index, word) in words.iter().enumerate() {
            self.arguments.push(if index == 0 { format!("--{word}") } else { (*word).to_owned() });
        }
        self
    }

    /// Serves over TLS as well, as this identity, at [`secured_port`](Redis::secured_port).
    pub fn secured(self, identity: &Identity) -> Self {
        let secured = Some([identity.certificate.clone(), identity.key.clone()]);
        let [certificate, key] = SECRETS;
        let files =
            ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate];
        let mut options = Self { secured, ..self };
        options.arguments.extend(files.map(str::to_owned));
        options.config(&["tls-auth-clients", "no"])
    }

    /// The same as a node of a cluster, all of whose nodes are secured.
    pub(super) fn secured_node(self, identity: &Identity) -> Self {
        let options = Self { has_secured_bus: true, ..self.secured(identity) };
        options.config(&["tls-cluster", "yes"])
    }

    pub fn start(self) -> Redis {
        Server::launch(self)
    }

    fn client(&self, address: SocketAddr) -> io::Result<Client> {
        let mut client = Client::connect(address)?;
        if let Some(password) = &self.password {
            match client.ask(&["AUTH", password])? {
                Reply::Error(error) => return Err(Error::other(error)),
                _ => return Ok(client),
            }
        }
        Ok(client)
    }
}

impl Program for RedisOptions {
    const NAME: &'static str = "redis-server";

    fn path(&self) -> String {
        self.program.clone().unwrap_or_else(|| Self::NAME.to_owned())
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let (port, secured_port, bus) = (port.to_string(), (port + BUS).to_string(), port - BUS);
        let fixed = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"];
        let secured = self.secured.iter().flat_map(|_| ["--tls-port".to_owned(), secured_port.clone()]);
        // Where its bus would be it serves over TLS.
        let bus = ["--cluster-port".to_owned(), bus.to_string()];
        let bus = bus.into_iter().filter(|_| self.has_secured_bus);
        let arguments = self.arguments.iter().cloned().chain(secured).chain(bus);
        fixed.map(str::to_owned).into_iter().chain(arguments).collect()
    }

    fn prepare(&self, directory: &Path, _: u16) {
        for (name, text) in SECRETS.iter().zip(self.secured.iter().flatten()) {
            std::fs::write(directory.join(name), text).unwrap();
        }
    }

    fn process_at(&self, address: SocketAddr) -> io::Result<u32> {
        process_of(&mut self.client(address)?)
    }
}

impl Redis {
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    pub fn start() -> Self {
        Self::options().start()
    }

    /// Starts this number of servers that know nothing of each other.
    pub fn independent(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::start()).collect()
    }

    /// Where it serves over TLS, if it does.
    pub fn secured_port(&self) -> u16 {
        self.port() + BUS
    }

    /// Where other nodes of its cluster reach it.
    pub(super) fn bus(&self) -> u16 {
        if self.program().has_secured_bus { self.port() - BUS } else { self.port() + BUS }
    }

    /// The address where it serves over TLS, by a name that its certificate is to have.
    pub fn secured_url(&self) -> String {
        format!("rediss://localhost:{}", self.secured_port())
    }

    /// With the password of the user `default`, if there is one.
    pub fn url(&self) -> String {
        match &self.program().password {
            Some(password) => format!("redis://:{password}@{}", self.address()),
            None => format!("redis://{}", self.address()),
        }
    }

    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@{}", self.address())
    }

    /// A connection as the user `default`.
    pub fn client(&self) -> Client {
        self.program().client(self.address()).unwrap()
    }

    /// Asks over a connection of its own, as the user `default`.
    pub fn command(&self, words: &[impl AsRef<[u8]>]) -> Reply {
        self.client().ask(words).unwrap()
    }

    /// Closes the connections of all clients, and waits until the clients can see that.
    pub fn disconnect(&self) {
        self.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        self.until_disconnected();
        if self.program().secured.is_some() {
            sockets::until_closed(self.secured_port());
        }
    }

    /// The value of a field of `INFO`.
    pub fn info(&self, field: &str) -> Option<String> {
        value(&self.command(&["INFO", "everything"]).text(), field)
    }
}

/// The process behind a connection, once it is ready for commands: `INFO` is answered before, `PING` is not.
pub(super) fn process_of(client: &mut Client) -> io::Result<u32> {
    match client.ask(&["PING"])? {
        Reply::Status(_) => {}
        reply => return Err(Error::other(format!("{reply:?}"))),
    }
    let id = value(&client.ask(&["INFO", "server"])?.text(), "process_id");
    id.and_then(|id| id.parse().ok()).ok_or_else(|| Error::other("INFO names no process"))
}

/// The value in a list of lines `field:value`.
pub(super) fn value(lines: &str, field: &str) -> Option<String> {
    let found = lines.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    found.map(str::to_owned)
}
