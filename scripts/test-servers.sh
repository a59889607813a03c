#!/usr/bin/env bash
# Runs the whole test suite on newer servers than the installed one: Redis 8 and Valkey 9. Called by `make test-servers`.
#
#   scripts/test-servers.sh [cargo test option …]
#
#   SUITES="trixie sid"   the suites of Debian to take servers from (scripts/servers.sh); default sid, which has both
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

servers=$(SUITES=${SUITES:-sid} scripts/servers.sh)
failed=()
while read -r server; do
    printf '\n=== %s\n' "$("$server" --version)"
    BEAR_TEST_SERVER=$server cargo test --locked "$@" </dev/null || failed+=("$server")
done <<<"$servers"

if ((${#failed[@]})); then
    printf 'test-servers: failed on %s\n' "${failed[@]}" >&2
    exit 1
fi
