#!/usr/bin/env bash
# Builds bear and starts it with a Postgres of its own, to try it out; Ctrl-C stops both. Called by `make run`.
#
#   scripts/run.sh [redis-server option …] [-- program word …]      such as: scripts/run.sh --bear.log-calls yes
#
#   -- program       runs beside them, with REDIS_URL, and is ended before them; when it ends, they do
#   BEAR_PORT=6400   the port of Redis on loopback; else 6379, or the next that is free
#   BEAR_MODULE=file a module that is built already; else it is built
#   KEEP=folder      keep the data of both there, and go on from it next time; else it is thrown away
#
# Redis listens on 127.0.0.1 alone and Postgres on a Unix socket alone, in a folder of its owner's. Servers that
# are already running are not touched. As root, Postgres runs as the user postgres, for it refuses root.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

# What was ignored when a shell started it cannot trap, and scripts start what they put behind & with SIGINT ignored.
for signal in INT TERM; do
    if [[ $(trap -p "$signal") == "trap -- '' "* ]]; then exec env --default-signal=INT,TERM scripts/run.sh "$@"; fi
done

options_of_redis=() program=()
while (($#)) && [[ $1 != -- ]]; do options_of_redis+=("$1") && shift; done
if (($#)); then shift && program=("$@"); fi

say() { printf '%s\n' "$*" 2>/dev/null || true; } # the terminal may be gone
fail() {
    printf 'run: %s\n' "$*" >&2 || true
    exit 1
}
show_log() { # show_log NAME FILE: the end of a server's log, where there is one
    if [[ -s $2 ]]; then
        printf -- '--- the end of the log of %s\n' "$1"
        tail -n 20 "$2"
        printf -- '---\n'
    fi >&2
}

# --- build -------------------------------------------------------------------------------------------------------

scripts/setup.sh
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
if [[ -n ${BEAR_MODULE-} ]]; then
    module=$(realpath "$BEAR_MODULE")
else
    scripts/build.sh || fail 'the build failed (above)'
    target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    module=$target/release/libbear.so
fi

# --- where things are --------------------------------------------------------------------------------------------

# nothing of the user's own Postgres settings may lead elsewhere
for name in ${!PG*}; do unset "$name"; done
unset BEAR_POSTGRES_URL

postgres_bin() {
    local initdb
    initdb=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
    if [[ ! -x $initdb ]]; then initdb=$(realpath "$(command -v initdb)"); fi
    dirname "$initdb"
}
bin=$(postgres_bin)

postgres_user=$(id -un)
if ((EUID == 0)); then
    if [[ -n ${KEEP-} && -d $KEEP/postgres ]]; then
        postgres_user=$(stat -c %U "$KEEP/postgres")
    else
        postgres_user=$(id -un postgres 2>/dev/null || echo nobody)
    fi
    [[ $postgres_user != root ]] || fail "$KEEP/postgres belongs to root, and Postgres refuses root; give it to the user postgres (chown -R)"
fi

# A server is a session of its own, so that Ctrl-C reaches this script alone, and is told to stop should this
# script be killed. setsid and setpriv exec: the server's pid is that of the background job.
as_postgres() {
    if ((EUID == 0)); then
        cd / && exec setpriv --reuid "$postgres_user" --regid "$(id -g "$postgres_user")" --clear-groups "$@"
    else
        exec "$@"
    fi
}

# Sockets have short paths (107 bytes), whatever TMPDIR and KEEP are.
dir=$(mktemp -d /tmp/bear.XXXXXX)
postgres_pid='' redis_pid='' program_pid=''

# shellcheck disable=SC2317 # reached by the trap
stop() { # stop NAME PID SIGNAL
    local tenths
    [[ -n $2 ]] || return 0
    kill -s "$3" "$2" 2>/dev/null || true
    for ((tenths = 0; tenths < 300; tenths++)); do
        kill -0 "$2" 2>/dev/null || return 0
        sleep 0.1
    done
    say "run: $1 does not stop; killing it"
    kill -s KILL "$2" 2>/dev/null || true
}

# shellcheck disable=SC2317 # reached by the trap
cleanup() {
    local status=$?
    trap '' INT TERM HUP PIPE
    set +e
    # each before the one whose client it is
    stop "${program[0]-}" "$program_pid" TERM
    stop Redis "$redis_pid" TERM
    stop Postgres "$postgres_pid" INT # fast: ends sessions and writes a checkpoint
    wait
    rm -rf "$dir"
    if ((status == 0)); then say 'bear is stopped.'; fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 0' INT TERM HUP PIPE

data=$dir
if [[ -n ${KEEP-} ]]; then
    mkdir -p "$KEEP" || fail "KEEP: the folder $KEEP cannot be made"
    data=$(realpath "$KEEP")
fi
chmod 711 "$dir"
mkdir -p "$data/postgres" "$data/redis" "$dir/socket"
chmod 700 "$data/postgres" "$data/redis" "$dir/socket"
if ((EUID == 0)); then chown "$postgres_user" "$data/postgres" "$dir/socket"; fi
if ! (as_postgres test -w "$data/postgres"); then
    rmdir --ignore-fail-on-non-empty "$data/postgres" "$data/redis"
    fail "the user $postgres_user cannot reach $data/postgres; choose another folder, such as KEEP=/var/tmp/bear"
fi

# --- Postgres ----------------------------------------------------------------------------------------------------

postgres_log=$dir/postgres.log redis_log=$dir/redis.log
: >"$postgres_log"
if ((EUID == 0)); then chown "$postgres_user" "$postgres_log"; fi

database=(-h "$dir/socket" -v ON_ERROR_STOP=1 -qX -o /dev/null)
options=(-c listen_addresses= -c wal_level=logical -c unix_socket_directories="$dir/socket" -c unix_socket_permissions=0700)
sync=()
if [[ -z ${KEEP-} ]]; then options+=(-c fsync=off) sync=(--no-sync); fi

if [[ ! -e $data/postgres/PG_VERSION ]]; then
    (as_postgres "$bin/initdb" -D "$data/postgres" -U postgres -A trust -E UTF8 --locale=C.UTF-8 "${sync[@]}") \
        >"$postgres_log" 2>&1 || { show_log initdb "$postgres_log"; fail 'no Postgres cluster could be made (above)'; }
fi

(as_postgres setsid setpriv --pdeathsig INT "$bin/postgres" -D "$data/postgres" "${options[@]}") >>"$postgres_log" 2>&1 </dev/null &
postgres_pid=$!
until psql "${database[@]}" -U postgres -c '' postgres 2>/dev/null; do
    kill -0 "$postgres_pid" 2>/dev/null || { show_log Postgres "$postgres_log"; fail 'Postgres did not start (above)'; }
    sleep 0.1
done

# What is there is left as it is, so that a start which was interrupted is made good by the next one. The data comes
# once: when it is loaded, the ids have been drawn from.
{
    psql "${database[@]}" -U postgres postgres <<'SQL'
SELECT 'CREATE ROLE bear LOGIN REPLICATION' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bear') \gexec
SELECT 'CREATE DATABASE bear OWNER bear' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'bear') \gexec
SQL
    PGOPTIONS='-c client_min_messages=warning' psql "${database[@]}" -U bear -f schema/bear.sql bear
    if [[ $(psql "${database[@]}" -o /dev/stdout -At -U bear -c 'SELECT is_called FROM bear_id_seq' bear) == f ]]; then
        psql "${database[@]}" -U bear -f schema/bear-data.sql bear
    fi
} || fail 'the schema could not be loaded (above)'

# --- Redis -------------------------------------------------------------------------------------------------------

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=${BEAR_PORT:-6379}
if [[ -n ${BEAR_PORT-} ]]; then
    ! taken "$port" || fail "port $port (BEAR_PORT) is taken; choose another"
else
    while taken "$port"; do port=$((port + 1)); done
fi

if [[ -n ${KEEP-} ]]; then persistence=(--appendonly yes); else persistence=(--appendonly no --save ''); fi
BEAR_POSTGRES_URL="postgresql://bear@/bear?host=$dir/socket" \
    setsid setpriv --pdeathsig TERM redis-server --port "$port" --bind 127.0.0.1 --dir "$data/redis" --daemonize no \
    "${persistence[@]}" --loadmodule "$module" --bear.inbox yes "${options_of_redis[@]}" >"$redis_log" 2>&1 </dev/null &
redis_pid=$! began=$SECONDS
# by its pid: another server may have taken the port in the meantime
until redis-cli -p "$port" info server 2>/dev/null | grep -q "^process_id:$redis_pid\b"; do
    if ! kill -0 "$redis_pid" 2>/dev/null || ((SECONDS - began > 60)); then
        show_log Redis "$redis_log"
        fail 'Redis did not start (above)'
    fi
    sleep 0.1
done

# --- until one of them ends --------------------------------------------------------------------------------------

if [[ -n ${KEEP-} ]]; then kept="$data, kept"; else kept='thrown away at the end; KEEP=folder keeps it'; fi
say "
bear runs: Redis on 127.0.0.1:$port, in front of a Postgres with 200 bears."
if ((${#program[@]} == 0)); then
    say "
Try, in another terminal:
  redis-cli -p $port BEAR.QUERY bear size 150 160
  redis-cli -p $port BEAR.EXPLAIN bear size 150 160
  redis-cli -p $port BEAR.INVALIDATE bear ROW 5
  psql 'postgresql://bear@/bear?host=$dir/socket' -c \"SELECT bear.enqueue('bear', 'UPDATE_BEAR_NAME', jsonb_build_object('id', 5, 'name', 'Ann'))\""
fi
say "
Its Postgres:  psql 'postgresql://bear@/bear?host=$dir/socket'
Logs:          $redis_log, $postgres_log
Data:          $kept
"
if ((${#program[@]} == 0)); then
    say 'Ctrl-C stops both.'
else
    REDIS_URL="redis://127.0.0.1:$port" setsid setpriv --pdeathsig TERM "${program[@]}" </dev/null &
    program_pid=$!
fi

# a trapped signal ends the wait, and the script by way of its trap
wait -n "$redis_pid" "$postgres_pid" ${program_pid:+"$program_pid"} 2>/dev/null || true
if [[ -n $program_pid ]] && ! kill -0 "$program_pid" 2>/dev/null; then fail "${program[*]} ended (above); stopping Redis and Postgres"; fi
if kill -0 "$redis_pid" 2>/dev/null; then
    show_log Postgres "$postgres_log"
    fail 'Postgres ended (above); stopping Redis'
fi
show_log Redis "$redis_log"
fail 'Redis ended (above); stopping Postgres'
