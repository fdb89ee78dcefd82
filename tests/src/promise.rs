//! One promise, kept on every engine there is; what is not there is said, or is a failure.

use std::io::Write as _;
use std::time::Duration;

use crate::engine::Engine;
use crate::patience::within;

/// The longest a single promise may take to be shown.
const PROMISE_MAX: Duration = Duration::from_mins(3);

/// Makes a test of each promise (an `async fn(Engine)`) for each engine, `sql:` for database servers only.
#[macro_export]
macro_rules! promises {
    (sql: $($name:ident),+ $(,)?) => {
        $crate::promises!(@engine mariadb MariaDb $($name)+);
        $crate::promises!(@engine mysql MySql $($name)+);
    };
    (sqlite: $($name:ident),+ $(,)?) => {
        $crate::promises!(@engine sqlite Sqlite $($name)+);
    };
    (@engine $module:ident $engine:ident $($name:ident)+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::keep($crate::Engine::$engine, super::$name).await;
                }
            )+
        }
    };
    ($($name:ident),+ $(,)?) => {
        $crate::promises!(sqlite: $($name),+);
        $crate::promises!(sql: $($name),+);
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
