//! A writer and frames for the tests of sockets.

use std::num::NonZeroUsize;
use std::time::Duration;

use db::{Store, Writer, WriterConfig};
use tokio_util::task::TaskTracker;

/// A writer whose database does not exist.
pub(super) fn writer() -> Writer {
    let store = Store::new("sqlite:///nowhere/to/be/found.db", None, false).expect("the URL is valid");
    let config = WriterConfig {
        lanes: NonZeroUsize::MIN,
        batch_ops_max: NonZeroUsize::MIN,
        batch_bytes_max: 1,
        queue_ops_max: NonZeroUsize::MIN,
        queue_bytes_max: 1024,
        logs_changes: false,
        op_timeout: Duration::from_secs(10),
    };
    Writer::start(&store, config, &TaskTracker::new(), |_| {})
}

/// A masked frame with this first byte and `payload` bytes of payload.
pub(super) fn frame(first: u8, payload: usize) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload) {
        Ok(small) if small < 126 => frame.push(0x80 | small),
        _ => {
            frame.push(0xfe);
            frame.extend(u16::try_from(payload).expect("a test's payload").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(vec![b'x'; payload]);
    frame
}
