//! How fast a client reads what is sent to it from a snapshot of the database: an export, or what a watch catches up with.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// A client that reads fewer bytes a second is slow. It needs more than four hours for 1 GiB, and meanwhile the database
/// keeps every overwritten row. The write side has the same limit for large messages, while other messages wait for memory.
const SLOW_BYTES_PER_SECOND: usize = 64 * 1024;
/// For how many seconds the bytes are counted.
const SECONDS: usize = 10;
const SECOND: Duration = Duration::from_secs(1);

/// What a client has read lately. Only the time in which the service waits for its client counts. So a client is not
/// slow because the database is.
#[derive(Debug)]
pub(crate) struct ClientSpeed {
    /// The bytes of each second, the oldest first. The last second is not over.
    seconds: VecDeque<usize>,
    /// How much of the last second is over.
    elapsed: Duration,
}

impl ClientSpeed {
    pub(crate) fn new() -> Self {
        Self { seconds: [0].into(), elapsed: Duration::ZERO }
    }

    /// Waits until the client takes `bytes`. Calls `set_slow` each time when it may have changed whether the client is slow.
    pub(crate) async fn measure<F: Future>(
        &mut self,
        bytes: usize,
        taken: F,
        set_slow: impl Fn(bool),
    ) -> F::Output {
        let mut taken = std::pin::pin!(taken);
        loop {
            let since = Instant::now();
            let output = timeout(SECOND, &mut taken).await.ok();
            // Longer than a second: this process stood still.
            self.add_time(since.elapsed().min(SECOND));
            if output.is_some() {
                self.add_bytes(bytes);
            }
            set_slow(self.is_slow());
            if let Some(output) = output {
                return output;
            }
        }
    }

    fn add_time(&mut self, time: Duration) {
        self.elapsed += time;
        while self.elapsed >= SECOND {
            self.elapsed -= SECOND;
            self.seconds.push_back(0);
            if self.seconds.len() > SECONDS + 1 {
                self.seconds.pop_front();
            }
        }
    }

    fn add_bytes(&mut self, bytes: usize) {
        *self.seconds.back_mut().expect("it is never empty") += bytes;
    }

    /// Whether the client has read too little in the last seconds. Not before all of them have run.
    fn is_slow(&self) -> bool {
        self.seconds.len() > SECONDS && self.seconds.iter().sum::<usize>() < SECONDS * SLOW_BYTES_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::{advance, sleep};

    use super::*;

    const PART: usize = 64 * 1024;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A client, and whether it was last judged slow.
    struct Client(ClientSpeed, Cell<bool>);

    impl Client {
        fn new() -> Self {
            Self(ClientSpeed::new(), Cell::new(false))
        }

        /// Takes a part of `bytes` after `time`. Returns whether the client is slow then.
        async fn takes(&mut self, bytes: usize, time: Duration) -> bool {
            let Self(speed, is_slow) = self;
            speed.measure(bytes, sleep(time), |slow| is_slow.set(slow)).await;
            is_slow.get()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_slow_once_it_has_read_slowly_for_ten_seconds() {
        for (bytes, time, slow_after) in
            [(PART, millis(2000), Some(5)), (1000, millis(100), Some(100)), (PART, millis(900), None)]
        {
            let mut client = Client::new();
            let mut parts = 0;
            while parts < 1000 && !client.takes(bytes, time).await {
                parts += 1;
            }
            let slow_after = slow_after.map_or(1000, |parts| parts - 1);
            assert_eq!(parts, slow_after, "{bytes} bytes each {time:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_seen_to_be_slow_while_it_takes_nothing() {
        let mut client = Client::new();
        assert!(!client.takes(PART, millis(3000)).await);
        assert!(timeout(millis(8500), client.takes(PART, millis(20_000))).await.is_err());
        assert!(client.1.get());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_that_becomes_fast_is_not_slow() {
        let mut client = Client::new();
        while !client.takes(1000, millis(500)).await {}
        let mut parts = 0;
        while client.takes(PART, millis(1)).await {
            parts += 1;
        }
        assert!(parts <= SECONDS, "{parts}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_time_in_which_the_service_waits_for_the_client_counts() {
        let mut client = Client::new();
        for _ in 0..100 {
            assert!(!client.takes(100, millis(1)).await);
            // The database takes that long for the next rows.
            sleep(millis(5000)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_process_stands_still_does_not_count() {
        let mut client = Client::new();
        let part = client.takes(PART, millis(1500));
        tokio::pin!(part);
        assert!(timeout(millis(100), &mut part).await.is_err());
        advance(Duration::from_mins(1)).await;
        assert!(!part.await);
    }
}
