//! The explanation, in text, of how a throttle treats a request.

use std::fmt::Write;
use std::future::Future;

use traffik_core::storage::AsyncStorage;
use traffik_core::{Cost, Key, Origin, Strategy};

use super::handle::Throttle;
use super::plan::{Plan, SkipReason, Skipped};
use crate::http::request::RequestParts;

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Explains how the throttle treats a request, a line for each fact.
    ///
    /// Choose it to find out why a request is or is not counted. The lines name the matching rule, the
    /// client, the scope, the cost and each limit. For a request that is not counted they give the reason,
    /// with the first condition of each rule that it does not meet. Charges nothing and calls no storage. The
    /// future waits for asynchronous functions of the request, without a bound, and leaves nothing behind
    /// when dropped.
    ///
    /// ```
    /// # async fn explained() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::{Method, Request};
    /// use traffik::{Gcra, rate};
    /// use traffik::web::{PeerAddress, Rule, Throttle};
    ///
    /// let posts = Rule::new().methods([Method::POST]).prefix("/login");
    /// let throttle = Throttle::in_memory("logins", Gcra::new(rate!("5/min"))).apply_to(posts).build()?;
    /// let mut request = Request::post("/login/").body(())?;
    /// request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 443).into()));
    /// let text = throttle.explain(&request).await;
    /// assert!(text.contains("rule: POST /login and below") && text.contains("client: 192.0.2.1"));
    ///
    /// let text = throttle.explain(&Request::get("/login").body(())?).await;
    /// assert!(text.contains("not counted: POST /login and below: the method is GET"));
    /// # Ok(())
    /// # }
    /// # use std::task::{Context, Poll, Waker};
    /// # let explained = std::pin::pin!(explained());
    /// # assert!(matches!(explained.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
    /// ```
    pub fn explain<'a>(&self, request: impl Into<RequestParts<'a>>) -> impl Future<Output = String> + Send {
        self.explained(request.into())
    }

    async fn explained(&self, request: RequestParts<'_>) -> String {
        let mut text = format!("throttle: {}\n", self.uid());
        let mut line = |name: &str, value: &str| text.extend([name, ": ", value, "\n"]);
        match self.0.profile.rules.explain(request).await {
            Ok(rule) => line("rule", rule.as_deref().unwrap_or("none; the throttle applies to all requests")),
            Err(reasons) => {
                reasons.iter().for_each(|reason| line("not counted", reason));
                return text;
            }
        }
        // The rules apply, as checked above, so the plan is made without them.
        match self.plan(request, None).get().await {
            Ok(plan) => self.explain_plan(&plan, &mut line),
            Err(Skipped { reason: SkipReason::NotCounted(origin), .. }) => line(
                "not counted",
                match origin {
                    Origin::Disabled => "the throttle is disabled",
                    Origin::Exempt => "the client is exempt",
                    _ => "the throttle does not apply",
                },
            ),
            Err(Skipped { reason: SkipReason::Error(stop), enforced }) => {
                let note = if enforced {
                    ""
                } else {
                    "; the limit is not enforced for this client, so the request passes"
                };
                line("not counted", &format!("{stop}{note}"));
            }
        }
        text
    }

    fn explain_plan(&self, plan: &Plan<S, M>, line: &mut impl FnMut(&str, &str)) {
        let mut client = String::new();
        // Writing to a string cannot fail.
        let _ = plan.client.name(&mut client);
        line("client", &client);
        if let Some(scope) = &plan.scope {
            line("scope", scope.name());
        }
        line("cost", &plan.hit.cost.largest().to_string());
        // A fresh state shows the limits without a call of the storage.
        let fresh = self.fresh(plan);
        for limit in fresh.iter().flat_map(|fresh| self.0.profile.answers.limits(fresh)) {
            let (decision, mut text) = (limit.decision, limit.name.to_owned());
            let _ = match decision.rate() {
                Some(rate) if rate.is_unlimited() => write!(text, ", unlimited"),
                Some(rate) if rate.limit() != decision.limit() => {
                    let at_once = decision.limit();
                    write!(text, ", {} within {:?}, {at_once} at once", rate.limit(), rate.period())
                }
                Some(rate) => write!(text, ", {} within {:?}", rate.limit(), rate.period()),
                None => write!(text, ", {}", decision.limit()),
            };
            line("limit", &text);
        }
        if !plan.enforced {
            line("enforced", "no; the request is counted, and passes even over the limit");
        }
    }
}
