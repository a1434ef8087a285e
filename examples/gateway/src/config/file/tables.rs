//! The tables of the file, as TOML has them.

use std::collections::BTreeMap;
use std::str::FromStr;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use toml::Spanned;
use traffik::Rate;
use traffik::web::Networks;

use super::rules::RuleEntry;
use super::values::{NumberOrText, OneOrMore, TextValue};
use crate::limits::denial_reply::BodyTemplate;
use crate::limits::keys::KeySpec;
use crate::limits::plan::{Headers, OnErrorSpec};
use crate::limits::responses::{CostSpec, CountSpec};
use crate::limits::spec::Spec;
use crate::limits::storage::StorageSpec;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    #[serde(default)]
    pub(super) defaults: DefaultsTable,
    #[serde(default)]
    pub(super) throttle: Vec<ThrottleTable>,
}

/// The `[defaults]` table: values for the throttles that have none of their own.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultsTable {
    pub(super) storage: Option<TextValue<StorageSpec>>,
    pub(super) key: Option<OneOrMore<TextValue<KeySpec>>>,
    #[serde(alias = "ipv6-prefix")]
    pub(super) ipv6_prefix: Option<Spanned<u8>>,
    #[serde(alias = "on-error")]
    pub(super) on_error: Option<TextValue<OnErrorSpec>>,
    pub(super) headers: Option<TextValue<Headers>>,
}

/// A `[[throttle]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThrottleTable {
    pub(super) uid: Spanned<String>,
    pub(super) rate: Option<TextValue<Rate>>,
    pub(super) rates: Option<Spanned<Vec<TextValue<Rate>>>>,
    pub(super) strategy: Option<Spanned<TextValue<Spec>>>,
    pub(super) storage: Option<TextValue<StorageSpec>>,
    pub(super) key: Option<Spanned<OneOrMore<TextValue<KeySpec>>>>,
    #[serde(alias = "ipv6-prefix")]
    pub(super) ipv6_prefix: Option<Spanned<u8>>,
    pub(super) domain: Option<String>,
    pub(super) descriptors: Option<Spanned<OneOrMore<EntryTable>>>,
    pub(super) exempt: Option<OneOrMore<TextValue<ExemptNetwork>>>,
    pub(super) cost: Option<Spanned<NumberOrText<CostSpec>>>,
    #[serde(rename = "cost-header", alias = "cost_header")]
    pub(super) cost_header: Option<TextValue<HeaderName>>,
    pub(super) count: Option<Spanned<TextValue<CountSpec>>>,
    pub(super) rules: Option<OneOrMore<RuleEntry>>,
    #[serde(alias = "on-error")]
    pub(super) on_error: Option<Spanned<TextValue<OnErrorSpec>>>,
    pub(super) headers: Option<TextValue<Headers>>,
    pub(super) status: Option<Spanned<u16>>,
    pub(super) body: Option<TextValue<BodyTemplate>>,
    #[serde(alias = "body-type")]
    pub(super) body_type: Option<Spanned<TextValue<HeaderValue>>>,
    #[serde(default, alias = "denied-headers")]
    pub(super) denied_headers: BTreeMap<String, Spanned<String>>,
    pub(super) enforce: Option<Spanned<TextValue<Percentage>>>,
    #[serde(default)]
    pub(super) shadow: bool,
}

/// A network: an address, or an address and a prefix length.
pub(super) struct ExemptNetwork(pub(super) String);

impl FromStr for ExemptNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Networks::parse([text]).map(|_| Self(text.to_owned())).map_err(|error| error.to_string())
    }
}

/// A share of all clients, in percent.
pub(super) struct Percentage(pub(super) u8);

impl FromStr for Percentage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
        let percent = percent.filter(|percent| (1..=100).contains(percent)).map(Self);
        percent.ok_or_else(|| {
            format!("{text:?} is not a share of the clients; write \"1%\" to \"100%\", or shadow = true")
        })
    }
}

/// Parses a header that denials carry.
pub(super) fn denied_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let header: HeaderName =
        name.parse().map_err(|_| format!("{name:?} is not a header name; write one such as x-help"))?;
    if header == CONTENT_TYPE {
        return Err("the type of the body has a key of its own; write body_type".to_owned());
    }
    if [CONTENT_LENGTH, CONNECTION, TRANSFER_ENCODING].contains(&header) {
        return Err(format!("{name} belongs to the connection; leave it out"));
    }
    let value = value.parse().map_err(|_| format!("{value:?} is not a value of a header"))?;
    Ok((header, value))
}

/// A table of `descriptors`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryTable {
    pub(super) key: String,
    pub(super) value: Option<String>,
}
