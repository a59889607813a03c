#!/usr/bin/env bash
# Starts examples/nestjs with a Redis and a Postgres of its own; Ctrl-C stops all. Called by `make example`.
#
#   PORT=3001        the port of the service on loopback; else 3000, or the next that is free
#   BEAR_PORT, BEAR_MODULE, KEEP: as scripts/run.sh has them
#   scripts/example.sh --build      only builds the service and the package that it is of
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
service=examples/nestjs

# --- within run.sh, which has set REDIS_URL ----------------------------------------------------------------------

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

if [[ ${1-} == --serve ]]; then
    url=http://127.0.0.1:$PORT
    {
        until taken "$PORT"; do
            kill -0 $$ 2>/dev/null || exit 0
            sleep 0.1
        done
        cat <<TRY

The service runs: $url, its queues on $url/admin/queues

Try, in another terminal:
  curl -i '$url/bear?from=150&to=160'                 # X-Cache: MISS, and HIT the next time
  curl -X PUT $url/bear/5 -H 'content-type: application/json' -d '{"name":"Kodiak"}'
  curl '$url/job/bear/ID?wait=5000'                   # with the jobId of the answer
  curl -X POST $url/email -H 'content-type: application/json' -d '{"to":"ann@example.org","subject":"Hello","text":"…"}'
  curl $url/health

Ctrl-C stops all.
TRY
    } &
    exec node $service/dist/main.js
fi

# --- build -------------------------------------------------------------------------------------------------------

scripts/setup.sh node
if [[ ! -e clients/node/dist/cjs/package.json || -n $(find clients/node/{src,package.json} -newer clients/node/dist/cjs/package.json -print -quit) ]]; then
    npm --prefix clients/node run --silent build
fi
# npm leaves a copy of the lock file that it has installed; the package is copied, as from a registry
if [[ ! $service/node_modules/.package-lock.json -nt $service/package-lock.json ]]; then
    (cd $service && npm ci --ignore-scripts --loglevel=error)
elif ! diff -rq clients/node/dist $service/node_modules/bear/dist >/dev/null; then
    rm -rf $service/node_modules/bear
    (cd $service && npm install --no-save --ignore-scripts --loglevel=error)
fi
npm --prefix $service run --silent build
if [[ ${1-} == --build ]]; then exit; fi

# --- run ---------------------------------------------------------------------------------------------------------

export PORT=${PORT:-3000}
while taken "$PORT"; do PORT=$((PORT + 1)); done
exec scripts/run.sh --bear.catalog "$PWD/$service/catalog.toml" -- scripts/example.sh --serve
