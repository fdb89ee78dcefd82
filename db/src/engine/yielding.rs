//! Yields to other tasks between large values. The callers of readers and scanners work on each value, and large ones would keep a
//! thread busy for long.

/// Values of this many bytes or more are large.
const LARGE_BYTES: usize = 64 * 1024;

/// Lets other tasks have a turn after the work on a value of `value_bytes`, if it is large.
pub(crate) async fn after_value(value_bytes: usize) {
    if value_bytes >= LARGE_BYTES {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn only_a_large_value_ends_a_turn() {
        assert!(after_value(LARGE_BYTES - 1).now_or_never().is_some());
        assert!(after_value(LARGE_BYTES).now_or_never().is_none());
    }
}
