#!/usr/bin/env bash
# Installs what building and testing bear needs and this machine lacks, from Debian's (or Ubuntu's) packages.
#
#   scripts/setup.sh          to build, run and test: C compiler, make, libclang, Redis, Postgres
#   scripts/setup.sh lint     to lint as well: shellcheck, rustfmt and clippy
#   scripts/setup.sh bench    to compare with BullMQ as well: Node and npm, and what bench/bullmq/package-lock.json says
#
# It never touches a Redis or a Postgres that is already there: nothing that it installs is started, now or at
# the next boot, and no Postgres cluster is created. Where nothing is missing it does nothing and needs no rights.
set -euo pipefail

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# --- the part that runs as root: setup.sh --install PACKAGE … ----------------------------------------------------

policy=/usr/sbin/policy-rc.d
cluster_conf=/etc/postgresql-common/createcluster.conf

# Where invoke-rc.d and deb-systemd-invoke ask whether a package's service may start: not while we install.
# A run that was killed leaves its files behind; the next one does not take them for the user's.
forbid_services() {
    if [[ -e $policy ]] && ! grep -qs bear-setup "$policy"; then mv "$policy" "$policy.bear-setup"; fi
    printf '#!/bin/sh\n# bear-setup\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

allow_services() {
    rm -f "$policy"
    if [[ -e $policy.bear-setup ]]; then mv "$policy.bear-setup" "$policy"; fi
}

forbid_cluster() {
    if [[ -e $cluster_conf.bear-setup ]]; then return; fi
    cp -a "$cluster_conf" "$cluster_conf.bear-setup"
    printf '\ncreate_main_cluster = false\n' >>"$cluster_conf"
}

allow_cluster() {
    if [[ -e $cluster_conf.bear-setup ]]; then mv "$cluster_conf.bear-setup" "$cluster_conf"; fi
}

apt() { # another package manager at work is waited for
    local attempt
    for attempt in 1 2 3 4 5 6; do
        if apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1; then return; fi
        grep -q 'Could not get lock' "$log" || break
        sleep $((attempt * 5))
    done
    tail -n 20 "$log" >&2
    fail "apt-get $1 failed (above); repair that, or install by hand: $missing"
}

installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

install_packages() {
    local missing="$*" added=() package
    log=$(mktemp)
    # two of these at once would put the wrong policy back
    exec 9>/run/lock/bear-setup.lock
    flock 9
    trap 'allow_cluster; allow_services; rm -f "$log"' EXIT
    trap 'exit 130' INT TERM HUP
    export DEBIAN_FRONTEND=noninteractive
    for package in redis-server postgresql; do
        if ! installed "$package"; then added+=("$package"); fi
    done
    forbid_services
    apt update
    case " $missing " in
    *' postgresql '*)
        apt install -y --no-install-recommends postgresql-common
        forbid_cluster
        ;;
    esac
    apt install -y --no-install-recommends "$@"
    # the packages enable their services for the next boot
    for package in "${added[@]}"; do
        if installed "$package"; then update-rc.d "$package" disable >/dev/null 2>&1 || true; fi
    done
}

if [[ ${1-} == --install ]]; then
    shift
    install_packages "$@"
    exit
fi

# --- what is missing? --------------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null; }
any() { [[ -e $1 ]]; } # of an expanded pattern

packages=()
have cc && have make || packages+=(build-essential)
if [[ -z ${LIBCLANG_PATH-} ]] && ! any /usr/lib/llvm-*/lib/libclang*.so* && ! any /usr/lib/*/libclang*.so* \
    && ! any /usr/lib64/libclang*.so*; then
    packages+=(libclang-dev)
fi
have redis-server || packages+=(redis-server)
have redis-cli || packages+=(redis-tools)
have initdb || any /usr/lib/postgresql/*/bin/initdb || packages+=(postgresql)
have psql || packages+=(postgresql-client)
if [[ ${1-} == lint ]]; then
    have shellcheck || packages+=(shellcheck)
fi
if [[ ${1-} == bench ]]; then
    have node || packages+=(nodejs)
    have npm || packages+=(npm)
fi

if ((${#packages[@]})); then
    have apt-get || fail "this system has no apt-get; install the equivalents of: ${packages[*]}"
    self=$(realpath "$0")
    echo "setup: installing ${packages[*]} (their services are neither started nor enabled)"
    if ((EUID == 0)); then
        bash "$self" --install "${packages[@]}"
    elif ! have sudo; then
        fail "there is no sudo; as root, run: $self --install ${packages[*]}"
    elif [[ -t 0 ]]; then
        sudo bash "$self" --install "${packages[@]}" || fail "not installed; as root, run: $self --install ${packages[*]}"
    else
        sudo -n bash "$self" --install "${packages[@]}" </dev/null \
            || fail "not installed (sudo may want a password); as root, run: $self --install ${packages[*]}"
    fi
fi

PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
have cargo || fail 'Rust is missing; install it with rustup, then open a new shell'
if [[ ${1-} == lint ]]; then
    for component in rustfmt clippy; do
        if ! cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1; then
            have rustup || fail "cargo has no $component; install it beside cargo"
            rustup component add "$component"
        fi
    done
fi
if [[ ${1-} == bench ]]; then
    bullmq=$(dirname "$(dirname "$(realpath "$0")")")/bench/bullmq
    # npm leaves a copy of the lock file that it has installed. Not `npm ci`: it refuses a lock file that lacks optional
    # packages of other systems.
    if [[ ! $bullmq/node_modules/.package-lock.json -nt $bullmq/package-lock.json ]]; then
        npm install --no-save --prefix "$bullmq" --ignore-scripts --no-audit --no-fund --loglevel=error \
            || fail "npm cannot bring in BullMQ (above)"
    fi
fi
