//! The admin port reports the state of the process until the process ends.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chassis::process::admin::serve_admin;
use chassis::process::check::check;
use chassis::process::stop::Stop;
use chassis::server::bind;
use chassis::telemetry::{ResourceAttributes, Telemetry};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::net::{Reply, TestClient, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_do_not_keep_a_health_check_out() {
    const SILENT: usize = 200;
    let telemetry = Telemetry::new("test", None, &ResourceAttributes::default()).expect("metrics");
    let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let addr = listener.local_addr().expect("it is open");
    tokio::spawn(async move { serve_admin(listener, || Ok(()), Vec::new(), &telemetry, &Stop::new()).await });
    let closed = Arc::new(AtomicUsize::new(0));
    let mut silent = JoinSet::new();
    for _ in 0..SILENT {
        let closed = Arc::clone(&closed);
        // Connects again as soon as it is closed.
        silent.spawn(async move {
            loop {
                let mut client = TcpStream::connect(addr).await.expect("it listens");
                // Closed or reset: both are an end.
                let _ = client.read(&mut [0]).await;
                closed.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    soon("all places are taken", async {
        while closed.load(Ordering::Relaxed) < SILENT {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for number in 0..20 {
        let asked = Instant::now();
        let mut client = TestClient(TcpStream::connect(addr).await.expect("it listens"));
        client.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.reply().await.status(), 200, "check {number}");
        assert!(asked.elapsed() < Duration::from_secs(1), "check {number}: {:?}", asked.elapsed());
    }
    silent.abort_all();
}

#[tokio::test]
async fn readiness_follows_the_service_and_the_drain_while_liveness_stays() {
    let telemetry = Telemetry::new("test", None, &ResourceAttributes::default()).expect("metrics");
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
