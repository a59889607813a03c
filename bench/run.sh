#!/usr/bin/env bash
# Measures bear with a Redis and a Postgres of its own, and prints the tables of docs/performance.md. Called by `make bench`.
#
#   bench/run.sh [part …] [--rounds N]      parts: hits holds stampede invalidations predicates links feed
#                                                  freshness memory compression misses shared rewarm enqueue queue-memory latency drain
#                                                  drain-feed bullmq drain-holds claims events limits masters inbox; none: all; of claims alone
#                                                  claims:rates claims:enqueue claims:wake claims:waiting claims:holds,
#                                                  of masters masters:drain masters:feeds,
#                                                  of inbox inbox:insert inbox:drain inbox:wake inbox:wal inbox:bloat
#
# The table goes to standard output, progress to standard error. About three quarters of an hour for all; keep the machine quiet.
# Only `bullmq` and `claims:rates` need Node and npm, which bring BullMQ in; `feed` and `inbox` need pgbench, which comes with Postgres.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

if ! command -v redis-benchmark >/dev/null; then
    echo 'bench: redis-benchmark is missing; it comes with redis-tools' >&2
    exit 1
fi

# Parts that were asked for: none is all.
parts=()
for word; do
    if [[ $word == [a-z]* ]]; then parts+=("$word"); fi
done
case " ${parts[*]-} " in
'  ') scripts/setup.sh bench || echo 'bench: goes on without BullMQ' >&2 ;;
*' bullmq '*) scripts/setup.sh bench ;;
*' claims '* | *' claims:rates '*) scripts/setup.sh bench || echo 'bench: goes on without BullMQ' >&2 ;;
esac

target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

# Nothing of the user's own settings may lead to another Postgres.
for name in ${!PG*}; do unset "$name"; done
unset BEAR_POSTGRES_URL

export BEAR_TEST_MODULE=${BEAR_TEST_MODULE:-$target/release/libbear.so}
exec cargo bench --quiet --locked --bench bear -- "$@"
