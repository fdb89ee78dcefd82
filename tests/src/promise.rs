//! One promise, kept on every engine there is; what is not there is said, or is a failure.

use std::io::Write as _;
use std::time::Duration;

use crate::engine::Engine;
use crate::patience::within;

/// The longest a single promise may take to be shown.
const PROMISE_MAX: Duration = Duration::from_mins(3);

/// Makes tests of promises: of each `async fn(Engine)` one for each engine that its list stands for. `every:` is every engine,
/// `sqlite:` is `SQLite`, `sql:` is each database server. Each list ends with a semicolon, and they come in this order.
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
                    $crate::keep($crate::Engine::$engine, super::$name).await;
                }
            )+
        }
    };
}

/// Runs `promise` on `engine`, or notes that it was skipped.
pub async fn keep(engine: Engine, promise: impl AsyncFnOnce(Engine)) {
    match engine.available().await {
        Ok(()) => within("the promise", PROMISE_MAX, promise(engine)).await,
        Err(reason) => skip(&format!("{engine:?}: {reason}")),
    }
}

/// Notes what a test has measured, whether it passes or not.
pub fn measured(figures: &str) {
    eprintln!("MEASURED: {figures}");
}

/// Notes a skipped test in the file `SKIPPED` names, for the summary; a failure if `REQUIRE_ALL` is set.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("REQUIRE_ALL").is_none(), "must not be skipped: {reason}");
    eprintln!("SKIPPED: {reason}");
    if let Some(path) = std::env::var_os("SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{reason}\n").as_bytes()))
            .expect("the file of skipped tests can be written");
    }
}
