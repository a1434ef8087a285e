//! The throttles of a plan, in front of the service behind them.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::Service;
use traffik::http::{
    ClassHeaders, ClientKey, CostHeader, Enforcement, Gate, OnError, RequestParts, ResponseBody, Rule, Tally,
    Throttle, Throttled, Throttles,
};
use traffik::runtime::Runtime;
use traffik::storage::{AsyncStorage, BoxFuture, Local};
use traffik::strategy::{Report, Reported, Single};
use traffik::{
    All, Class, Denied, FixedWindow, HeapLog, Label, MemcachedStorage, Memory, Rate, RedisStorage, Strategy,
};

use crate::config::pattern;
use crate::keys::Keys;
use crate::plan::{Common, OnErrorSpec, StorageSpec, ThrottlePlan};
use crate::runtime::Chosen;
use crate::spec::Spec;
use crate::strategy::Limits;
use crate::upstream::Upstream;

/// The body of a reply.
pub(crate) type Body = ResponseBody<UnsyncBoxBody<Bytes, hyper::Error>>;

/// Answers requests; the same type whatever the strategies.
pub(crate) type Handler =
    Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Result<Response<Body>, Infallible>> + Send + Sync>;

/// All throttles, in front of the service behind them.
#[derive(Clone)]
pub(crate) struct Limited {
    /// Answers a request.
    pub(crate) handler: Handler,
    /// What can be asked of each throttle.
    pub(crate) controls: Arc<Vec<Control>>,
}

/// What can be asked of a throttle of whatever type.
pub(crate) struct Control {
    pub(crate) uid: String,
    pub(crate) names: Vec<String>,
    pub(crate) keys: Keys,
    pub(crate) class: Class,
    pub(crate) stat: Stat,
    pub(crate) reset: Reset,
    pub(crate) denied: DeniedMost,
}

/// Any storage, so that a throttle's code is there once for all of them.
type Stored<S> = Arc<dyn AsyncStorage<S>>;

/// The figures of each rate for a client.
type Stat = Box<dyn Fn(ClientKey, Class) -> BoxFuture<'static, Result<Vec<Reported>, String>> + Send + Sync>;

/// Forgets a client.
type Reset = Box<dyn Fn(ClientKey) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Tells who was denied most, as far as the storage knows.
type DeniedMost = Arc<dyn Fn() -> Vec<Denied> + Send + Sync>;

/// How many of those denied most are known by name.
const NAMES: usize = 1_000;

/// How many of them are told.
const TOLD: usize = 20;

/// Storages, kept while their throttles are made anew: what was used stays used.
#[derive(Default)]
pub(crate) struct Storages {
    memories: HashMap<(String, TypeId), (StorageSpec, Arc<dyn Any + Send + Sync>)>,
    redis: HashMap<String, RedisStorage>,
    memcached: HashMap<String, MemcachedStorage<Chosen>>,
}

/// Makes throttles.
pub(crate) struct Maker<'a> {
    pub(crate) common: &'a Common,
    pub(crate) storages: &'a mut Storages,
    pub(crate) tally: &'a Tally,
    throttles: Throttles,
    /// The service behind, for the only throttle there is.
    alone: Option<(Upstream, Option<Handler>)>,
    controls: Vec<Control>,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(common: &'a Common, storages: &'a mut Storages, tally: &'a Tally) -> Self {
        Self { common, storages, tally, throttles: Throttles::new(), alone: None, controls: Vec::new() }
    }

    /// All throttles of a plan as one limit in front of `upstream`; one alone is spared what several take.
    pub(crate) fn limited(mut self, plans: &[ThrottlePlan], upstream: Upstream) -> Result<Limited, String> {
        if plans.len() == 1 {
            self.alone = Some((upstream.clone(), None));
        }
        for plan in plans {
            self.add(plan).map_err(|error| format!("{}: {error}", plan.uid))?;
        }
        let alone = self.alone.and_then(|(_, handler)| handler);
        let handler = alone.unwrap_or_else(|| handler(upstream, self.throttles));
        Ok(Limited { handler, controls: Arc::new(self.controls) })
    }

    fn add(&mut self, plan: &ThrottlePlan) -> Result<(), String> {
        match plan.strategy.limits(&plan.rates)? {
            Limits::Small(limits) => {
                self.together(plan, limits, Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))))
            }
            Limits::SmallWrapped(limits) => {
                self.together(plan, limits, Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))))
            }
            Limits::Large(limits) => {
                self.together(plan, limits, Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))))
            }
            Limits::LargeWrapped(limits) => {
                self.together(plan, limits, Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))))
            }
            Limits::Log(limits) => {
                let unlimited = HeapLog::new(Rate::UNLIMITED).map_err(|error| error.to_string())?;
                self.together(plan, limits, unlimited)
            }
        }
    }

    /// Several limits as one: all admit or none is charged. Unlimited ones, which are never told, make up the number.
    fn together<S>(&mut self, plan: &ThrottlePlan, limits: Vec<S>, unlimited: S) -> Result<(), String>
    where
        S: Strategy<Cost = u32, Stat: Report>,
    {
        fn all<S: Strategy, const N: usize>(limits: Vec<S>, unlimited: &S) -> All<S, N> {
            let mut limits = limits.into_iter();
            All(std::array::from_fn(|_| limits.next().unwrap_or_else(|| unlimited.clone())))
        }
        match limits.len() {
            1 => self.stored(plan, all::<S, 1>(limits, &unlimited)),
            2 => self.stored(plan, all::<S, 2>(limits, &unlimited)),
            3..=8 => self.stored(plan, all::<S, 8>(limits, &unlimited)),
            more => Err(format!("--rate is given {more} times; at most 8 rates are one limit")),
        }
    }

    fn stored<S, const N: usize>(&mut self, plan: &ThrottlePlan, limit: All<S, N>) -> Result<(), String>
    where
        S: Strategy<Cost = u32, Stat: Report>,
    {
        match &plan.storage {
            StorageSpec::Memory { capacity, when_full } => {
                let make =
                    || Memory::builder().capacity(*capacity).when_full(*when_full).names(NAMES).build();
                let storage: Arc<Memory<All<S, N>>> = self.storages.memory(plan, make);
                let denied = Arc::clone(&storage);
                self.throttled(plan, limit, Arc::new(Local(storage)), Arc::new(move || denied.denied(TOLD)))
            }
            StorageSpec::Redis(url) => {
                let storage = self.storages.redis(url, self.common)?;
                self.throttled(plan, limit, Arc::new(storage), Arc::new(Vec::new))
            }
            StorageSpec::Memcached(url) => {
                let storage = self.storages.memcached(url, self.common)?;
                self.throttled(plan, limit, Arc::new(storage), Arc::new(Vec::new))
            }
        }
    }

    fn throttled<S, const N: usize>(
        &mut self,
        plan: &ThrottlePlan,
        limit: All<S, N>,
        storage: Stored<All<S, N>>,
        denied: DeniedMost,
    ) -> Result<(), String>
    where
        S: Strategy<Cost = u32, Stat: Report>,
    {
        let (exempt, trusted) = (self.common.exempt.clone(), self.common.trusted.clone());
        let keys = Keys { keys: plan.keys.clone(), exempt, trusted };
        let (class, runtime) = (plan.strategy.class(), self.common.runtime.clone());
        let mut builder = Throttle::builder(&plan.uid, limit, storage)
            .identifier(keys.identifier())
            .cost(plan.cost)
            .class_by(classes(self.common, &plan.strategy))
            .headers(plan.headers)
            .runtime(runtime.clone())
            .spawner(move |future| runtime.spawn(future))
            .observe(self.tally.clone())
            .policies(plan.names.iter().map(String::as_str))
            .on_error(match plan.on_error {
                OnErrorSpec::Allow => OnError::Allow,
                OnErrorSpec::Throttle => OnError::Throttle,
            });
        if let Some(header) = &plan.cost_header {
            let costs = CostHeader::new(header.clone(), self.common.trusted.clone());
            builder = builder.cost_by(move |request| costs.of(request));
        }
        if plan.shadow {
            builder = builder.enforcement(Enforcement::Shadow);
        }
        for rule in &plan.rules {
            let methods = Rule::new().methods(rule.methods.iter().cloned());
            builder = builder.apply_to(match &rule.path {
                Some(path) => pattern(methods, path)?,
                None => methods,
            });
        }
        let throttle = builder.build().map_err(|error| error.to_string())?;
        self.controls.push(control(plan, keys, class, &throttle, denied));
        match &mut self.alone {
            Some((upstream, handler)) => *handler = Some(self::handler(upstream.clone(), throttle)),
            None => self.throttles = std::mem::take(&mut self.throttles).and(throttle),
        }
        Ok(())
    }
}

/// A gate in front of the service behind.
fn handler<G: Gate>(upstream: Upstream, gate: G) -> Handler {
    let service = Throttled::new(upstream, gate);
    Arc::new(move |request| Box::pin(service.call(request)))
}

/// What class a request is of: a name that nothing is known of is none.
fn classes(common: &Common, strategy: &Spec) -> impl Fn(RequestParts<'_>) -> Class + Send + Sync + use<> {
    let mut headers = match common.trust_class_headers {
        true => ClassHeaders::from_anyone(),
        false => ClassHeaders::from(common.trusted.clone()),
    };
    headers = headers.base(strategy.class());
    if let Some(header) = &common.tier_header {
        headers = headers.tier(header.clone());
    }
    if let Some(header) = &common.priority_header {
        headers = headers.priority(header.clone());
    }
    if let Some(header) = &common.region_header {
        headers = headers.region(header.clone());
    }
    let mut priorities = strategy.priorities();
    priorities.extend(["low", "normal", "high"].map(Label::named));
    move |request| {
        let mut class = headers.of(request);
        if !priorities.contains(&class.priority) {
            class.priority = Label::default();
        }
        class
    }
}

fn control<S, const N: usize>(
    plan: &ThrottlePlan,
    keys: Keys,
    class: Class,
    throttle: &Throttle<All<S, N>, Stored<All<S, N>>>,
    denied: DeniedMost,
) -> Control
where
    S: Strategy<Cost = u32, Stat: Report>,
{
    let (asked, forgetting) = (throttle.clone(), throttle.clone());
    let stat: Stat = Box::new(move |client, class| {
        let client = asked.known(client).class(class);
        Box::pin(async move {
            let stat = client.stat().await.map_err(|error| error.to_string())?;
            Ok(stat.iter().map(Reported::of).collect())
        })
    });
    let reset: Reset = Box::new(move |client| {
        let client = forgetting.known(client);
        Box::pin(async move { client.reset().await.map(|_| ()).map_err(|error| error.to_string()) })
    });
    Control { uid: plan.uid.clone(), names: plan.names.clone(), keys, class, stat, reset, denied }
}

impl Storages {
    /// The memory of a throttle, kept as long as it is to be of the same kind.
    fn memory<S: Strategy>(
        &mut self,
        plan: &ThrottlePlan,
        make: impl FnOnce() -> Memory<S>,
    ) -> Arc<Memory<S>> {
        let key = (plan.uid.clone(), TypeId::of::<Memory<S>>());
        if let Some((spec, kept)) = self.memories.get(&key)
            && *spec == plan.storage
            && let Ok(memory) = Arc::clone(kept).downcast()
        {
            return memory;
        }
        let memory = Arc::new(make());
        self.memories.insert(key, (plan.storage.clone(), Arc::clone(&memory) as _));
        memory
    }

    /// One connection for all throttles on a server.
    fn redis(&mut self, url: &str, common: &Common) -> Result<RedisStorage, String> {
        if let Some(storage) = self.redis.get(url) {
            return Ok(storage.clone());
        }
        let storage = RedisStorage::url(url).map_err(|error| error.to_string())?;
        let storage = storage.namespace(&common.namespace).timeout(common.timeout).build();
        let storage = storage.map_err(|error| error.to_string())?;
        self.redis.insert(url.to_owned(), storage.clone());
        Ok(storage)
    }

    /// One pool of connections for all throttles on the same servers.
    fn memcached(&mut self, url: &str, common: &Common) -> Result<MemcachedStorage<Chosen>, String> {
        if let Some(storage) = self.memcached.get(url) {
            return Ok(storage.clone());
        }
        let storage = MemcachedStorage::url(common.runtime.clone(), url);
        let storage = storage.and_then(|it| it.namespace(&common.namespace).timeout(common.timeout).build());
        let storage = storage.map_err(|error| error.to_string())?;
        self.memcached.insert(url.to_owned(), storage.clone());
        Ok(storage)
    }

    /// Lets go of what no throttle is in need of any more.
    pub(crate) fn retain(&mut self, plans: &[ThrottlePlan]) {
        self.memories.retain(|(uid, _), _| plans.iter().any(|plan| plan.uid == *uid));
    }
}
