#!/usr/bin/env bash
# Shows a catalog to Postgres by a throw-away redis-server, and says what each query's declarations are worth.
#
#   scripts/check-catalog.sh [--json] [--no-feed] CATALOG URL
#   such as: scripts/check-catalog.sh shop.toml postgres://app@localhost/shop
#
#   --no-feed                for servers with `bear.feed off`: what jobs change and do not tell of is an error
#   BEAR_MODULE=path         the module; else target/release/libbear.so
#   REDIS_SERVER=path        else redis-server; redis-cli is the one beside it, or of the path
#   TIMEOUT=seconds          so long it is waited for Postgres; 60
#
# Exit code: 0; 1 where the catalog has errors, or is refused; 2 where it could not be asked. Nothing is written to Postgres, no
# job is applied, no change is followed: nothing runs there but the checks. The URL is passed by the environment.
set -euo pipefail

fail() {
    printf 'check-catalog: %s\n' "$*" >&2
    exit 2
}
json=no feed=wal
while [[ ${1-} == --* ]]; do
    case $1 in
        --json) json=yes ;;
        --no-feed) feed=off ;;
        *) fail "there is no option $1" ;;
    esac
    shift
done
(($# == 2)) || fail 'usage: check-catalog.sh [--json] [--no-feed] CATALOG URL'
catalog=$(realpath "$1") url=$2
[[ -f $catalog ]] || fail "there is no file $1"
root=$(dirname "$(dirname "$(realpath "$0")")")
module=${BEAR_MODULE:-$root/target/release/libbear.so}
[[ -f $module ]] || fail "there is no module $module: build it by scripts/build.sh, or name it by BEAR_MODULE"
server=${REDIS_SERVER:-redis-server}
cli=$(dirname "$server")/redis-cli
[[ $server == */* && -x $cli ]] || cli=redis-cli
for program in "$server" "$cli" python3; do
    command -v "$program" >/dev/null || fail "$program is not installed"
done

dir=$(mktemp -d)
pid=
finish() {
    if [[ -n $pid ]]; then
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

# With a feed that leads nowhere: what it would tell is known, and nothing is followed.
BEAR_POSTGRES_URL=$url "$server" --port 0 --unixsocket "$dir/redis" --dir "$dir" --save '' --appendonly no \
    --loadmodule "$(realpath "$module")" --bear.catalog "$catalog" --bear.drain no --bear.inbox no --bear.feed "$feed" --bear.feed-url "postgres://nobody@/nothing?host=$dir" \
    >"$dir/log" 2>&1 </dev/null &
pid=$!
ask() { "$cli" -s "$dir/redis" --json "$@" 2>/dev/null; }

end=$((SECONDS + ${TIMEOUT:-60}))
while true; do
    if ! kill -0 "$pid" 2>/dev/null; then
        # The module says why it does not load.
        sed -n 's/^.*<bear> //p' "$dir/log" | grep -v '^$' >&2 || cat "$dir/log" >&2
        exit 1
    fi
    answer=$(ask BEAR.CATALOG || true)
    if [[ $answer == *'"checked":"yes"'* ]]; then break; fi
    if ((SECONDS >= end)); then
        ask INFO bear_postgres | tr '\134' '\n' | sed -n 's/^r\{0,1\}n\{0,1\}bear_postgres_last_error:/check-catalog: /p' >&2 || true
        fail "Postgres has not answered within ${TIMEOUT:-60} s"
    fi
    sleep 0.1
done

printf '%s\n' "$answer" >"$dir/catalog"
python3 -c 'import json, sys; print(*json.load(open(sys.argv[1]))["sections"], sep="\n")' "$dir/catalog" >"$dir/names"
while IFS= read -r name; do
    ask BEAR.CATALOG "$name" >>"$dir/sections"
    printf '\n' >>"$dir/sections"
done <"$dir/names"

AS_JSON=$json python3 - "$dir" <<'PROGRAM'
import json, os, sys
folder = sys.argv[1]
catalog = json.load(open(folder + "/catalog"))
sections = [json.loads(line) for line in open(folder + "/sections") if line.strip()] if catalog["sections"] else []
queries = [
    {"section": section["section"], "call": query["call"], "proof": query["proof"], "reasons": query["reasons"]}
    for section in sections for query in section["queries"]
]
jobs = [
    {"section": section["section"], "job": job["job"], "hints": job["hints"]}
    for section in sections for job in section["jobs"] if job["hints"]
]
if os.environ["AS_JSON"] == "yes":
    print(json.dumps({"errors": catalog["errors"], "warnings": catalog["warnings"], "queries": queries, "jobs": jobs}, indent=2))
else:
    rows = [(query["section"], query["call"], query["proof"] or "refused", "; ".join(query["reasons"])) for query in queries]
    rows.insert(0, ("section", "query", "proof", "why"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print(("  ".join(text.ljust(width) for text, width in zip(row, widths)) + "  " + row[3]).rstrip())
    for job in jobs:
        for text in job["hints"]:
            print(f"hint: section '{job['section']}', job {job['job']}: {text}")
    for kind in ("errors", "warnings"):
        for text in catalog[kind]:
            print(f"{kind[:-1]}: {text}")
sys.exit(1 if catalog["errors"] else 0)
PROGRAM
