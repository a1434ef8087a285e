//! Builds the throttles of a plan in front of the service behind them.

use std::sync::Arc;

use http::Request;
use traffik::runtime::{Runtime, Tokio};
use traffik::storage::BoxFuture;
use traffik::strategy::{CapacityError, StatsSnapshot};
use traffik::web::{ClientKey, CostHeader, Enforcement, OnError, RequestParts, Tally, Throttle, ThrottleSet};
use traffik::{All, Class, Label, Ratio};

use super::doors::{AskedByProxy, Doors};
use crate::limits::clients::ClientKeys;
use crate::limits::descriptors::DescriptorSpec;
use crate::limits::limit::{Limit, all_of};
use crate::limits::plan::{CommonSettings, MOST_RATES, OnErrorSpec, ThrottlePlan};
use crate::limits::spec::Spec;
use crate::limits::stable_hash::stable_hash;
use crate::limits::strategy::RateLimits;
use crate::observe::denial_log::DenialLog;
use crate::observe::denied_clients::DeniedClients;
use crate::proxy::upstream::Upstream;
use crate::stores::store::{AnyStorage, MemoryGauge, SharedStore, Stores};
use crate::throttles::charge::ChargeControl;
use crate::throttles::descriptor_index::DescriptorIndex;

/// All throttles in front of the service behind them.
#[derive(Clone)]
pub(crate) struct Pipeline {
    pub(crate) doors: Doors,
    /// The handles of the admin paths, one for each throttle.
    pub(crate) controls: Arc<Vec<ThrottleControl>>,
    /// The throttles by the descriptors that they apply to.
    pub(crate) descriptors: Arc<DescriptorIndex>,
    /// The stores that the throttles share.
    pub(crate) stores: Arc<Vec<SharedStore>>,
    /// The memories of the throttles, for the metrics.
    pub(crate) memories: Arc<Vec<MemoryGauge>>,
}

/// The handle of a throttle for the admin paths, of one type for all strategies.
pub(crate) struct ThrottleControl {
    pub(crate) uid: String,
    pub(crate) names: Vec<String>,
    pub(crate) keys: ClientKeys,
    pub(crate) class: Class,
    /// The name of the shared store without which the throttle cannot decide.
    pub(crate) needs: Option<String>,
    pub(crate) stat: StatFn,
    pub(crate) reset: ResetFn,
    pub(crate) explain: ExplainFn,
    pub(crate) denials: DeniedClients,
    pub(crate) descriptors: Option<Arc<DescriptorSpec>>,
    pub(crate) charge: ChargeControl,
}

/// Returns the statistics of each rate for a client.
type StatFn =
    Box<dyn Fn(ClientKey, Class) -> BoxFuture<'static, Result<Vec<StatsSnapshot>, String>> + Send + Sync>;

/// Forgets the use of a client.
type ResetFn = Box<dyn Fn(ClientKey) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Explains how the throttle handles a request.
type ExplainFn = Box<dyn Fn(Request<()>) -> BoxFuture<'static, String> + Send + Sync>;

/// Builds all throttles of a plan.
pub(crate) struct PipelineBuilder<'a> {
    pub(crate) common: &'a CommonSettings,
    pub(crate) stores: &'a mut Stores,
    pub(crate) tally: &'a Tally,
    throttles: ThrottleSet,
    /// The service behind and its doors, if the plan has a single throttle.
    alone: Option<(Upstream, Option<Doors>)>,
    controls: Vec<ThrottleControl>,
}

impl<'a> PipelineBuilder<'a> {
    pub(crate) fn new(common: &'a CommonSettings, stores: &'a mut Stores, tally: &'a Tally) -> Self {
        Self { common, stores, tally, throttles: ThrottleSet::new(), alone: None, controls: Vec::new() }
    }

    /// Builds the throttles in front of `upstream`. Several form one `ThrottleSet`; a single throttle needs
    /// none.
    ///
    /// # Errors
    ///
    /// Fails if a strategy, a storage or a rule cannot be built. The error begins with the throttle's place.
    pub(crate) fn build(mut self, plans: &[ThrottlePlan], upstream: Upstream) -> Result<Pipeline, String> {
        // A set takes a few allocations for each request, which a single throttle does not.
        if plans.len() == 1 {
            self.alone = Some((upstream.clone(), None));
        }
        for plan in plans {
            self.add(plan).map_err(|error| format!("{}{error}", plan.place))?;
        }
        let alone = self.alone.and_then(|(_, doors)| doors);
        let doors = alone.unwrap_or_else(|| Doors::new(upstream, self.throttles));
        self.stores.retain(plans);
        let specs = self.controls.iter().enumerate();
        let specs = specs.filter_map(|(at, control)| Some((at, control.descriptors.as_ref()?)));
        let descriptors = Arc::new(DescriptorIndex::new(specs));
        let (controls, stores) = (Arc::new(self.controls), Arc::new(self.stores.all()));
        let memories = Arc::new(self.stores.memories());
        Ok(Pipeline { doors, controls, descriptors, stores, memories })
    }

    fn add(&mut self, plan: &ThrottlePlan) -> Result<(), String> {
        let limits = plan.strategy.limits(&plan.setting("rate"), &plan.setting("strategy"), &plan.rates)?;
        if let OnErrorSpec::Fallback { instances } = plan.on_error {
            let setting = plan.setting("on_error");
            limits.check_shares(instances, &plan.rates).map_err(|error| format!("{setting} {error}"))?;
        }
        match limits {
            RateLimits::Any(strategies) => self.add_strategies(plan, strategies),
            RateLimits::Log(strategies) => self.add_strategies(plan, strategies),
        }
    }

    /// Adds a throttle of these strategies: all admit a request, or none is charged.
    fn add_strategies<L: Limit>(&mut self, plan: &ThrottlePlan, strategies: Vec<L>) -> Result<(), String> {
        // Three array lengths instead of eight, since each is compiled for itself.
        match strategies.len() {
            1 => self.add_stored::<L, 1>(plan, strategies),
            2 => self.add_stored::<L, 2>(plan, strategies),
            3..=MOST_RATES => self.add_stored::<L, MOST_RATES>(plan, strategies),
            more => Err(format!("--rate is given {more} times; a throttle takes at most {MOST_RATES} rates")),
        }
    }

    fn add_stored<L: Limit, const N: usize>(
        &mut self,
        plan: &ThrottlePlan,
        strategies: Vec<L>,
    ) -> Result<(), String> {
        let strategy = all_of(self.stores.register::<L, N>(plan, strategies))?;
        let instances = if let OnErrorSpec::Fallback { instances } = plan.on_error { instances } else { 1 };
        let part = Ratio::new(1, instances.into()).map_err(|error| error.to_string())?;
        let share = move |all: &All<L, N>| -> Result<_, CapacityError> {
            let mut all = all.clone();
            for strategy in &mut all.0 {
                *strategy = strategy.part(part)?;
            }
            Ok(all)
        };
        let storage = self.stores.storage_for(plan, self.common, share)?;
        self.add_throttle(plan, strategy, storage)
    }

    fn add_throttle<L: Limit, const N: usize>(
        &mut self,
        plan: &ThrottlePlan,
        strategy: All<L, N>,
        storage: AnyStorage<All<L, N>>,
    ) -> Result<(), String> {
        let keys = ClientKeys {
            keys: plan.keys.clone(),
            ipv6_prefix: plan.ipv6_prefix,
            rules: plan.rules.clone(),
            exempt: [self.common.exempt.clone(), plan.exempt.clone()],
            trusted: self.common.trusted.clone(),
        };
        let class = plan.strategy.plain.class;
        let (tasks, denials) = (self.common.tasks.clone(), self.stores.denials(&plan.uid));
        let mut builder = Throttle::builder(&plan.uid, strategy, storage)
            // Two throttles have this uid for a while: the old one serves until all new ones are built.
            .shared()
            .identifier(keys.identifier()?)
            .cost(plan.cost)
            .class_by(classes(self.common, &plan.strategy))
            .headers(plan.headers)
            .runtime(Tokio)
            .spawner(move |future| Tokio.spawn(tasks.track_future(future)))
            .observe(self.tally.clone())
            .observe(denials.clone())
            .observe(DenialLog)
            .policies(plan.names.iter().map(String::as_str))
            .on_error(match plan.on_error {
                OnErrorSpec::Allow => OnError::Allow,
                OnErrorSpec::Throttle { wait } => OnError::ThrottleFor(wait),
                // The fallback may be full, too.
                OnErrorSpec::Fallback { .. } => OnError::Throttle,
            });
        if let Some(header) = &plan.cost_header {
            let costs = CostHeader::new(header.clone(), self.common.trusted.clone());
            builder = builder.cost_by(move |request| costs.of(request));
        }
        if self.common.bypass_preflights {
            builder = builder.bypass_preflights();
        }
        if let Some(by) = plan.cost_after.clone() {
            builder = builder.settle_by(move |head, bytes| by.of(head, bytes));
        }
        if let Some(count) = plan.count.clone() {
            builder = builder.charge_if(move |head| count.counts(head.status));
        }
        if !plan.reply.is_default() {
            let reply = plan.reply.clone();
            builder = builder.on_throttled(move |denial| reply.answer(denial));
        }
        for (name, value) in &plan.denied_headers {
            builder = builder.denial_header(name.clone(), value.clone());
        }
        // All gateways must choose the same clients, or a client would be denied by some of them.
        if let Some(percent) = plan.enforce {
            let names = self.common.namespace.bytes().chain([0]).chain(plan.uid.bytes());
            let secret = stable_hash(names);
            builder = builder.enforcement(Enforcement::percent(percent, secret));
        }
        if plan.shadow {
            builder = builder.enforcement(Enforcement::Shadow);
        }
        for rule in &plan.rules {
            for rule in rule.rules()? {
                builder = builder.apply_to(rule);
            }
        }
        // Nothing is in use yet: an error leaves the throttles before as they are.
        let throttle = builder.build().map_err(|error| error.to_string())?;
        let store = plan.storage.url().and_then(|url| self.stores.name_of(url));
        self.controls.push(control(plan, keys, class, &throttle, denials, store));
        // It has no rules, so here it would count every request.
        if plan.descriptors.as_ref().is_some_and(|descriptors| descriptors.is_alone) {
            return Ok(());
        }
        match &mut self.alone {
            Some((upstream, doors)) => *doors = Some(Doors::new(upstream.clone(), throttle)),
            None => self.throttles = std::mem::take(&mut self.throttles).and(throttle),
        }
        Ok(())
    }
}

/// Returns the function that classifies requests. A priority that neither the strategy nor the gateway names
/// counts as none.
fn classes(
    common: &CommonSettings,
    strategy: &Spec,
) -> impl Fn(RequestParts<'_>) -> Class + Send + Sync + use<> {
    let headers = common.classes.clone().base(strategy.plain.class);
    let asked = common.asked_classes.clone().base(strategy.plain.class);
    let mut priorities = strategy.priorities();
    // The names of the documentation, for a strategy that names none.
    priorities.extend(["low", "normal", "high"].map(Label::named));
    move |request| {
        // The proxy that asks is trusted, while the peer of the request is its client.
        let is_asked = request.extensions.get::<AskedByProxy>().is_some();
        let mut class = if is_asked { asked.of(request) } else { headers.of(request) };
        if !priorities.contains(&class.priority) {
            class.priority = Label::default();
        }
        class
    }
}

/// Builds the handle of a throttle for the admin paths.
fn control<L: Limit, const N: usize>(
    plan: &ThrottlePlan,
    keys: ClientKeys,
    class: Class,
    throttle: &Throttle<All<L, N>, AnyStorage<All<L, N>>>,
    denials: DeniedClients,
    store: Option<&str>,
) -> ThrottleControl {
    let [reader, forgetter, explainer] = [(); 3].map(|()| throttle.clone());
    let stat: StatFn = Box::new(move |client, class| {
        let client = reader.client_for(client).class(class);
        Box::pin(async move {
            let stat = client.stat().await.map_err(|error| error.to_string())?;
            Ok(stat.iter().map(StatsSnapshot::of).collect())
        })
    });
    let reset: ResetFn = Box::new(move |client| {
        let client = forgetter.client_for(client);
        Box::pin(async move { client.reset().await.map(|_| ()).map_err(|error| error.to_string()) })
    });
    let alone = plan.descriptors.clone().filter(|descriptors| descriptors.is_alone);
    let explain: ExplainFn = Box::new(move |request| {
        if let Some(descriptors) = &alone {
            let text = format!("{}: not counted; it is for {descriptors}\n", explainer.uid());
            return Box::pin(async { text });
        }
        let throttle = explainer.clone();
        Box::pin(async move { throttle.explain(&request).await })
    });
    let (uid, names) = (plan.uid.clone(), plan.names.clone());
    let falls_back = matches!(plan.on_error, OnErrorSpec::Fallback { .. });
    let needs = store.filter(|_| !falls_back).map(str::to_owned);
    let (descriptors, charge) = (plan.descriptors.clone(), ChargeControl::new(plan, throttle));
    ThrottleControl { uid, names, keys, class, needs, stat, reset, explain, denials, descriptors, charge }
}
