//! Redis servers that are one cluster, and can move a slot from one to another.

use super::identity::Identity;
use super::proxy::Proxy;
use super::redis::{Redis, RedisOptions, value};
use super::resp::Reply;
use super::wait::{AGREED, until};

/// How many slots the keys of a cluster fall into.
const SLOTS: u16 = 16_384;

/// How many keys are moved at once.
const BATCH: &str = "100";

/// Masters without replicas, at loopback ports; each has as many slots as the others, or one less.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts one of three; takes 2 s, since a cluster's masters wait so long before they trust what they
    /// know.
    pub fn start() -> Self {
        Self::of(3, 3)
    }

    /// Starts one of so many nodes, of which only the first few have slots.
    pub fn of(nodes: u16, serving: u16) -> Self {
        Self::with(&Redis::options(), nodes, serving)
    }

    /// Starts one of two nodes that serve over TLS as well, each as this identity, which is to be for
    /// `localhost` and 127.0.0.1.
    pub fn secured(identity: &Identity) -> Self {
        Self::with(&Redis::options().secured_node(identity), 2, 2)
    }

    fn with(options: &RedisOptions, nodes: u16, serving: u16) -> Self {
        let options = options
            .clone()
            .config(&["cluster-enabled", "yes"])
            .config(&["cluster-announce-ip", "127.0.0.1"])
            // Where one is down, the others go on: the setting that operators should use.
            .config(&["cluster-require-full-coverage", "no"])
            // The time that a machine busy with other tests may hold a node up before the others give it up.
            .config(&["cluster-node-timeout", "5000"]);
        let nodes: Vec<_> = (0..nodes).map(|_| options.clone().start()).collect();
        for (node, index) in nodes.iter().zip(0..) {
            if index < serving {
                let [first, end] =
                    [index, index + 1].map(|index| u32::from(index) * u32::from(SLOTS) / u32::from(serving));
                done(node, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]);
            }
            // Distinct from the start, so that they need not settle whose word counts.
            done(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            if index > 0 {
                let [port, bus] = [nodes[0].port(), nodes[0].bus()].map(|port| port.to_string());
                done(node, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            }
        }
        let cluster = Self { nodes };
        cluster.wait();
        cluster
    }

    /// Has all nodes say that one of them is to be reached through a proxy.
    pub fn reach_through(&self, node: usize, proxy: &Proxy) {
        let (node, port) = (&self.nodes[node], proxy.address().port().to_string());
        done(node, &["CONFIG", "SET", "cluster-announce-port", &port]);
        let of = id(node);
        for node in &self.nodes {
            until(AGREED, "all nodes know a node's new port", || {
                let nodes = node.command(&["CLUSTER", "NODES"]).text();
                nodes.lines().any(|line| line.starts_with(&of) && line.contains(&format!(":{port}@")))
            });
        }
    }

    /// Makes a node without slots a replica of another.
    pub fn replicate(&self, replica: usize, master: usize) {
        let (replica, master) = (&self.nodes[replica], id(&self.nodes[master]));
        done(replica, &["CLUSTER", "REPLICATE", &master]);
        until(AGREED, "a replica has what its master has", || {
            replica.info("master_link_status").as_deref() == Some("up")
        });
    }

    /// Makes a replica the master, whether its own is there or not.
    pub fn promote(&self, replica: usize) {
        let replica = &self.nodes[replica];
        done(replica, &["CLUSTER", "FAILOVER", "TAKEOVER"]);
        until(AGREED, "a replica is promoted", || replica.info("role").as_deref() == Some("master"));
    }

    /// Waits until every node knows all others and serves every slot.
    pub fn wait(&self) {
        let nodes = self.nodes.len().to_string();
        for node in &self.nodes {
            until(AGREED, "a cluster's nodes are ready", || {
                let info = node.command(&["CLUSTER", "INFO"]).text();
                // It is ok without all slots as well, where the others go on.
                value(&info, "cluster_state").as_deref() == Some("ok")
                    && value(&info, "cluster_slots_ok") == Some(SLOTS.to_string())
                    && value(&info, "cluster_known_nodes").as_ref() == Some(&nodes)
            });
        }
    }

    /// The URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// The URLs of all nodes over TLS.
    pub fn secured_urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::secured_url).collect()
    }

    pub fn slot(&self, key: &str) -> u16 {
        self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).integer() as u16
    }

    /// Which of the nodes serves a slot, by its own account.
    pub fn owner(&self, slot: u16) -> usize {
        self.nodes.iter().position(|node| account(node, &id(node)).has(slot)).expect("every slot is served")
    }

    /// Moves a slot with its keys to another node, while both serve.
    pub fn move_slot(&self, slot: u16, to: usize) {
        if self.owner(slot) != to {
            self.start_move(slot, to);
            self.finish_move(slot, to);
        }
    }

    /// The first half of a move: the keys are at the new node, and the old one, which still owns the slot,
    /// answers `ASK` for a key that it no longer has.
    pub fn start_move(&self, slot: u16, to: usize) {
        let from = &self.nodes[self.owner(slot)];
        let (target, port) = (&self.nodes[to], self.nodes[to].port().to_string());
        let slot = slot.to_string();
        done(target, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        done(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(target)]);
        loop {
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, BATCH]);
            if keys.array().is_empty() {
                break;
            }
            // With no key, in database 0, within 5 s: the keys follow.
            let mut command = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"]
                .map(|word| word.as_bytes().to_vec())
                .to_vec();
            command.extend(keys.array().iter().map(|key| match key {
                Reply::Bulk(key) => key.clone(),
                _ => panic!("not a key: {key:?}"),
            }));
            let moved = from.command(&command);
            assert!(moved == Reply::ok() || moved == Reply::Status("NOKEY".to_owned()), "{moved:?}");
        }
    }

    /// The second half: the new node owns the slot, and all others answer `MOVED`.
    pub fn finish_move(&self, slot: u16, to: usize) {
        let (new, id) = (&self.nodes[to], id(&self.nodes[to]));
        // The new owner first: it begins an epoch in which its word counts for more than the former owner's.
        let others = self.nodes.iter().enumerate().filter(|(index, _)| *index != to).map(|(_, node)| node);
        for node in std::iter::once(new).chain(others) {
            done(node, &["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id]);
        }
        // Until a node has heard of that epoch, it may take the slot back for what the former owner said
        // before.
        let own = account(new, &id);
        for node in &self.nodes {
            until(AGREED, "all nodes know the new owner of a slot", || {
                let account = account(node, &id);
                account.epoch == own.epoch && account.has(slot)
            });
        }
    }
}

fn done(node: &Redis, command: &[&str]) {
    assert_eq!(node.command(command), Reply::ok(), "{command:?}");
}

fn id(node: &Redis) -> String {
    node.command(&["CLUSTER", "MYID"]).text()
}

/// The entry of a node about another, or about itself.
struct Account {
    epoch: String,
    /// First and last.
    ranges: Vec<(u16, u16)>,
}

impl Account {
    fn has(&self, slot: u16) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

fn account(node: &Redis, of: &str) -> Account {
    let nodes = node.command(&["CLUSTER", "NODES"]).text();
    let line =
        nodes.lines().find(|line| line.starts_with(of)).expect("the nodes of a cluster know each other");
    // Eight fields, the seventh of which is the epoch, then slots; one on the move comes again as `[` and
    // more.
    let fields: Vec<_> = line.split(' ').collect();
    let slots = fields[8..].iter().filter(|slots| !slots.starts_with('['));
    let ranges = slots.map(|slots| {
        let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
        (first.parse().unwrap(), last.parse().unwrap())
    });
    Account { epoch: fields[6].to_owned(), ranges: ranges.collect() }
}
