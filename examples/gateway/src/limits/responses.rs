//! The responses that a throttle charges, and by which part.

use std::num::NonZeroU32;
use std::str::FromStr;

use http::response::Parts;
use http::{HeaderName, StatusCode};

/// The cost of a request, taken from its response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ResponseCost {
    /// The number in this header.
    Header(HeaderName),
    /// One for each block of so many bytes that the body begins.
    Bytes(NonZeroU32),
}

impl ResponseCost {
    /// Returns the cost by the head and the length of the body. A response without a number in the header
    /// costs 1, as was charged before it.
    pub(crate) fn of(&self, head: &Parts, bytes: u64) -> u32 {
        match self {
            Self::Bytes(unit) => u32::try_from(bytes.div_ceil(u64::from(unit.get()))).unwrap_or(u32::MAX),
            Self::Header(name) => {
                let text = head.headers.get(name).and_then(|value| value.to_str().ok());
                text.and_then(|text| text.trim().parse().ok()).unwrap_or(1)
            }
        }
    }
}

/// The cost of a request, as the file names it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CostSpec {
    Header(HeaderName),
    Response(ResponseCost),
}

impl FromStr for CostSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let header = |name: &str| {
            name.parse().map_err(|_| format!("{name:?} is not a header name; write one such as x-cost"))
        };
        match text.split_once(':') {
            Some(("header", name)) => header(name).map(Self::Header),
            Some(("response", name)) => header(name).map(ResponseCost::Header).map(Self::Response),
            None if text == "bytes" => Ok(Self::Response(ResponseCost::Bytes(NonZeroU32::MIN))),
            Some(("bytes", unit)) => {
                let unit = unit.parse().map_err(|_| {
                    format!("{unit:?} is not a number of bytes of at least 1; write bytes:1024")
                })?;
                Ok(Self::Response(ResponseCost::Bytes(unit)))
            }
            _ => Err(format!(
                "{text:?} is not a cost; write a number, \"header:x-cost\", \"response:x-tokens-used\", \
                 \"bytes\" or \"bytes:1024\""
            )),
        }
    }
}

/// The status codes of the responses that are charged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CountSpec {
    text: String,
    /// Ranges of status codes: one of the outer list has to have the status in each of its ranges.
    any: Vec<Vec<StatusCondition>>,
}

#[derive(Clone, Debug, PartialEq)]
struct StatusCondition {
    from: u16,
    to: u16,
    /// Whether the status lies outside the range.
    is_outside: bool,
}

impl CountSpec {
    pub(crate) fn counts(&self, status: StatusCode) -> bool {
        self.holds(status.as_u16())
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn holds(&self, status: u16) -> bool {
        let in_range = |it: &StatusCondition| (it.from..=it.to).contains(&status) != it.is_outside;
        self.any.iter().any(|all| all.iter().all(in_range))
    }
}

impl FromStr for CountSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let each = |all: &str| all.split(" and ").map(condition).collect::<Result<Vec<_>, _>>();
        let any = words.split(" or ").map(each).collect::<Result<Vec<_>, _>>()?;
        let spec = Self { text: words, any };
        let mut statuses = 200..=599;
        match statuses.clone().filter(|status| spec.holds(*status)).count() {
            0 => Err(format!("{text:?} counts no response; statuses are 200 to 599")),
            all if all == statuses.by_ref().count() => {
                Err(format!("{text:?} counts every response; leave count out"))
            }
            _ => Ok(spec),
        }
    }
}

/// Parses one comparison of the status, or a range of statuses.
fn condition(text: &str) -> Result<StatusCondition, String> {
    let wrong = || {
        format!(
            "{text:?} is not a condition on the status; write \"status >= 400\", \"500-599\", or several \
             joined by and, or"
        )
    };
    let status = |text: &str| match text.trim().parse::<u16>() {
        Ok(status) if (100..=599).contains(&status) => Ok(status),
        _ => Err(format!("{:?} is not a status; write 100 to 599", text.trim())),
    };
    let rest = text.trim().strip_prefix("status").unwrap_or(text).trim();
    if let Some((from, to)) = rest.split_once('-') {
        let (from, to) = (status(from)?, status(to)?);
        return Ok(StatusCondition { from, to, is_outside: false });
    }
    if !text.trim().starts_with("status") {
        return Err(wrong());
    }
    // The longer operators come first, since the shorter ones are their beginnings.
    let operators = [">=", "<=", "==", "!=", ">", "<"];
    let found = operators.iter().find_map(|operator| Some((*operator, rest.strip_prefix(operator)?)));
    let (operator, number) = found.ok_or_else(wrong)?;
    let number = status(number)?;
    let range = |from, to| StatusCondition { from, to, is_outside: operator == "!=" };
    Ok(match operator {
        ">=" => range(number, u16::MAX),
        "<=" => range(0, number),
        ">" => range(number + 1, u16::MAX),
        "<" => range(0, number - 1),
        _ => range(number, number),
    })
}
