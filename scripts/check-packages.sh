#!/usr/bin/env bash
# Tries the Debian package of target/dist on clean Debian 12 and 13 roots made by mmdebstrap, with the redis-server (on 13 the
# valkey-server, too) and the Postgres of each release. Called by `make check-packages`; needs root, takes some minutes.
#
#   scripts/check-packages.sh [CASE …]      bookworm trixie trixie-valkey; all of them where none is named
#
#   DIST=folder      where the packages are, instead of target/dist
#   KEEP=folder      leave the roots and logs there
#
# In each root apt installs the package with what it depends on; then, with no network but a loopback of its own: a Redis that
# runs is left alone by an installation; with the two lines of README.Debian it loads the module, as the user of the service,
# and answers a query from Postgres; so it does after CONFIG REWRITE and a restart; an upgrade keeps what /etc/bear says, and
# the running server; so does a removal, which says what to take out of redis.conf; a purge leaves nothing.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

fail() {
    printf 'check-packages: %s\n' "$*" >&2
    exit 1
}

order=(bookworm trixie trixie-valkey)
if (($#)); then order=("$@"); fi
((EUID == 0)) || fail 'it makes roots and enters them; run it as root'
command -v mmdebstrap >/dev/null || fail 'mmdebstrap is missing (scripts/setup.sh packages installs it)'

dist=$(realpath "${DIST:-target/dist}")
shopt -s nullglob
debs=("$dist"/bear-redis_*_"$(dpkg --print-architecture)".deb)
((${#debs[@]} == 1)) || fail "there is not one package of this architecture in $dist, but ${#debs[@]}: make deb"
deb=${debs[0]}
symbols=${deb/bear-redis_/bear-redis-dbgsym_}

if [[ -n ${KEEP-} ]]; then
    mkdir -p "$KEEP"
    folder=$(realpath "$KEEP")
else
    folder=$(mktemp -d /var/tmp/bear-packages.XXXXXX)
    trap 'rm -rf "$folder"' EXIT
fi
trap 'exit 130' INT TERM HUP

# shellcheck disable=SC2016 # the format is apt's to expand
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)

# A later version, to upgrade to.
dpkg-deb --raw-extract "$deb" "$folder/later"
sed -i 's/^Version: .*/&+later/' "$folder/later/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip --build "$folder/later" "$folder/later.deb" >/dev/null
rm -r "$folder/later"

# What runs inside: prints what is wrong, and ends with 1.
cat >"$folder/inside.sh" <<'EOS'
set -uo pipefail
kind=$1 # redis or valkey
conf=/etc/$kind/$kind.conf
case $kind in
redis) pid_file=/run/redis/redis-server.pid ;;
valkey) pid_file=/run/valkey/valkey-server.pid ;;
esac
wrong() {
    printf 'WRONG: %s\n' "$*"
    tail -n 15 "/var/log/$kind/$kind-server.log" /tmp/dpkg.log 2>/dev/null
    exit 1
}
cli() { timeout 20 "$kind-cli" "$@" 2>&1; }
package() { dpkg "$@" >/tmp/dpkg.log 2>&1 || wrong "dpkg $*"; }
as() { setpriv --reuid "$1" --regid "$1" --init-groups "${@:2}"; }
start() { # as its service does: with that file, as that user
    install -d -o "$kind" -g "$kind" -m 2755 "/run/$kind"
    as "$kind" "$kind-server" "$conf" --supervised no --daemonize yes >/dev/null || wrong "$kind-server does not start"
    for ((tenths = 0; tenths < 200; tenths++)); do
        if [[ $(cli ping) == PONG ]]; then
            pid=$(cat "$pid_file")
            return
        fi
        sleep 0.1
    done
    wrong "$kind-server does not answer"
}
stop() {
    kill "$pid"
    for ((tenths = 0; tenths < 200; tenths++)); do
        kill -0 "$pid" 2>/dev/null || return
        sleep 0.1
    done
    wrong "$kind-server does not stop"
}
alive() { [[ $(cat "$pid_file") == "$pid" && $(cli ping) == PONG ]] || wrong "$1 has ended the server that ran"; }
answers() { # a query through Postgres, one from the cache, and a command of another part
    local reply
    reply=$(cli BEAR.QUERY hello postgres)
    [[ $reply == '{"version":"PostgreSQL '*'"role":"'"$kind"'"'* ]] || wrong "$1: BEAR.QUERY: $reply"
    [[ $(cli BEAR.QUERY hello CACHED postgres) == "$reply" ]] || wrong "$1: it is not cached"
    [[ $(cli BEAR.CATALOG | sed -n 2p) == /etc/bear/catalog.toml ]] || wrong "$1: another catalog: $(cli BEAR.CATALOG | head -n 2)"
    [[ $(cli BEAR.LIMIT hello visits 10 10 1000 | head -n 1) == 0 ]] || wrong "$1: BEAR.LIMIT: $(cli BEAR.LIMIT hello visits 10 10 1000)"
}

# apt has installed it, beside this release's server
"$kind-server" --version
sums=$(md5sum "$conf")
file=/usr/lib/redis/modules/libbear.so
[[ -x $file && -d /usr/share/doc/bear-redis/docs && -s /usr/share/bear-redis/schema/ledger.sql ]] || wrong 'files are missing'
! ldd "$file" | grep 'not found' || wrong 'libraries are missing'
id=$(dpkg-query -f '${Build-Ids}' -W bear-redis-dbgsym)
[[ -s /usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug ]] || wrong 'there are no symbols under the id of the build'

# installed beside a server that runs
package --purge bear-redis-dbgsym bear-redis
[[ ! -e /etc/bear && ! -e $file ]] || wrong 'a purge leaves something behind'
start
package --install /tmp/bear.deb
alive 'an installation'
grep -q 'no server loads the module yet' /tmp/dpkg.log || wrong 'it does not say what to do next'
[[ $(md5sum "$conf") == "$sums" ]] || wrong "it has changed $conf"
[[ $(cli BEAR.STATS) == *'unknown command'* ]] || wrong 'it was loaded by itself'

# loaded, by what README.Debian says
bin=$(dirname /usr/lib/postgresql/*/bin/initdb)
version=$(basename "$(dirname "$bin")")
pg_ctlcluster "$version" main start || wrong 'Postgres does not start'
as postgres createuser "$kind" && as postgres createdb --owner "$kind" shop || wrong 'Postgres has no role'
sed -i "s|^# bear\.postgres-url .*|bear.postgres-url postgresql://$kind@/shop?host=/run/postgresql|" /etc/bear/redis-bear.conf
printf '%s\n' 'loadmodule /usr/lib/redis/modules/libbear.so' 'include /etc/bear/redis-bear.conf' >>"$conf"
stop
start
answers 'with the two lines'

# CONFIG REWRITE, as a failover runs it
[[ $(cli CONFIG REWRITE) == OK ]] || wrong "CONFIG REWRITE: $(cli CONFIG REWRITE)"
(($(grep -c '^loadmodule' "$conf") == 1)) || wrong "CONFIG REWRITE has doubled loadmodule"
stop
start
answers 'after CONFIG REWRITE and a restart'

# an upgrade
printf '\n# ours\n' >>/etc/bear/catalog.toml
package --install /tmp/later.deb
alive 'an upgrade'
answers 'while upgraded'
tail -n 1 /etc/bear/catalog.toml | grep -q ours || wrong 'an upgrade has changed the catalog'
stop
start
answers 'after an upgrade and a restart'

# a removal
package --remove bear-redis
grep -q "$conf still loads the module" /tmp/dpkg.log || wrong 'it does not say that redis.conf still loads the module'
alive 'a removal'
answers 'while removed'
[[ -e /etc/bear/catalog.toml ]] || wrong 'a removal has taken the catalog along'
sed -i '/^loadmodule/d; /^include/d; /^bear\./d' "$conf"
stop
start
package --purge bear-redis
[[ ! -e /etc/bear && ! -e $file ]] || wrong 'a purge leaves something behind'
alive 'a purge'
stop
pg_ctlcluster "$version" main stop
echo 'all is well'
EOS

enter() { # enter ROOT COMMAND …: in namespaces of its own, which end with it
    local root=$1
    shift
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --pid --net --fork --kill-child bash -c '
        set -e
        root=$1
        shift
        ip link set lo up
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs shm "$root/dev/shm"
        exec chroot "$root" "$@"' enter "$root" "$@"
}

check() { # check NAME
    local name=$1 suite=${1%-*} kind=redis root=$folder/$1 server
    if [[ $name == *-valkey ]]; then kind=valkey; fi
    server=$kind-server
    rm -rf "$root"
    mmdebstrap --quiet --variant=apt --aptopt='APT::Install-Recommends "false"' --include=postgresql,ca-certificates "$suite" "$root" "$mirror" >"$folder/$name.log" 2>&1 \
        || { tail -n 20 "$folder/$name.log"; fail "no root of $suite could be made (above)"; }
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no service is started
    chmod 755 "$root/usr/sbin/policy-rc.d"
    cp "$deb" "$root/tmp/bear.deb"
    cp "$symbols" "$root/tmp/bear-symbols.deb"
    cp "$folder/later.deb" "$root/tmp/later.deb"
    cp "$folder/inside.sh" "$root/tmp/inside.sh"
    # what it depends on comes with it; Valkey's server is there before, for the package takes either
    if [[ $kind == valkey ]]; then set -- valkey-server valkey-tools; else set --; fi
    {
        chroot "$root" apt-get -q update \
            && chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y "$@" /tmp/bear.deb /tmp/bear-symbols.deb
    } >>"$folder/$name.log" 2>&1 \
        || { tail -n 20 "$folder/$name.log"; fail "apt does not install it on $suite (above)"; }
    chroot "$root" dpkg -s "$server" >/dev/null 2>&1 || fail "apt has not installed $server on $suite"
    enter "$root" env -i LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash /tmp/inside.sh "$kind"
}

failed=()
for name in "${order[@]}"; do
    printf '=== %s\n' "$name"
    # not in a condition, where set -e would not count
    set +e
    (
        set -e
        check "$name"
    )
    status=$?
    set -e
    if ((status)); then failed+=("$name"); fi
    if [[ -z ${KEEP-} ]]; then rm -rf "${folder:?}/$name"; fi
done
if ((${#failed[@]})); then fail "failed: ${failed[*]}"; fi
echo "check-packages: all is well (${order[*]})"
