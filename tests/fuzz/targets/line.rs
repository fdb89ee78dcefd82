//! `keywire import` reads any input to its end. It skips a line as expired only if the service would refuse it for that reason.

#![no_main]

#[path = "../../../services/keywire/src/cli/import/line.rs"]
mod line;

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use line::{BadLine, ImportLine};
use ws_ingest::protocol::{MessageLimits, UnknownMembers, parse};

const LIMITS: MessageLimits = MessageLimits { key_bytes_max: 512, value_bytes_max: 1024 * 1024 };

fuzz_target!(|input: Vec<u8>| {
    let mut chunks = line::read(Cursor::new(input.clone()));
    let mut before = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        for line in chunk.expect("bytes in memory can be read") {
            let (number, end) = match &line {
                Ok(ImportLine { number, end, .. }) | Err(BadLine { number, end, .. }) => (*number, *end),
            };
            assert!(before < number && number > 0);
            before = number;
            let read = &input[..usize::try_from(end).expect("it is in memory")];
            let read = read.strip_suffix(b"\n").unwrap_or(read);
            assert_eq!(read.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1, number);
            let last = read.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
            match line {
                Ok(line) => {
                    assert!(last.ends_with(line.text.as_bytes()));
                    expired(&line);
                }
                Err(_) => assert!(str::from_utf8(last).is_err()),
            }
        }
    }
});

/// Checks that an expired line has no other fault.
fn expired(line: &ImportLine) {
    if line.has_expired() {
        let refused = parse(line.text.as_str(), LIMITS, UnknownMembers::Refused, || u64::MAX).map(|request| request.write);
        let why = refused.map_err(|refused| refused.problem.message).expect_err("it has expired");
        assert!(why.starts_with("expires_at is not in the future"), "{why}");
    }
}
