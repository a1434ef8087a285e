//! Reads limits from YAML files in the format of Envoy's own rate limit service.
//!
//! ```yaml
//! domain: edge
//! descriptors:
//!   - key: path
//!     value: /login                 # /log* is a prefix; without a value, any value, each with its own count
//!     rate_limit: { unit: minute, requests_per_unit: 5, name: logins }
//!     descriptors:
//!       - key: remote_address
//!         rate_limit: { unit: hour, requests_per_unit: 20, replaces: [{ name: logins }] }
//!         shadow_mode: true
//! ```
//!
//! A limit is named by its domain and entries. `detailed_metric` and `value_to_metric` are accepted and
//! change nothing, since metrics count by limit. `quota_mode` is refused.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use traffik::Rate;

use super::file::reading;
use crate::limits::descriptors::{DescriptorSpec, EntrySpec, EntryValue, Lookup};
use crate::limits::plan::ThrottlePlan;
use crate::limits::stable_hash::stable_hash;
use crate::limits::units;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsFile {
    domain: String,
    #[serde(default)]
    descriptors: Vec<DescriptorTable>,
}

/// A descriptor, and those below it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptorTable {
    key: String,
    #[serde(default)]
    value: Option<String>,
    rate_limit: Option<LimitTable>,
    #[serde(default)]
    descriptors: Option<Vec<DescriptorTable>>,
    #[serde(default)]
    shadow_mode: bool,
    #[serde(default)]
    share_threshold: bool,
    #[serde(default)]
    quota_mode: bool,
    #[serde(default, rename = "detailed_metric")]
    _detailed_metric: bool,
    #[serde(default, rename = "value_to_metric")]
    _value_to_metric: bool,
}

/// The limit of a descriptor.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitTable {
    unit: Option<String>,
    requests_per_unit: Option<u32>,
    #[serde(default)]
    unlimited: bool,
    name: Option<String>,
    #[serde(default)]
    replaces: Vec<ReplacedLimit>,
}

/// A limit that another one replaces.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplacedLimit {
    name: String,
}

/// Returns the files that a path names: itself, or the YAML files of a directory in order.
///
/// # Errors
///
/// Fails if the path cannot be read, or if the directory has no YAML file.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let at_path = |error: &dyn fmt::Display| format!("--rls-config {}: {error}", path.display());
    let kind = std::fs::metadata(path).map_err(|error| at_path(&error))?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| at_path(&error))?;
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|it| it == "yaml" || it == "yml");
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_yaml).collect();
    // Directories list files in no order, and errors should name the same one each time.
    files.sort();
    match files.is_empty() {
        true => Err(at_path(&"the directory has no file that ends in .yaml or .yml; write limits into one")),
        false => Ok(files),
    }
}

/// Reads the limits of a file or a directory. `model` has the settings that a file does not name.
///
/// # Errors
///
/// Fails with the file, the line or the descriptor, and the correction.
pub(crate) fn read(path: &Path, model: &ThrottlePlan) -> Result<Vec<ThrottlePlan>, String> {
    let mut plans = Vec::new();
    for file in files(path)? {
        let at_file = |error: &dyn fmt::Display| format!("--rls-config {}: {error}", file.display());
        let bytes = reading::bytes(&file).map_err(|error| at_file(&error))?;
        let text = reading::text(&bytes).map_err(|error| at_file(&error))?;
        let limits: LimitsFile = serde_norway::from_str(text).map_err(|error| at_file(&error))?;
        // A call without a domain is refused, so such limits would never apply.
        if limits.domain.is_empty() {
            return Err(at_file(&"the domain is empty; write the domain of Envoy's filter, such as edge"));
        }
        // Here and not once before the loop, so that an empty directory is reported first.
        if model.strategy.delays() {
            return Err(at_file(
                &"--strategy leaky-bucket-queue delays requests, and a rate limit service \
                                 answers at once; write --strategy leaky-bucket",
            ));
        }
        let mut reader =
            LimitsReader { domain: &limits.domain, model, entries: Vec::new(), plans: Vec::new() };
        limits.descriptors.iter().try_for_each(|it| reader.add(it)).map_err(|error| at_file(&error))?;
        for mut plan in reader.plans {
            plan.place = at_file(&format_args!("{}: ", plan.uid));
            plans.push(plan);
        }
    }
    Ok(plans)
}

/// Checks that no two limits of all files have the same entries, and no two throttles the same name.
///
/// # Errors
///
/// Fails with the second of the two.
pub(crate) fn check(plans: &[ThrottlePlan]) -> Result<(), String> {
    let (mut names, mut known) = (HashSet::new(), HashSet::new());
    for plan in plans {
        // The file of throttles has checked its own names.
        let Some(spec) = &plan.descriptors else {
            names.insert(&plan.uid);
            continue;
        };
        if spec.lookup == Lookup::StepByStep && !known.insert(spec.to_string()) {
            return Err(format!("{}{spec} has a limit already; merge the two", plan.place));
        }
        if !names.insert(&plan.uid) {
            return Err(format!("{}a throttle already has the name {:?}; rename it", plan.place, plan.uid));
        }
    }
    Ok(())
}

/// Collects the limits of a file.
struct LimitsReader<'a> {
    domain: &'a str,
    model: &'a ThrottlePlan,
    /// The entries above the descriptor that is read.
    entries: Vec<EntrySpec>,
    plans: Vec<ThrottlePlan>,
}

impl LimitsReader<'_> {
    /// Adds the limits of a descriptor and of those below it.
    fn add(&mut self, table: &DescriptorTable) -> Result<(), String> {
        self.entries.push(entry(table).map_err(|error| format!("{}: {error}", self.name(&table.key)))?);
        if let Some(limit) = &table.rate_limit {
            let rate = rate(limit).map_err(|error| format!("{}: {error}", self.name("")))?;
            self.plans.push(self.plan(rate, limit, table.shadow_mode));
        }
        table.descriptors.iter().flatten().try_for_each(|below| self.add(below))?;
        // The entries are a stack: what is read next lies beside this descriptor, not below it.
        self.entries.pop();
        Ok(())
    }

    /// Returns the name of the descriptor that is read, with its domain.
    fn name(&self, last: &str) -> String {
        let mut name = self.domain.to_owned();
        for entry in &self.entries {
            // Writing to a string cannot fail.
            let _ = match &entry.value {
                EntryValue::Exact(value) => write!(name, ":{}_{value}", entry.key),
                EntryValue::Prefix(value) => write!(name, ":{}_{value}.", entry.key),
                EntryValue::Any => write!(name, ":{}", entry.key),
            };
        }
        if !last.is_empty() {
            let _ = write!(name, ":{last}");
        }
        name
    }

    fn plan(&self, rate: Rate, limit: &LimitTable, shadow: bool) -> ThrottlePlan {
        let spec = DescriptorSpec {
            domain: Some(self.domain.to_owned()),
            entries: self.entries.clone(),
            limit_name: limit.name.clone(),
            replaces: limit.replaces.iter().map(|it| it.name.clone()).collect(),
            lookup: Lookup::StepByStep,
            is_alone: true,
        };
        let uid = uid(&self.name(""));
        ThrottlePlan {
            names: vec![uid.clone()],
            uid,
            rates: vec![rate],
            keys: spec.keys(),
            cost: 1,
            cost_header: None,
            rules: Vec::new(),
            descriptors: Some(Arc::new(spec)),
            shadow,
            // The file names no storage and no strategy, so these are the command line's.
            ..self.model.clone()
        }
    }
}

/// Checks an entry.
fn entry(table: &DescriptorTable) -> Result<EntrySpec, String> {
    // Envoy's service takes an empty value for none.
    let value = table.value.clone().filter(|value| !value.is_empty());
    let prefix = value.as_deref().and_then(|value| value.strip_suffix('*'));
    if table.key.is_empty() {
        return Err("a descriptor has an empty key; write key: remote_address".to_owned());
    }
    if table.quota_mode {
        return Err("quota_mode is not supported; remove it, or write shadow_mode: true".to_owned());
    }
    if table.share_threshold && prefix.is_none() {
        return Err("share_threshold needs a value that ends in *; write value: /api/*".to_owned());
    }
    Ok(match prefix {
        Some(prefix) => EntrySpec {
            key: table.key.clone(),
            value: EntryValue::Prefix(prefix.to_owned()),
            is_counted: !table.share_threshold,
        },
        None => EntrySpec::new(table.key.clone(), value),
    })
}

/// Returns the rate of a limit.
fn rate(limit: &LimitTable) -> Result<Rate, String> {
    let units = || units::names().join(", ");
    match (limit.unlimited, &limit.unit, limit.requests_per_unit) {
        (true, None, None | Some(0)) => Ok(Rate::UNLIMITED),
        (true, ..) => Err("unlimited excludes unit and requests_per_unit; remove them".to_owned()),
        (false, Some(unit), Some(requests)) => {
            let period = units::period(unit);
            let period =
                period.ok_or_else(|| format!("{unit:?} is not a unit; the units are {}", units()))?;
            Rate::new(requests, period).map_err(|error| error.to_string())
        }
        (false, ..) => Err(format!(
            "rate_limit needs unit ({}) and requests_per_unit; or write unlimited: true",
            units()
        )),
    }
}

/// Returns the name of a throttle: the text as it is if the characters and the length permit, else with a
/// hash of it at the end, so that different texts have different names.
fn uid(text: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "._:-".contains(it);
    if text.len() <= 64 && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // The name must be the same in each process, for a shared store.
    let hash = stable_hash(text.bytes());
    let plain = text.chars().map(|it| if is_plain(it) { it } else { '-' }).take(47);
    format!("{}.{hash:016x}", plain.collect::<String>())
}
