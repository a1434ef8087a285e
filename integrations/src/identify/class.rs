//! The class and the cost of a request, from headers of a trusted proxy.

use http::HeaderName;
use http::StatusCode;
use traffik_core::{Class, Label};

use super::{Networks, RequestParts};
use crate::http::request::{Refusal, RequestError};

/// Reads the class of a request from headers that a trusted proxy has written.
///
/// Choose it when a gateway in front knows the tier of a client. Headers of other peers are ignored, since
/// a client that could name its own tier would promote itself. A name that a strategy does not know counts
/// as its default.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{ClassHeaders, Networks, Throttle};
///
/// let classes = ClassHeaders::from(Networks::parse(["10.0.0.0/8"])?).tier("x-tier".parse()?);
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("5/s")))
///     .class_by(move |request| classes.of(request))
///     .build()?;
/// # let _ = throttle;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClassHeaders {
    /// The trusted networks; `None` trusts everybody.
    trusted: Option<Networks>,
    base: Class,
    tier: Option<HeaderName>,
    priority: Option<HeaderName>,
    region: Option<HeaderName>,
}

/// Trusts peers in these networks.
impl From<Networks> for ClassHeaders {
    fn from(trusted: Networks) -> Self {
        Self { trusted: Some(trusted), ..Self::from_anyone() }
    }
}

impl ClassHeaders {
    /// Trusts everybody: for services that only trusted peers can reach.
    #[must_use]
    pub fn from_anyone() -> Self {
        Self { trusted: None, base: Class::default(), tier: None, priority: None, region: None }
    }

    /// Sets the class of requests without the headers.
    #[must_use]
    pub fn base(self, base: Class) -> Self {
        Self { base, ..self }
    }

    /// Reads the tier from this header.
    #[must_use]
    pub fn tier(self, header: HeaderName) -> Self {
        Self { tier: Some(header), ..self }
    }

    /// Reads the priority from this header.
    #[must_use]
    pub fn priority(self, header: HeaderName) -> Self {
        Self { priority: Some(header), ..self }
    }

    /// Reads the region from this header.
    #[must_use]
    pub fn region(self, header: HeaderName) -> Self {
        Self { region: Some(header), ..self }
    }

    /// Returns the class of a request.
    #[must_use]
    pub fn of(&self, request: RequestParts<'_>) -> Class {
        if self.trusted.as_ref().is_some_and(|trusted| !trusted.contain_peer(request)) {
            return self.base;
        }
        let named = |header: &Option<HeaderName>| {
            let mut lines = request.headers.get_all(header.as_ref()?).into_iter();
            // If there are two values, the client may have sent one of them, so neither is trusted.
            let name = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?;
            Some(Label::named(name.trim()))
        };
        let mut class = self.base;
        class.tier = named(&self.tier).unwrap_or(class.tier);
        class.priority = named(&self.priority).unwrap_or(class.priority);
        class.region = named(&self.region).unwrap_or(class.region);
        class
    }
}

/// Reads the cost of a request from a header.
///
/// Choose it when the caller knows how expensive its request is. Anybody may send the header, since it can
/// only make the sender's requests more expensive. A request without the header costs 1. Cost 0 always
/// passes, so it is accepted only from trusted peers; from others it counts as 1.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{CostHeader, Networks, Throttle};
///
/// let costs = CostHeader::new("x-cost".parse()?, Networks::default());
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("5/s")))
///     .cost_by(move |request| costs.of(request))
///     .build()?;
/// # let _ = throttle;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CostHeader {
    name: HeaderName,
    trusted: Networks,
}

impl CostHeader {
    /// Reads this header. Peers in the `trusted` networks may send 0; the default of [`Networks`] trusts
    /// none.
    #[must_use]
    pub const fn new(name: HeaderName, trusted: Networks) -> Self {
        Self { name, trusted }
    }

    /// Returns the cost of a request.
    ///
    /// # Errors
    ///
    /// Fails with [`RequestError::Refused`], which is answered 400, if the header is repeated or is not a
    /// whole number up to 4 294 967 295.
    pub fn of(&self, request: RequestParts<'_>) -> Result<u32, RequestError> {
        let mut lines = request.headers.get_all(&self.name).into_iter();
        let Some(line) = lines.next() else { return Ok(1) };
        let text = line.to_str().unwrap_or_default();
        let digits = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(cost) if digits && lines.next().is_none() => {
                Ok(if cost == 0 && !self.trusted.contain_peer(request) { 1 } else { cost })
            }
            _ => {
                let detail =
                    format!("send the header {} once, with a whole number up to {}", self.name, u32::MAX);
                Err(Refusal::new(StatusCode::BAD_REQUEST, detail).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerAddress;

    fn request(peer: [u8; 4], headers: &[(&'static str, &str)]) -> http::Request<()> {
        let request =
            headers.iter().fold(http::Request::builder(), |it, (name, value)| it.header(*name, *value));
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(PeerAddress::new((peer, 1).into()));
        request
    }

    const PROXY: [u8; 4] = [10, 0, 0, 1];
    const CLIENT: [u8; 4] = [192, 0, 2, 1];

    fn trusted() -> Networks {
        Networks::parse(["10.0.0.0/8"]).unwrap()
    }

    /// Headers that a client writes do not change its tier.
    #[test]
    fn a_client_does_not_promote_itself() {
        let name = HeaderName::from_static;
        let classes = ClassHeaders::from(trusted());
        let classes = classes.tier(name("tier")).priority(name("priority")).region(name("region"));
        let sent = [("tier", "enterprise"), ("priority", "high"), ("region", "eu")];
        let of = |peer, headers: &[(&'static str, &str)]| classes.of((&request(peer, headers)).into());
        assert_eq!(of(CLIENT, &sent), Class::default());
        assert_eq!(of(CLIENT, &[("x-forwarded-for", "10.0.0.1"), sent[0]]), Class::default());
        let class = of(PROXY, &sent);
        assert_eq!(class.tier, Label::named("enterprise"));
        assert_eq!((class.priority, class.region), (Label::named("high"), Label::named("eu")));
        assert_eq!(of(PROXY, &[("tier", "a"), ("tier", "b")]).tier, Label::default(), "two values");
        let anyone = ClassHeaders::from_anyone().tier(name("tier"));
        assert_eq!(anyone.of((&request(CLIENT, &sent)).into()).tier, Label::named("enterprise"));
        assert_eq!(classes.of((&http::Request::new(())).into()), Class::default(), "no peer address");
    }

    #[test]
    fn a_cost_is_one_whole_number() {
        let costs = CostHeader::new(HeaderName::from_static("cost"), trusted());
        let of = |peer, values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| ("cost", *value)).collect();
            costs.of((&request(peer, &headers)).into()).map_err(|stop| match stop {
                RequestError::Refused(refusal) => refusal.status.as_u16(),
                RequestError::Failed(_) => 500,
            })
        };
        assert_eq!(
            [of(CLIENT, &[]), of(CLIENT, &["7"]), of(CLIENT, &["4294967295"])],
            [Ok(1), Ok(7), Ok(u32::MAX)]
        );
        assert_eq!(
            [of(CLIENT, &["0"]), of(PROXY, &["0"]), of(CLIENT, &["0000000000"])],
            [Ok(1), Ok(0), Ok(1)]
        );
        for values in
            [&[""][..], &["-1"], &["+1"], &["1.5"], &["4294967296"], &["00000000001"], &["1", "1"], &["é"]]
        {
            assert_eq!(of(CLIENT, values), Err(400), "{values:?}");
        }
    }
}
