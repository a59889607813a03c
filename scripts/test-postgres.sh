#!/usr/bin/env bash
# Runs the tests that meet Postgres on other versions of it than the installed one. Called by `make test-postgres`.
#
#   scripts/test-postgres.sh [option of the tests …]     such as a name; by default the parts below
#
#   POSTGRES="/folder/bin …"   folders of initdb and postgres; by default those of Debian's other suites (scripts/servers.sh)
#   SUITES="trixie"            of these alone
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

parts=(postgres:: feed:: jobs:: inbox:: events:: cache::query:: cache::values:: cache::invalidate:: faults::identity:: faults::outage:: faults::lost_ledger::)
if (($#)); then parts=("$@"); fi
folders=${POSTGRES:-$(KIND=postgres scripts/servers.sh)}
failed=()
for folder in $folders; do
    printf '\n=== %s\n' "$("$folder/postgres" --version)"
    bouncer=${folder%/lib/postgresql/*}/sbin/pgbouncer
    if [[ ! -x $bouncer || $bouncer == /usr/sbin/pgbouncer ]]; then bouncer=; fi
    env ${bouncer:+BEAR_TEST_PGBOUNCER="$bouncer"} BEAR_TEST_POSTGRES_BIN="$folder" \
        cargo test --locked --test live -- "${parts[@]}" </dev/null || failed+=("$folder")
done

if ((${#failed[@]})); then
    printf 'test-postgres: failed on %s\n' "${failed[@]}" >&2
    exit 1
fi
