//! `keywire import` reads any input to its end. It skips a line as expired only if the service would refuse it for that reason.

#![no_main]

#[path = "../../../services/keywire/src/cli/import/format.rs"]
mod format;
#[path = "../../../services/keywire/src/cli/delivery/line.rs"]
#[expect(dead_code, reason = "it also has what only other commands use")]
mod line;
#[path = "../../../services/keywire/src/cli/import/reader.rs"]
mod reader;

use std::io::{self, Cursor};

use libfuzzer_sys::fuzz_target;
use ws_ingest::protocol::{MessageLimits, UnknownMembers, parse};

use cli::client::Failure;
use line::{BadLine, Line};

const LIMITS: MessageLimits = MessageLimits { key_bytes_max: 512, value_bytes_max: 1024 * 1024 };

/// The names by which the modules above use each other.
mod cli {
    pub(crate) mod client {
        /// The failures of `keywire` that reading lines can have.
        #[derive(Debug)]
        pub(crate) enum Failure {
            Refused(String),
            File(String, std::io::Error),
        }
    }

    pub(crate) mod delivery {
        pub(crate) use crate::line::{BadLine, Chunk, Line};
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::File("cannot read the input to its end".into(), error)
}

fuzz_target!(|input: Vec<u8>| {
    let mut chunks = reader::read(Cursor::new(input.clone()), None);
    let mut before = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        let lines = match chunk {
            Ok(lines) => lines,
            Err(Failure::Refused(why)) => {
                assert!(before == 0 && why.starts_with("stdin cannot be imported as it is: "), "{why}");
                break;
            }
            Err(Failure::File(what, error)) => panic!("bytes in memory can be read: {what}: {error}"),
        };
        for line in lines {
            let (number, end) = match &line {
                Ok(Line { number, end, .. }) | Err(BadLine { number, end, .. }) => (*number, *end),
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
fn expired(line: &Line) {
    if line.has_expired() {
        let refused = parse(line.text.as_str(), LIMITS, UnknownMembers::Refused, || u64::MAX).map(|request| request.write);
        let why = refused.map_err(|refused| refused.problem.message).expect_err("it has expired");
        assert!(why.starts_with("expires_at is not in the future"), "{why}");
    }
}
