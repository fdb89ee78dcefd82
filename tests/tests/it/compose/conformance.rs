//! Responses through the gateway are as the specification says.

use std::path::Path;
use std::process::{Command, Stdio};

use e2e::{Compose, skip};

/// The exit code with which the suite reports that it cannot run on this machine.
const UNAVAILABLE: i32 = 69;

pub(super) async fn what_the_gateway_answers_is_as_specified(compose: &Compose) {
    let mut suite = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis"));
    suite.env("SERVER", format!("http://{}", compose.gateway)).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || suite.output()).await.expect("it does not panic");
    let output = output.expect("the suite can be run");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(UNAVAILABLE) {
        return skip(&format!("conformance through the gateway: {}", said.trim_end()));
    }
    assert!(output.status.success(), "{said}");
}
