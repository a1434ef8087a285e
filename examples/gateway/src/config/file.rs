//! Reads throttles from a TOML file. Each error names its line.
//!
//! ```toml
//! [[throttle]]
//! uid = "logins"
//! rate = "5/min"                      # or rates = ["5/min", "20/h"]: one limit
//! strategy = "token-bucket:burst=10"  # strategy and storage default as on the command line
//! storage = "memory:"
//! key = ["peer", "header:x-user"]
//! rules = { path = "/login", methods = ["POST"] }   # or a list of rules; *, ** and {name} are patterns
//! ```
//!
//! `REFERENCE.md` lists all keys.
//!
//! A reload keeps the clients' counts, also if a rate changes; in memory also if the strategy or the capacity
//! changes. After two changes of the strategy, counts of clients that sent no request in between are lost. A
//! throttle starts over with empty counts if one of these changes:
//!
//! * its storage, or its sort of keys (addresses or headers);
//! * its number of rates, unless that is 3 to 8 before and after;
//! * whether wrappers surround its strategy, or the size class of the strategy's states. `sliding-log` has
//!   the largest states, then come `sliding-window:strict`, `fair-share` and `regions`, then all others;
//! * its strategy on a shared storage, unless `token-bucket`, `leaky-bucket` or `gcra` replaces another of
//!   these three.
//!
//! The log names each throttle that loses counts.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use traffik::Rate;
use traffik::web::{HeaderFormat, Networks};

use self::reading::Lines;
use self::tables::{ConfigFile, DefaultsTable, EntryTable, ThrottleTable, denied_header};
use self::values::NumberOrText;
use crate::limits::denial_reply::DenialReply;
use crate::limits::descriptors::{DescriptorSpec, EntrySpec, Lookup};
use crate::limits::keys::KeySpec;
use crate::limits::plan::{IPV6_PREFIX, MOST_RATES, OnErrorSpec, ThrottlePlan, names};
use crate::limits::responses::CostSpec;
use crate::limits::rules::RulePlan;

pub(crate) mod reading;
mod rules;
mod tables;
mod values;

pub(crate) use reading::bytes;

/// Reads a file. An error names the file and the line.
pub(crate) fn read(path: &Path) -> Result<Vec<ThrottlePlan>, String> {
    let bytes = bytes(path).map_err(|error| format!("--config {}: {error}", path.display()))?;
    plans(path, &bytes)
}

/// Parses the bytes of a file. An error names the file and the line.
pub(crate) fn plans(path: &Path, bytes: &[u8]) -> Result<Vec<ThrottlePlan>, String> {
    let file = format!("--config {}", path.display());
    let at_file = |error: &dyn fmt::Display| format!("{file}: {error}");
    let text = reading::text(bytes).map_err(|error| at_file(&error))?;
    let mut plans = parse(text).map_err(|error| at_file(&error))?;
    plans.iter_mut().for_each(|plan| plan.place = at_file(&plan.place));
    Ok(plans)
}

fn parse(text: &str) -> Result<Vec<ThrottlePlan>, String> {
    let file: ConfigFile = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    if file.throttle.is_empty() {
        return Err("line 1: the file has no [[throttle]]; write one with a uid and a rate".to_owned());
    }
    let (lines, mut uids) = (Lines::of(text), HashSet::new());
    let mut plans: Vec<ThrottlePlan> = Vec::new();
    for table in file.throttle {
        let line = lines.at(table.uid.span().start);
        let mut plan = plan(table, &file.defaults)
            .map_err(|(at, error)| format!("line {}: {error}", at.map_or(line, |at| lines.at(at))))?;
        plan.place = format!("line {line}: ");
        if !uids.insert(plan.uid.clone()) {
            return Err(format!(
                "line {line}: a throttle above already has the uid {:?}; give each its own",
                plan.uid
            ));
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// An error in a table, with the offset of its line, or `None` for the first line of the table.
type TableError = (Option<usize>, String);

/// Checks a table and fills in the defaults.
fn plan(table: ThrottleTable, defaults: &DefaultsTable) -> Result<ThrottlePlan, TableError> {
    let plain = |error: &str| (None, error.to_owned());
    let reply = reply(&table)?;
    let denied_headers = table.denied_headers.iter().map(|(name, value)| {
        denied_header(name, value.get_ref()).map_err(|error| (Some(value.span().start), error))
    });
    let denied_headers = denied_headers.collect::<Result<_, _>>()?;
    let uid = table.uid.into_inner();
    let rate_key = if table.rate.is_some() { "rate" } else { "rates" };
    let rates: Vec<Rate> = match (table.rate, table.rates) {
        (Some(rate), None) => vec![rate.0],
        (None, Some(rates)) if rates.get_ref().len() > MOST_RATES => {
            let number = rates.get_ref().len();
            let error = format!("there are {number} rates; a throttle takes at most {MOST_RATES}");
            return Err((Some(rates.span().start), error));
        }
        (None, Some(rates)) if !rates.get_ref().is_empty() => {
            rates.into_inner().into_iter().map(|rate| rate.0).collect()
        }
        (None, _) => return Err(plain("the throttle has no rate; write rate = \"100/min\"")),
        (Some(_), Some(_)) => return Err(plain("the throttle has both rate and rates; write one of them")),
    };
    if table.cost.is_some() && table.cost_header.is_some() {
        return Err(plain("the throttle has both cost and cost-header; write one of them"));
    }
    let strategy_at = table.strategy.as_ref().map(|it| it.span().start);
    let strategy = match table.strategy {
        Some(strategy) => strategy.into_inner().0,
        None => "fixed-window".parse().map_err(|error| (None, error))?,
    };
    // Build the strategies here, so that a bad combination is refused before anything is replaced.
    let limits = strategy.limits(rate_key, "strategy", &rates).map_err(|error| (strategy_at, error))?;
    let on_error = table.on_error.as_ref().map(|it| it.get_ref().0);
    let on_error = on_error.or(defaults.on_error.as_ref().map(|it| it.0)).unwrap_or_default();
    if let OnErrorSpec::Fallback { instances } = on_error {
        let at = table.on_error.as_ref().map(|it| it.span().start);
        limits.check_shares(instances, &rates).map_err(|error| (at, format!("on_error {error}")))?;
    }
    let (mut cost, mut cost_header, mut cost_after) = (1, table.cost_header.map(|header| header.0), None);
    let cost_at = table.cost.as_ref().map(|it| it.span().start);
    match table.cost.map(toml::Spanned::into_inner) {
        Some(NumberOrText::Number(number)) => cost = number,
        Some(NumberOrText::Text(CostSpec::Header(header))) => cost_header = Some(header),
        Some(NumberOrText::Text(CostSpec::Response(by))) => cost_after = Some(by),
        None => {}
    }
    if cost_after.is_some() && table.count.is_some() {
        let error = "the cost comes from the response, so count cannot refund it; write one of them";
        return Err((cost_at, error.to_owned()));
    }
    if let (Some(enforce), true) = (&table.enforce, table.shadow) {
        let error = "a shadow denies nobody, so enforce has no effect; write one of them";
        return Err((Some(enforce.span().start), error.to_owned()));
    }
    let has_no_rules = table.rules.is_none();
    let rules = table.rules.map_or(Vec::new(), |rules| rules.0);
    let rules: Vec<RulePlan> = rules.into_iter().map(|rule| rule.0).collect();
    let keys_at = table.key.as_ref().map(|it| it.span().start);
    let keys: Option<Vec<_>> = table.key.map(|keys| keys.into_inner().0.into_iter().map(|it| it.0).collect());
    let keys = keys.or_else(|| Some(defaults.key.as_ref()?.0.iter().map(|it| it.0.clone()).collect()));
    let descriptors_at = table.descriptors.as_ref().map(|it| it.span().start);
    let reads_response = cost_after.is_some() || table.count.is_some();
    if let (Some(_), true) = (descriptors_at, reads_response) {
        let error = "the charge depends on the response, which a rate limit service never sees; write \
                     descriptors or the cost by the response";
        return Err((descriptors_at, error.to_owned()));
    }
    let entries = table.descriptors.map(|it| it.into_inner().0);
    let descriptors = descriptors(table.domain, entries, keys.as_deref(), has_no_rules)
        .and_then(|it| match it {
            Some(_) if strategy.delays() => {
                Err("a queue delays requests, and a rate limit service answers at once; write leaky-bucket"
                    .to_owned())
            }
            it => Ok(it),
        })
        .map_err(|error| (descriptors_at, error))?;
    let own_keys = || descriptors.as_ref().map_or(vec![KeySpec::Peer], DescriptorSpec::keys);
    let keys = keys.unwrap_or_else(own_keys);
    check_placeholders(&keys, &rules).map_err(|error| (keys_at, error))?;
    let exempt = table.exempt.map_or(Vec::new(), |exempt| exempt.0);
    let exempt = Networks::parse(exempt.iter().map(|network| &*network.0.0));
    let storage = table.storage.map(|storage| storage.0).or(defaults.storage.as_ref().map(|it| it.0.clone()));
    let headers = table.headers.or(defaults.headers.as_ref().map(|it| values::TextValue(it.0)));
    Ok(ThrottlePlan {
        names: names(&uid, rates.len()),
        uid,
        rates,
        strategy,
        storage: storage.unwrap_or_default(),
        keys,
        descriptors: descriptors.map(Arc::new),
        ipv6_prefix: prefix(table.ipv6_prefix.as_ref().or(defaults.ipv6_prefix.as_ref()))?,
        exempt: exempt.map_err(|error| (None, error.to_string()))?,
        cost,
        cost_header,
        cost_after,
        count: table.count.map(|count| count.into_inner().0),
        rules,
        on_error,
        headers: headers.map_or(HeaderFormat::Draft10, |headers| headers.0.into()),
        reply,
        denied_headers,
        enforce: table.enforce.map(|enforce| enforce.into_inner().0.0),
        shadow: table.shadow,
        place: String::new(),
    })
}

/// Checks the prefix length of IPv6 addresses.
fn prefix(given: Option<&toml::Spanned<u8>>) -> Result<u8, TableError> {
    let Some(given) = given else { return Ok(IPV6_PREFIX) };
    match *given.get_ref() {
        bits @ 1..=128 => Ok(bits),
        bits => {
            Err((Some(given.span().start), format!("ipv6_prefix = {bits} is not a prefix; write 1 to 128")))
        }
    }
}

/// Checks that each path of the rules has the placeholders of the keys.
fn check_placeholders(keys: &[KeySpec], rules: &[RulePlan]) -> Result<(), String> {
    for key in keys {
        let KeySpec::Path(name) = key else { continue };
        let has =
            |path: &String| path.contains(&format!("{{{name}}}")) || path.contains(&format!("{{*{name}}}"));
        let all = |rule: &RulePlan| !rule.paths.is_empty() && rule.paths.iter().all(has);
        if rules.is_empty() || !rules.iter().all(all) {
            return Err(format!(
                "the key {key} needs {{{name}}} in the path of each rule; \
                 write rules = {{ path = \"/users/{{{name}}}\" }}"
            ));
        }
    }
    Ok(())
}

/// Returns the reply to denied requests.
fn reply(table: &ThrottleTable) -> Result<DenialReply, TableError> {
    let status = table.status.as_ref().map(|status| {
        let code = StatusCode::from_u16(*status.get_ref()).ok();
        let code = code.filter(|code| code.is_client_error() || code.is_server_error());
        let error = || format!("status = {} is not a status of a denial; write 400 to 599", status.get_ref());
        code.ok_or_else(|| (Some(status.span().start), error()))
    });
    if let (Some(body_type), None) = (&table.body_type, &table.body) {
        let error = "body_type names the type of a body, and there is none; write body";
        return Err((Some(body_type.span().start), error.to_owned()));
    }
    Ok(DenialReply {
        status: status.transpose()?,
        body: table.body.as_ref().map(|body| body.0.clone()),
        body_type: table.body_type.as_ref().map(|it| it.get_ref().0.clone()),
    })
}

/// Checks the descriptors of a throttle. `is_alone` says whether it counts no HTTP requests.
fn descriptors(
    domain: Option<String>,
    entries: Option<Vec<EntryTable>>,
    keys: Option<&[KeySpec]>,
    is_alone: bool,
) -> Result<Option<DescriptorSpec>, String> {
    let (domain, entries) = match (domain, entries) {
        (None, None) => return Ok(None),
        (Some(domain), Some(entries)) if !domain.is_empty() && !entries.is_empty() => (domain, entries),
        _ => {
            return Err("domain and descriptors go together, and neither is empty; write domain = \"edge\" \
                        and descriptors = [{ key = \"remote_address\" }]"
                .to_owned());
        }
    };
    if entries.iter().any(|entry| entry.key.is_empty()) {
        return Err("an entry of descriptors has an empty key; write { key = \"remote_address\" }".to_owned());
    }
    let entries: Vec<_> = entries.into_iter().map(|entry| EntrySpec::new(entry.key, entry.value)).collect();
    let spec = DescriptorSpec {
        domain: Some(domain),
        entries,
        limit_name: None,
        replaces: Vec::new(),
        lookup: Lookup::BestMatch,
        is_alone,
    };
    let counted = spec.counted().count();
    match keys {
        Some(keys) if keys.len() != counted => Err(format!(
            "key has {} parts, and {counted} entries of descriptors have no value; the n-th entry without a \
             value stands for the n-th part of key",
            keys.len()
        )),
        None if !is_alone && spec.keys().iter().any(|key| matches!(key, KeySpec::Entry(_))) => Err(
            "a throttle with rules and descriptors needs key, to name the part of an HTTP request that each \
             entry without a value stands for; write key = [\"peer\"]"
                .to_owned(),
        ),
        _ => Ok(Some(spec)),
    }
}
