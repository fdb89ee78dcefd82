# Sourced by tests/schemathesis and tests/clients/run: starts a fresh `keywire`, and installs programs.

say() { printf '== %s\n' "$*"; }

home=$(mktemp -d)
keywire=
trap '[ -z "$keywire" ] || kill "$keywire"; rm -rf "$home"' EXIT

# Says why the suite cannot run on this machine.
impossible() { say "$*"; exit 69; }

# needs PROGRAM PACKAGE: installs the package of Debian if the program is missing.
needs() {
    if ! command -v "$1" >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $2"
        DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install --no-install-recommends "$2" </dev/null >/dev/null
    fi
    command -v "$1" >/dev/null || impossible "$1 is missing (Debian: $2)"
}

# with_python PACKAGE...: makes an environment in $home/python with these packages.
with_python() {
    needs python3 python3
    if ! python3 -m venv "$home/python" >"$home/venv" 2>&1; then
        # Debian has this part of Python in a package of its own.
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends python3-venv </dev/null >/dev/null
        fi
        python3 -m venv --clear "$home/python" || impossible "python3 makes no environments"
    fi
    say "installing $*"
    "$home/python/bin/pip" install --quiet --disable-pip-version-check "$@" || impossible "$* cannot be installed"
}

# Sets `target`, the folder of what cargo has built.
build() {
    say "building"
    # With the same features as the other tests: otherwise all dependencies would be built again.
    cargo build --locked --quiet --workspace --bins --tests
    target=$(cargo metadata --locked --no-deps --format-version 1 | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')
}

# Starts `keywire` with an empty store and sets SERVER to its URL.
start() {
    : >"$home/log"
    LISTEN_ADDR=127.0.0.1:0 ADMIN_ADDR=127.0.0.1:0 DATABASE_URL="sqlite://$home/keywire.db" LOG=warn \
        "$target/debug/keywire" >>"$home/log" 2>&1 &
    keywire=$!
    until SERVER=$(sed -nE 's|.* public (http://[^ ]+) .*|\1|p' "$home/log") && [ -n "$SERVER" ]; do
        kill -0 "$keywire" || { cat "$home/log"; exit 1; }
        sleep 0.1
    done
}
