//! The whole system in containers, as a user starts it: a compose project for one test, removed when it is dropped.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::patience::eventually;
use crate::port::free_port;
use crate::process::signal;
use crate::program::docker;

/// The most time from the start of a container until it is healthy.
const RESTART_MAX: Duration = Duration::from_mins(1);

/// A running compose project.
#[derive(Debug)]
pub struct Compose {
    project: String,
    /// The settings that a user would write into `.env`.
    settings: Vec<(String, String)>,
    /// The published address of the gateway.
    pub gateway: SocketAddr,
}

impl Compose {
    /// Whether containers can be run on this machine.
    ///
    /// # Errors
    /// What is missing.
    pub fn possible() -> Result<(), String> {
        docker(&["version"]).map_err(|_| "no Docker engine answers".to_owned())?;
        docker(&["compose", "version"]).map_err(|_| "docker compose is not there".to_owned())?;
        Ok(())
    }

    /// Builds the images, starts all containers, and waits until they are healthy.
    #[must_use]
    pub fn up() -> Self {
        let gateway = free_port();
        let project = format!("keywire-e2e-{}", std::process::id());
        let settings = vec![("KEYWIRE_PORT".to_owned(), gateway.port().to_string())];
        let compose = Self { project, settings, gateway };
        compose.run(&["up", "--build", "--wait", "--quiet-pull"]);
        compose
    }

    /// Adds a setting, as in `.env`. It is in force from the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Starts everything again with the numbers of containers in `scale` (`service=number`).
    pub fn scale(&self, scale: &[&str]) {
        let mut args = vec!["up", "--wait", "--no-build"];
        args.extend(scale.iter().flat_map(|service| ["--scale", service]));
        self.run(&args);
    }

    /// Runs `docker compose ARGS` on this project. It must succeed.
    pub fn run(&self, args: &[&str]) {
        let done = self.try_run(args);
        assert!(done.is_ok(), "docker compose {args:?}: {done:?}");
    }

    /// Runs `docker compose ARGS` on this project. It must fail. Returns its messages.
    #[must_use]
    pub fn fails(&self, args: &[&str]) -> String {
        self.try_run(args).expect_err("it cannot end well")
    }

    /// The ids of the running containers of `service`.
    #[must_use]
    pub fn containers(&self, service: &str) -> Vec<String> {
        let ids = self.try_run(&["ps", "--quiet", service]).expect("compose knows its containers");
        ids.lines().map(str::to_owned).collect()
    }

    /// Kills the process of a container, as a crash would, so that the restart policy applies.
    pub fn crash(&self, container: &str) {
        let id = inspect(container, "{{.State.Pid}}").parse().expect("an id is a number");
        assert_ne!(id, 0, "{container} runs");
        signal("KILL", id);
    }

    /// Stops a container in order, checks that its exit code is 0, starts it again, and waits until it is healthy.
    pub async fn restart(&self, container: &str) {
        docker(&["stop", container]).expect("it runs");
        assert_eq!(inspect(container, "{{.State.ExitCode}}"), "0", "{container} stops in order");
        docker(&["start", container]).expect("a stopped container can be started");
        eventually("it is healthy", RESTART_MAX, async || {
            match inspect(container, "{{.State.Health.Status}}").as_str() {
                "healthy" => Ok(()),
                other => Err(other.to_owned()),
            }
        })
        .await;
    }

    /// The names of the networks of a container.
    #[must_use]
    pub fn networks(&self, container: &str) -> Vec<String> {
        let networks =
            inspect(container, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}");
        networks.split_whitespace().map(str::to_owned).collect()
    }

    /// The address of a container on one of the project's networks.
    #[must_use]
    pub fn address(&self, container: &str, network: &str) -> String {
        let name = format!("{}_{network}", self.project);
        inspect(container, &format!("{{{{(index .NetworkSettings.Networks {name:?}).IPAddress}}}}"))
    }

    /// Runs shell commands that a user would run for this project, in `folder`, up to the first that fails. Returns what they
    /// print.
    ///
    /// # Errors
    /// What the commands wrote to stderr.
    pub fn shell(&self, folder: &Path, commands: &str) -> Result<String, String> {
        self.output(Command::new("bash").args(["-euc", commands]).current_dir(folder))
    }

    fn try_run(&self, args: &[&str]) -> Result<String, String> {
        self.output(Command::new("docker").arg("compose").args(args))
    }

    /// Runs `command` for this project. Returns what it prints, or its messages if it fails.
    fn output(&self, command: &mut Command) -> Result<String, String> {
        // A command that hangs must not block all other tests.
        let mut limited = Command::new("timeout");
        limited.args(["--signal=INT", "--kill-after=30s", "5m"]).arg(command.get_program());
        if let Some(folder) = command.get_current_dir() {
            limited.current_dir(folder);
        }
        let output = limited
            .args(command.get_args())
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .env("COMPOSE_FILE", Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker-compose.yml"))
            .env("COMPOSE_PROGRESS", "plain")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output();
        let output = output.map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.try_run(&["logs", "--no-color", "--tail", "30"]);
            eprintln!("{}", logs.unwrap_or_else(|said| said));
        }
        if let Err(said) = self.try_run(&["down", "--volumes", "--timeout", "20"]) {
            eprintln!("{} could not be removed: {said}", self.project);
        }
    }
}

/// A property of a container, by a template of `docker inspect`.
fn inspect(container: &str, format: &str) -> String {
    docker(&["inspect", "--format", format, container]).expect("the container is there")
}
