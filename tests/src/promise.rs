//! Tests of promises on every database engine. An engine that is not available is reported, or is a failure.

use std::io::Write as _;
use std::time::Duration;

use crate::engine::EngineKind;
use crate::patience::within;

/// The time limit of one test.
const PROMISE_MAX: Duration = Duration::from_mins(3);

/// Makes tests of promises. A promise is an `async fn(EngineKind)`. The macro makes one test of it for each engine of its list. The list
/// `every:` means all engines, `sqlite:` means `SQLite`, and `sql:` means the database servers. The lists stand in this order, and each list ends with
/// a semicolon.
#[macro_export]
macro_rules! promises {
    ($(every: $($every:ident),+;)? $(sqlite: $($sqlite:ident),+;)? $(sql: $($sql:ident),+;)?) => {
        $crate::promises!(@engine sqlite Sqlite [$($($every)+)? $($($sqlite)+)?]);
        $crate::promises!(@engine mariadb MariaDb [$($($every)+)? $($($sql)+)?]);
        $crate::promises!(@engine mysql MySql [$($($every)+)? $($($sql)+)?]);
    };
    (@engine $module:ident $engine:ident []) => {};
    (@engine $module:ident $engine:ident [$($name:ident)+]) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::keep($crate::EngineKind::$engine, super::$name).await;
                }
            )+
        }
    };
}

/// Runs `promise` on `engine`, or reports that it was skipped.
pub async fn keep(engine: EngineKind, promise: impl AsyncFnOnce(EngineKind)) {
    match engine.available().await {
        Ok(()) => within("the promise", PROMISE_MAX, promise(engine)).await,
        Err(reason) => skip(&format!("{engine:?}: {reason}")),
    }
}

/// Prints what a test has measured, whether it passes or not.
pub fn measured(figures: &str) {
    eprintln!("MEASURED: {figures}");
}

/// Reports a skipped test in the file that `SKIPPED` names, for the summary. Fails if `REQUIRE_ALL` is set.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("REQUIRE_ALL").is_none(), "must not be skipped: {reason}");
    eprintln!("SKIPPED: {reason}");
    if let Some(path) = std::env::var_os("SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{reason}\n").as_bytes()))
            .expect("the file of skipped tests can be written");
    }
}
