//! One running service, on free ports, with its log. It ends when it is dropped.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::binary::Build;
use crate::http::get;
use crate::patience::{PATIENCE, PAUSE, eventually};
use crate::port::free_port;

/// A service under test.
#[derive(Debug)]
pub struct ServiceProcess {
    name: String,
    child: Child,
    /// Everything that it wrote so far, on both streams.
    log: Arc<Mutex<String>>,
    /// Its stderr, while nobody reads it.
    unread: Option<ChildStderr>,
    /// The address of its public port.
    pub public: SocketAddr,
    /// The address of `/livez`, `/readyz` and `/metrics`.
    pub admin: SocketAddr,
}

impl ServiceProcess {
    /// Starts `name` of this process's own build on free ports of 127.0.0.1 and waits until it prints them.
    #[must_use]
    pub fn start(name: &str, env: &[(String, String)]) -> Self {
        Self::of(&Build::own(), name, env)
    }

    /// Like [`ServiceProcess::start`], with the binary of `build`.
    #[must_use]
    pub fn of(build: &Build, name: &str, env: &[(String, String)]) -> Self {
        let mut process = Self::unread(build, name, env);
        process.read_stderr();
        process
    }

    /// Like [`ServiceProcess::start`], with a stderr that is a pipe which nobody reads.
    #[must_use]
    pub fn start_unread(name: &str, env: &[(String, String)]) -> Self {
        Self::unread(&Build::own(), name, env)
    }

    /// Reads its stderr from now on.
    pub fn read_stderr(&mut self) {
        listen(self.unread.take().expect("it is read once"), &self.log, |_| ());
    }

    fn unread(build: &Build, name: &str, env: &[(String, String)]) -> Self {
        // Not ports of the kernel: it would give those of a process that has ended to another test at once, and clients that still know
        // them would talk to the wrong service.
        let free = |name: &str| (name.to_owned(), free_port().to_string());
        let mut all = vec![free("LISTEN_ADDR"), free("ADMIN_ADDR")];
        all.extend_from_slice(env);
        let mut child = build.command(name, &[], &all).spawn().expect("the binary can be started");
        let log = Arc::new(Mutex::new(String::new()));
        let (found, ports) = mpsc::channel();
        let stdout = child.stdout.take().expect("stdout is piped");
        listen(stdout, &log, move |line| {
            if let Some(ports) = ports_of(line) {
                // Only the first such line is received.
                let _ = found.send(ports);
            }
        });
        let unread = Some(child.stderr.take().expect("stderr is piped"));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let name = name.to_owned();
        // From here on, dropping `process` ends it.
        let mut process = Self { name, child, log, unread, public: nowhere, admin: nowhere };
        let ports = ports.recv_timeout(PATIENCE);
        (process.public, process.admin) =
            ports.unwrap_or_else(|_| panic!("{} did not print its ports: {}", process.name, process.log()));
        process
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        let what = format!("{} is ready", self.name);
        eventually(&what, PATIENCE * 2, async || self.readiness().await).await;
    }

    /// Asks `/readyz`.
    ///
    /// # Errors
    /// The reason why the process is not ready.
    pub async fn readiness(&self) -> Result<(), String> {
        let response = get(self.admin, "/readyz").await;
        match response.status {
            200 => Ok(()),
            status => Err(format!("{status} {}", response.body)),
        }
    }

    /// Its id, for `signal`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory now, in KiB.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.kib("VmRSS:")
    }

    /// Its largest resident memory so far, in KiB.
    #[must_use]
    pub fn memory_max(&self) -> u64 {
        self.kib("VmHWM:")
    }

    /// A value in `/proc/PID/status`, in KiB.
    fn kib(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("Linux tells about our child");
        let line = status.lines().find_map(|found| found.strip_prefix(line));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        kib.expect("a number of KiB")
    }

    /// Asks it to stop, as an operator or a container engine does.
    pub fn terminate(&self) {
        signal("TERM", self.id());
    }

    /// Asks it to stop and waits until it has ended. It must end with success.
    pub async fn stop(&mut self) {
        self.terminate();
        let status = self.ended(PATIENCE * 2).await;
        assert!(status.success(), "{}: {status}: {}", self.name, self.log());
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "{} still runs after {limit:?}: {}", self.name, self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the end of {}'s log", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Sends a signal by its name to one process.
pub fn signal(name: &str, id: u32) {
    // `kill` of the shell: a small system has no program of this name.
    let status = Command::new("sh").args(["-c", r#"kill -"$0" "$1""#, name, &id.to_string()]).status();
    assert!(status.expect("a shell can be run").success(), "no process {id} to send {name} to");
}

/// Copies `stream` into `log`, line by line, in a thread that ends with the stream.
fn listen(
    stream: impl Read + Send + 'static,
    log: &Arc<Mutex<String>>,
    on_line: impl Fn(&str) + Send + 'static,
) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            on_line(&line);
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// The public and the admin address in the line that a service prints when its ports are open.
fn ports_of(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let after = |mark: &str| {
        let (_, rest) = line.split_once(mark)?;
        rest.split_whitespace().next()?.trim_end_matches('/').parse().ok()
    };
    let public = after(" · public http://").or_else(|| after(" · public https://"));
    Some((public?, after(" · admin http://")?))
}
