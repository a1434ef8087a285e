//! A storage of several nodes, each of which fails on demand and takes time on demand.

use std::sync::{Arc, Mutex};

use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, MultiKeyReply, Reply};
use traffik::{ErasedKey, Hit, Op, Seed, Strategy, Timestamp, Verdict};

use crate::faulty::{Faulty, bytes};

/// Keys are spread over nodes by their hash.
#[derive(Clone)]
pub struct Sharded<S: Strategy>(Arc<Mutex<Vec<(Arc<str>, Faulty<S>)>>>);

impl<S: Strategy> Sharded<S> {
    /// Creates this number of nodes, named `node 0` and so on.
    pub fn new(nodes: usize, runtime: &Manual) -> Self {
        Self::for_keys(nodes, 64, runtime)
    }

    /// Nodes with room for so many keys each.
    pub fn for_keys(nodes: usize, keys: usize, runtime: &Manual) -> Self {
        let of = |at| (format!("node {at}").into(), Faulty::for_keys(keys, runtime));
        Self(Arc::new(Mutex::new((0..nodes).map(of).collect())))
    }

    /// The node at a place.
    pub fn at(&self, at: usize) -> Faulty<S> {
        self.0.lock().unwrap()[at].1.clone()
    }

    /// Another node keeps the keys of the one at this place, which is gone.
    pub fn replace(&self, at: usize, name: &str, node: Faulty<S>) {
        self.0.lock().unwrap()[at] = (name.into(), node);
    }

    /// The place of the node that keeps a key.
    pub fn of(&self, key: &dyn ErasedKey) -> usize {
        (Seed::new(1).digest(key).as_u64() % self.0.lock().unwrap().len() as u64) as usize
    }

    /// The keys of the node at a place, without end.
    pub fn keys(&self, at: usize) -> impl Iterator<Item = u64> {
        (0..).filter(move |key| self.of(key) == at)
    }

    fn node_of(&self, key: &dyn ErasedKey) -> Faulty<S> {
        self.at(self.of(key))
    }
}

impl<S: Strategy> AsyncStorage<S> for Sharded<S> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.node_of(key).apply(strategy, key, op)
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.node_of(key).load(strategy, key)
    }

    fn node(&self, key: &dyn ErasedKey) -> Option<Arc<str>> {
        let at = self.of(key);
        Some(Arc::clone(&self.0.lock().unwrap()[at].0))
    }

    /// One step if all keys are on one node; else all are looked at, and charged if none denies.
    fn check_together(
        &self,
        strategy: &S,
        keys: &[&dyn ErasedKey],
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        if let [first, others @ ..] = keys
            && others.iter().all(|key| self.of(*key) == self.of(*first))
        {
            return self.node_of(*first).check_together(strategy, keys, hit);
        }
        let keys: Vec<_> = keys.iter().map(|key| bytes(*key)).collect();
        let (it, strategy, hit) = (self.clone(), strategy.clone(), *hit);
        Reply::pending(async move {
            let mut told = Vec::new();
            for op in [Op::Peek(hit), Op::Check(hit)] {
                told.clear();
                for key in &keys {
                    told.push(it.apply(&strategy, key, &op).await?);
                }
                if !told.iter().all(Verdict::is_allowed) {
                    break;
                }
            }
            Ok(MultiKeyReply::Sequential(told))
        })
    }
}
