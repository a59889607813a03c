#!/usr/bin/env bash
# Loads the module that was built for arm64 into arm64's own Redis and Valkey of Debian 13, which qemu-user emulates, and asks
# it a few things. Called by `make check-arm64`. With no Postgres: what has to be shown is that it links, loads and answers.
#
#   MODULE=libbear.so   another file than target/aarch64-unknown-linux-gnu/release/libbear.so
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

fail() {
    printf 'check-arm64: %s\n' "$*" >&2
    tail -n 20 "$dir/server.log" >&2 || true
    exit 1
}

module=$(realpath "${MODULE:-${CARGO_TARGET_DIR:-target}/aarch64-unknown-linux-gnu/release/libbear.so}")
dir=$(mktemp -d /tmp/bear.XXXXXX)
pid=''
# shellcheck disable=SC2317 # reached by the trap
cleanup() {
    if [[ -n $pid ]]; then kill -KILL "$pid" 2>/dev/null || true; fi
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
unset BEAR_POSTGRES_URL

cli() { timeout 20 redis-cli -s "$dir/socket" "$@" 2>&1; }
expect() { # expect PATTERN COMMAND …
    local reply
    reply=$(cli "${@:2}") || true
    # shellcheck disable=SC2053 # a pattern
    [[ $reply == $1 ]] || fail "${*:2}: $reply"
}

for server in $(ARCH=arm64 SUITES=trixie scripts/servers.sh); do
    : >"$dir/server.log"
    "$server" --port 0 --unixsocket "$dir/socket" --dir "$dir" --save '' --appendonly no --loadmodule "$module" \
        --bear.catalog "$PWD/packaging/catalog.toml" >"$dir/server.log" 2>&1 </dev/null &
    pid=$!
    until [[ $(cli PING) == PONG ]]; do
        kill -0 "$pid" 2>/dev/null || fail "$server does not start with the module"
        sleep 0.2
    done
    expect '*/packaging/catalog.toml*' BEAR.CATALOG
    expect 'POSTGRES no URL*' BEAR.QUERY hello postgres
    expect '0*' BEAR.LIMIT hello visits 10 10 1000
    expect '*used_memory*' INFO memory
    kill "$pid"
    wait "$pid" || fail "$server does not end well"
    pid=''
    printf 'check-arm64: %s loads it\n' "$("$server" --version | cut -d ' ' -f 1-3)"
done
