//! One round of questions to all servers: a majority decides, and slow servers answer in the background.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot::{Receiver, Sender};
use traffik_core::storage::{BackendError, ErrorKind};

use super::super::lock::Verb;
use super::ballot::Ballot;
use super::member::{Members, RedlockMember};
use crate::lock::{Owner, Ttl};
use crate::util::race::{Either, race};

/// A round about one name and one owner.
pub(super) struct Round {
    members: Arc<Members>,
    name: Arc<[u8]>,
    owner: Owner,
    under_way: FuturesUnordered<BoxFuture<'static, MemberReply>>,
    /// The servers that have granted the name, or may have.
    holders: Vec<Arc<RedlockMember>>,
    /// The fencing token, once a majority has granted the name.
    token: Option<u64>,
}

/// The reply of one server.
struct MemberReply {
    member: Arc<RedlockMember>,
    verb: Verb,
    reply: Result<Option<u64>, BackendError>,
}

impl MemberReply {
    fn is_grant(&self) -> bool {
        matches!((self.verb, &self.reply), (Verb::Acquire(_), Ok(Some(_))))
    }

    /// Returns whether the server has granted the name, or may have: after a timeout the outcome is unknown.
    fn may_hold(&self) -> bool {
        matches!(self.verb, Verb::Acquire(_))
            && match &self.reply {
                Ok(token) => token.is_some(),
                Err(failure) => failure.kind() == ErrorKind::Timeout,
            }
    }
}

impl Round {
    pub(super) fn new(members: Arc<Members>, name: Arc<[u8]>, owner: Owner) -> Self {
        Self { members, name, owner, under_way: FuturesUnordered::new(), holders: Vec::new(), token: None }
    }

    fn ask(&self, member: Arc<RedlockMember>, verb: Verb) {
        let (name, owner) = (Arc::clone(&self.name), self.owner);
        self.under_way.push(Box::pin(async move {
            let reply = member.ask(name, owner, verb).await;
            MemberReply { member, verb, reply }
        }));
    }

    fn ask_all(&self, verb: Verb) -> Ballot {
        self.members.all.iter().for_each(|member| self.ask(Arc::clone(member), verb));
        Ballot::of(self.members.all.len())
    }

    /// Returns the next reply. A server that grants late is asked to raise the token as well, and then counts
    /// like any other.
    async fn next(&mut self) -> Option<MemberReply> {
        let answer = self.under_way.next().await?;
        if answer.may_hold() {
            self.holders.push(Arc::clone(&answer.member));
        }
        if let Some(token) = self.token
            && answer.is_grant()
        {
            self.ask(Arc::clone(&answer.member), Verb::Raise(token));
        }
        Some(answer)
    }

    /// Renews or releases. Sends the decision once it is made, and continues until all servers have replied.
    pub(super) async fn settle(mut self, verb: Verb, decided: Sender<Result<bool, BackendError>>) {
        let (mut ballot, mut decided) = (self.ask_all(verb), Some(decided));
        while let Some(answer) = self.next().await {
            ballot.count(&answer.reply);
            if let Some(decision) = ballot.decision()
                && let Some(decided) = decided.take()
            {
                // Fails if the caller is gone; then nobody needs the decision.
                let _ = decided.send(decision);
            }
        }
    }

    /// Acquires. Sends the token once a majority has granted the name and raised the token, or sends `None`
    /// once no majority can. Releases all grants, also later ones, unless the caller takes the grant.
    pub(super) async fn acquire(
        mut self,
        ttl: Ttl,
        mut decided: Sender<Result<Option<u64>, BackendError>>,
        taken: Receiver<()>,
    ) {
        let decision = race(pin!(self.decide(ttl)), pin!(decided.closed())).await;
        let is_taken = match decision {
            Either::Left(decision) => {
                let is_granted = matches!(decision, Ok(Some(_)));
                if is_granted {
                    // Inserted before the decision is sent, since the caller may release the grant at once.
                    self.members.held.lock().insert(self.owner);
                }
                decided.send(decision).is_ok() && is_granted && taken.await.is_ok()
            }
            Either::Right(()) => false,
        };
        if !is_taken {
            // Without a token, a late grant is released below instead of raised.
            self.token = None;
            self.members.held.lock().remove(&self.owner);
            std::mem::take(&mut self.holders).into_iter().for_each(|member| self.ask(member, Verb::Release));
        }
        while let Some(answer) = self.next().await {
            // `held` loses the owner when the caller releases, so a grant that comes after that is released
            // too.
            if answer.may_hold() && !self.members.held.lock().contains(&self.owner) {
                self.ask(answer.member, Verb::Release);
            }
        }
        self.members.held.lock().remove(&self.owner);
    }

    /// Returns the token if a majority grants the name and has raised the token.
    async fn decide(&mut self, ttl: Ttl) -> Result<Option<u64>, BackendError> {
        let (mut acquired, mut token) = (self.ask_all(Verb::Acquire(ttl)), 0);
        let mut granting = Vec::new();
        loop {
            match acquired.decision() {
                Some(Ok(true)) => break,
                Some(decision) => return decision.map(|_| None),
                None => {}
            }
            let Some(answer) = self.next().await else { return Ok(None) };
            acquired.count(&answer.reply);
            if let Ok(Some(granted)) = answer.reply {
                token = token.max(granted);
                granting.push(answer.member);
            }
        }
        // The token is the maximum over a majority: any later majority shares a server with this one, and
        // that server has the raised token, so it grants a larger one.
        self.token = Some(token);
        granting.into_iter().for_each(|member| self.ask(member, Verb::Raise(token)));
        let mut raised = acquired.again();
        loop {
            if let Some(decision) = raised.decision() {
                return decision.map(|is_raised| is_raised.then_some(token));
            }
            let Some(answer) = self.next().await else { return Ok(None) };
            // Late grants count once their raise is answered.
            if !answer.is_grant() {
                raised.count(&answer.reply);
            }
        }
    }
}
