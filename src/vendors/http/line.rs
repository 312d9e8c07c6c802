//! One vendor instance's way through the shared client: how often something is sent, how long is
//! waited in between, how much at once, and how long a whole call may take.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::answer::Answer;
use super::around::lock;
use super::client::Client;
use super::hidden::Hidden;
use super::request::{Effect, Request};
use crate::model::fault::{Class, Fault};

/// Authorizations sent lately, whose secrets no later answer may get printed either.
const RECENT_COUNT_MAX: usize = 8;
/// What a call that ran out of time has to come back by itself before it is cut off.
const GRACE: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// When the whole call that this task carries out must have ended.
    static DEADLINE: Instant;
}

/// One vendor instance's way through the shared client.
pub struct Line {
    client: Client,
    permits: Semaphore,
    recent: Mutex<VecDeque<HeaderValue>>,
}

impl Line {
    /// A way of its own: its calls are paced together.
    pub fn new(client: Client) -> Self {
        let permits = Semaphore::new(client.limits().in_flight_max);
        Self { client, permits, recent: Mutex::default() }
    }

    /// Carries out a whole call of a driver, however many requests it takes, within `call_max`.
    ///
    /// # Errors
    /// Those of `work`; `Retry` when it takes longer while nothing is on its way. What is on its way
    /// at that moment has the class of a lost answer.
    pub async fn whole<T>(&self, doing: String, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.within(self.client.limits().call_max, &doing, work).await
    }

    /// Fetches an admin token within `token_max`, whoever waits for it.
    ///
    /// # Errors
    /// As [`Line::whole`].
    pub async fn token<T>(&self, doing: &str, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.within(self.client.limits().token_max, doing, work).await
    }

    async fn within<T>(
        &self,
        most: Duration,
        doing: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let deadline = sleep(most).deadline();
        // On the heap: what is nested here is large.
        let work = Box::pin(DEADLINE.scope(deadline, timeout_at(deadline + GRACE, work)));
        work.await.unwrap_or_else(|_| {
            let answer = format!("it took over {} s, all tries and waits together", most.as_secs());
            Err(Fault::new(Class::Retry { after: None }, doing, answer))
        })
    }

    /// Sends `request`: once, or as often as its [`Effect`], the limits and the time of the whole
    /// call allow, with full jitter between the tries and no shorter than `Retry-After` asks. Any
    /// HTTP answer that stands at the end is `Ok`, whatever its status.
    ///
    /// # Errors
    /// No answer: `Retry` when nothing can have been applied, `InDoubt` when it can.
    pub async fn send(&self, request: &Request) -> Result<Answer, Fault> {
        let hidden = self.remember(request);
        let limits = self.client.limits();
        let deadline = DEADLINE.try_with(|deadline| *deadline).ok();
        let mut tries = 1;
        loop {
            let outcome = self.once(request, deadline).await.map(|answer| answer.hiding(&hidden));
            let told = match &outcome {
                Ok(answer) if !answer.is_passing_trouble() => return outcome,
                Ok(answer) => answer.retry_after(),
                Err(fault) if fault.heals_by_itself() => None,
                Err(_) => return outcome,
            };
            let ceiling = limits.backoff_first.saturating_mul(1 << (tries - 1).min(16)).min(limits.backoff_max);
            let wait = sleep(ceiling.mul_f64(fastrand::f64()).max(told.unwrap_or_default()));
            let long = told.is_some_and(|wait| wait > limits.retry_after_max);
            let late = deadline.is_some_and(|deadline| wait.deadline() >= deadline);
            if request.effect() == Effect::Once || tries >= limits.tries_max || long || late {
                return outcome;
            }
            wait.await;
            tries += 1;
        }
    }

    /// One exchange, once there is room for it.
    async fn once(&self, request: &Request, deadline: Option<Instant>) -> Result<Answer, Fault> {
        let Some(deadline) = deadline else {
            let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
            return self.client.send(request).await;
        };
        let Ok(permit) = timeout_at(deadline, self.permits.acquire()).await else {
            let answer = "not sent: other calls to this vendor took all the time there was";
            return Err(Fault::new(Class::Retry { after: None }, request.doing(), answer));
        };
        let _permit = permit.expect("the semaphore is never closed");
        timeout_at(deadline, self.client.send(request)).await.unwrap_or_else(|_| {
            let answer = "no answer before the time for the whole call was over";
            Err(Fault::new(request.effect().lost(), request.doing(), answer))
        })
    }

    /// All secrets that an answer to `request` may not get printed.
    fn remember(&self, request: &Request) -> Hidden {
        let mut hidden = request.hidden.clone();
        let mut recent = lock(&self.recent);
        recent.iter().for_each(|value| hidden.add_authorization(value));
        if let Some(value) = request.authorization.as_ref().filter(|value| !recent.contains(value)) {
            recent.truncate(RECENT_COUNT_MAX - 1);
            recent.push_front(value.clone());
        }
        hidden
    }
}
