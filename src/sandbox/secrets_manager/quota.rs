//! Request quotas as token buckets, one per Region and group.
//!
//! They refill in real time whatever the sandbox's speed: a client paces itself by its own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::errors::AwsError;
use super::operation::{Group, Operation};

/// The buckets of the account.
#[derive(Default)]
pub struct Buckets(BTreeMap<(String, Group), Bucket>);

struct Bucket {
    tokens: f64,
    filled: Duration,
}

impl Buckets {
    /// Takes one request out of the bucket. A bucket holds one second's worth, so a burst of that
    /// size passes.
    ///
    /// # Errors
    /// `ThrottlingException` when it is empty.
    pub fn take(&mut self, region: &str, operation: Operation, at: Duration) -> Result<(), AwsError> {
        let group = operation.group();
        let rate = f64::from(group.per_second());
        let bucket = self.0.entry((region.to_owned(), group)).or_insert(Bucket { tokens: rate, filled: at });
        bucket.tokens = (bucket.tokens + at.saturating_sub(bucket.filled).as_secs_f64() * rate).min(rate);
        bucket.filled = at;
        if bucket.tokens < 1.0 {
            return Err(throttled());
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

/// The answer over a quota.
pub fn throttled() -> AwsError {
    AwsError::new("ThrottlingException", "Rate exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_share_one_bucket_per_region_and_it_refills_with_time() {
        let mut buckets = Buckets::default();
        let mut take = |region: &str, operation, millis| {
            buckets.take(region, operation, Duration::from_millis(millis)).map_err(|error| error.code)
        };
        for call in 0..50 {
            let operation = if call % 2 == 0 { Operation::PutSecretValue } else { Operation::UpdateSecretVersionStage };
            assert_eq!(take("a", operation, 0), Ok(()));
        }
        assert_eq!(take("a", Operation::UpdateSecret, 0), Err("ThrottlingException".into()));
        assert_eq!(take("a", Operation::TagResource, 0), Ok(()), "another bucket");
        assert_eq!(take("b", Operation::UpdateSecret, 0), Ok(()), "another Region");
        assert_eq!(take("a", Operation::UpdateSecret, 20), Ok(()), "one came back");
        assert_eq!(take("a", Operation::UpdateSecret, 20), Err("ThrottlingException".into()));
    }
}
