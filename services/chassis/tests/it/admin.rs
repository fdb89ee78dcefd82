//! The admin port reports the state of the process until the process ends.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chassis::process::admin::serve_admin;
use chassis::process::check::check;
use chassis::process::stop::Stop;
use chassis::server::bind;
use chassis::telemetry::Telemetry;
use tokio::net::TcpStream;

use crate::net::{Reply, TestClient, soon};

#[tokio::test]
async fn readiness_follows_the_service_and_the_drain_while_liveness_stays() {
    let telemetry = Telemetry::new("test", None).expect("metrics");
    telemetry.meter().u64_counter("kv.things").build().add(3, &[]);
    let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let addr = listener.local_addr().expect("it is open");
    let (stop, ready) = (Stop::new(), Arc::new(AtomicBool::new(false)));
    let (until, asked) = (stop.clone(), Arc::clone(&ready));
    tokio::spawn(async move {
        let ready =
            move || asked.load(Ordering::SeqCst).then_some(()).ok_or_else(|| "no database".to_owned());
        serve_admin(listener, ready, vec!["kv.example".into()], &telemetry, &until).await;
    });
    let ask = async |path: &str| -> Reply {
        let mut client = TestClient(TcpStream::connect(addr).await.expect("it listens"));
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        client.reply().await
    };
    let healthy = async || {
        let code = soon("the check", tokio::task::spawn_blocking(move || check(addr))).await;
        format!("{:?}", code.expect("no panic")) == format!("{:?}", ExitCode::SUCCESS)
    };

    let reply = ask("/readyz").await;
    assert_eq!((reply.status(), reply.body.as_str()), (503, "no database\n"));
    assert!(!healthy().await);

    ready.store(true, Ordering::SeqCst);
    let reply = ask("/readyz").await;
    assert_eq!((reply.status(), reply.body.as_str()), (200, "ready\n"));
    assert!(healthy().await);

    stop.begin();
    let reply = ask("/readyz").await;
    assert_eq!((reply.status(), reply.body.as_str()), (503, "stopping\n"));
    assert!(!healthy().await);
    assert_eq!(ask("/livez").await.status(), 200);
    let metrics = ask("/metrics").await;
    assert!(metrics.body.contains("\nkv_things_total 3\n"), "{}", metrics.body);
    ask("/nothing").await.assert_problem(404, "no_route");
}
