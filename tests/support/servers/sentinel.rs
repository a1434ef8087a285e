//! A Redis master with a replica, and a sentinel that makes the replica the master when asked or when it
//! must.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::identity::Identity;
use super::ports::BUS;
use super::redis::{Redis, process_of};
use super::resp::{Client, Reply};
use super::server::{Program, Server};
use super::wait::{AGREED, until};

/// The file for the sentinel's settings and findings.
const FILE: &str = "sentinel.conf";

/// The sentinel as a program.
pub struct SentinelProgram {
    /// The port of the master, over TLS if there is an identity.
    master: u16,
    identity: Option<Identity>,
}

impl Program for SentinelProgram {
    // The program of a sentinel is that of a server.
    const NAME: &'static str = "redis-server";

    fn arguments(&self, _port: u16) -> Vec<String> {
        [FILE, "--sentinel"].map(str::to_owned).to_vec()
    }

    fn prepare(&self, directory: &Path, port: u16) {
        let (name, master) = (Sentinel::NAME, self.master);
        let mut tls = String::new();
        if let Some(identity) = &self.identity {
            fs::write(directory.join("certificate.pem"), &identity.certificate).unwrap();
            fs::write(directory.join("key.pem"), &identity.key).unwrap();
            tls = format!(
                "tls-port {}\ntls-auth-clients no\ntls-replication yes\ntls-cert-file certificate.pem\n\
                 tls-key-file key.pem\ntls-ca-cert-file certificate.pem\n",
                port + BUS
            );
        }
        let text = format!(
            "bind 127.0.0.1\nport {port}\n{tls}\
             sentinel monitor {name} 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 2000\n"
        );
        fs::write(directory.join(FILE), text).unwrap();
    }

    fn process_at(&self, address: SocketAddr) -> io::Result<u32> {
        process_of(&mut Client::connect(address)?)
    }
}

pub struct Sentinel {
    pub sentinel: Server<SentinelProgram>,
    pub nodes: [Redis; 2],
}

impl Sentinel {
    /// The name of the master.
    pub const NAME: &'static str = "mymaster";

    /// Returns when the replica has the master's data and the sentinel knows both.
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// The same over TLS: the sentinel at [`secured_port`](Self::secured_port), and its nodes.
    pub fn secured(identity: &Identity) -> Self {
        Self::launch(Some(identity))
    }

    fn launch(identity: Option<&Identity>) -> Self {
        // A master waits 5 s for more replicas before it sends its data, unless told not to.
        let options = || {
            let options = Redis::options().config(&["repl-diskless-sync-delay", "0"]);
            match identity {
                Some(identity) => options.secured(identity).config(&["tls-replication", "yes"]),
                None => options,
            }
        };
        let master = options().start();
        let port = if identity.is_some() { master.secured_port() } else { master.port() };
        let replica = options().config(&["replicaof", "127.0.0.1", &port.to_string()]).start();
        until(AGREED, "the replica follows its master", || {
            replica.info("master_link_status").as_deref() == Some("up")
        });
        let sentinel = Server::launch(SentinelProgram { master: port, identity: identity.cloned() });
        let sentinel = Self { sentinel, nodes: [master, replica] };
        until(AGREED, "the sentinel finds the replica", || {
            let known = sentinel.ask(&["SENTINEL", "REPLICAS", Self::NAME]);
            let up = |replica: &Reply| {
                field(replica, "master-link-status") == "ok" && field(replica, "flags") == "slave"
            };
            known.array().len() == 1 && known.array().iter().all(up)
        });
        sentinel
    }

    /// Where the sentinel serves over TLS, if it does.
    pub fn secured_port(&self) -> u16 {
        self.sentinel.port() + BUS
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.sentinel.address())
    }

    pub fn ask(&self, words: &[&str]) -> Reply {
        Client::connect(self.sentinel.address()).and_then(|mut client| client.ask(words)).unwrap()
    }

    /// Which of the nodes is the master by the sentinel's account.
    pub fn master_index(&self) -> usize {
        let address = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::NAME]);
        let port = address.array()[1].text();
        self.nodes.iter().position(|node| node.port().to_string() == port).expect("it is one of ours")
    }

    pub fn master(&self) -> &Redis {
        &self.nodes[self.master_index()]
    }

    pub fn replica(&self) -> &Redis {
        &self.nodes[1 - self.master_index()]
    }

    /// Has the sentinel change the roles, while both nodes run, and waits until it has.
    ///
    /// The former master goes on as one for about 10 s, until the sentinel has made sure that it means to be
    /// none.
    pub fn fail_over(&self) {
        let former = self.master_index();
        let begun = || self.ask(&["SENTINEL", "FAILOVER", Self::NAME]) == Reply::ok();
        // Refused while the sentinel has not heard from the replica lately enough.
        until(AGREED, "the sentinel begins to fail over", begun);
        self.wait_for_promotion(former);
    }

    /// Kills the master, and waits until the sentinel has noticed and the replica is the master.
    pub fn kill_master(&mut self) {
        let former = self.master_index();
        self.nodes[former].kill();
        self.wait_for_promotion(former);
    }

    fn wait_for_promotion(&self, former: usize) {
        until(AGREED, "the replica is the master", || {
            self.master_index() != former
                && self.master().command(&["ROLE"]).array()[0] == Reply::bulk("master")
        });
    }
}

/// The value in a list of names, each followed by its value.
fn field(list: &Reply, name: &str) -> String {
    let (_, value) =
        list.array().iter().zip(&list.array()[1..]).step_by(2).find(|(key, _)| key.text() == name).unwrap();
    value.text()
}
