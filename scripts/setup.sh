#!/usr/bin/env bash
# Installs what building and testing bear needs and this machine lacks, from Debian's (or Ubuntu's) packages.
#
#   scripts/setup.sh          to build and run: C compiler, make, libclang, Redis, Postgres
#   scripts/setup.sh test     to test as well: PgBouncer; Python with venv, Node and npm, for the workers of docs/guides/workers.md
#   scripts/setup.sh node     to test clients/node as well: Node 20 or later, npm, what its package-lock.json says, Chromium
#   scripts/setup.sh metrics  to test deploy/ as well: Prometheus and promtool
#   scripts/setup.sh lint     to lint as well: shellcheck, Python, rustfmt and clippy
#   scripts/setup.sh packages to pack and to check what was packed: dpkg-deb, xz, Python; as root, mmdebstrap and ip as well
#   scripts/setup.sh arm64    to build for arm64 on another machine: a cross compiler, its headers, Rust's library
#   scripts/setup.sh emulation the same, and to run what was built: qemu-user
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
    for package in redis-server postgresql prometheus pgbouncer; do
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

# The library that the build will load: bindgen (by clang-sys) takes, from these folders, the one with the highest version.
# libclang-cpp is another library, which it passes over.
libclang() {
    local folders=() more=() folder file name
    if [[ -n ${LIBCLANG_PATH-} ]]; then
        if [[ -f $LIBCLANG_PATH ]]; then
            printf '%s\n' "$LIBCLANG_PATH"
            return
        fi
        folders=("$LIBCLANG_PATH")
    else
        if folder=$(llvm-config --prefix 2>/dev/null); then folders+=("$folder"/{bin,lib,lib64}); fi
        IFS=: read -ra more <<<"${LD_LIBRARY_PATH-}:${LIBRARY_PATH-}"
        folders+=("${more[@]}" /usr/local/llvm*/lib* /usr/local/lib* /usr/local/lib*/* /usr/local/lib*/*/* /usr/lib* /usr/lib*/* /usr/lib*/*/*)
    fi
    for folder in "${folders[@]}"; do
        [[ -n $folder ]] || continue
        for file in "$folder"/libclang.so "$folder"/libclang-*.so "$folder"/libclang.so.* "$folder"/libclang-*.so.*; do
            name=${file##*/}
            if [[ ! -f $file || $name == *-cpp.* ]]; then continue; fi
            name=${name#libclang} name=${name#.so} name=${name#[.-]}
            printf '%s %s\n' "${name:-0}" "$file"
        done
    done | sort -V -k1,1 | tail -n 1 | cut -d ' ' -f 2-
}

# reads LIBRARY: can this libclang parse what the build gives it? It needs headers that come in another package.
reads() {
    local folder status=0
    folder=$(mktemp -d)
    cat >"$folder/probe.c" <<'C'
#include <dlfcn.h>
int main(int argc, char **argv) {
    void *lib = argc == 3 ? dlopen(argv[1], RTLD_NOW) : 0;
    if (!lib) return 1;
    void *(*create_index)(int, int) = dlsym(lib, "clang_createIndex");
    void *(*parse)(void *, const char *, const char *const *, int, void *, unsigned, unsigned) = dlsym(lib, "clang_parseTranslationUnit");
    unsigned (*diagnostics)(void *) = dlsym(lib, "clang_getNumDiagnostics");
    void *(*diagnostic)(void *, unsigned) = dlsym(lib, "clang_getDiagnostic");
    int (*severity)(void *) = dlsym(lib, "clang_getDiagnosticSeverity");
    if (!create_index || !parse || !diagnostics || !diagnostic || !severity) return 1;
    void *unit = parse(create_index(0, 0), argv[2], 0, 0, 0, 0, 0);
    if (!unit) return 1;
    for (unsigned i = 0; i < diagnostics(unit); i++)
        if (severity(diagnostic(unit, i)) >= 3) return 1; /* an error */
    return 0;
}
C
    printf '#include <%s>\n' stddef.h stdarg.h stdint.h stdio.h stdlib.h sys/types.h >"$folder/header.h"
    cc -o "$folder/probe" "$folder/probe.c" -ldl 2>/dev/null && "$folder/probe" "$1" "$folder/header.h" || status=1
    rm -rf "$folder"
    return "$status"
}

look() { # look TARGET: what packages are missing?
    local library version
    packages=()
    have cc && have make || packages+=(build-essential)
    library=$(libclang)
    if [[ -z $library ]]; then
        packages+=(libclang-dev)
    elif have cc && ! reads "$library"; then
        # Debian's package of those headers bears the library's version
        version=$(realpath "$library" | sed -nE 's:.*/(llvm-|libclang-)([0-9]+).*:\2:p')
        if [[ -n $version ]]; then packages+=("libclang-common-$version-dev"); else packages+=(libclang-dev); fi
    fi
    have redis-server || packages+=(redis-server)
    have redis-cli || packages+=(redis-tools)
    have initdb || any /usr/lib/postgresql/*/bin/initdb || packages+=(postgresql)
    have psql || packages+=(postgresql-client)
    if [[ $1 == lint ]]; then
        have shellcheck || packages+=(shellcheck)
        have python3 || packages+=(python3)
    fi
    if [[ $1 == test ]]; then
        # without its package Debian's python3 has a venv that cannot bring pip in
        python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
        [[ -n ${BEAR_TEST_PGBOUNCER-} ]] || any /usr/sbin/pgbouncer || packages+=(pgbouncer)
    fi
    if [[ $1 == metrics ]]; then
        have prometheus && have promtool || packages+=(prometheus)
    fi
    if [[ $1 == emulation ]]; then
        have qemu-aarch64-static || have qemu-aarch64 || [[ $(uname -m) == aarch64 ]] || packages+=(qemu-user-static)
    fi
    if [[ $1 == arm64 || $1 == emulation ]]; then
        have aarch64-linux-gnu-gcc || packages+=(gcc-aarch64-linux-gnu)
        any /usr/aarch64-linux-gnu/include/stdio.h || [[ $(uname -m) == aarch64 ]] || packages+=(libc6-dev-arm64-cross)
    fi
    if [[ $1 == packages ]]; then
        have dpkg-deb || packages+=(dpkg)
        have xz || packages+=(xz-utils)
        have python3 || packages+=(python3)
        have readelf || packages+=(binutils)
        # what makes roots and enters them is for root alone
        if ((EUID == 0)); then
            have mmdebstrap || packages+=(mmdebstrap)
            have ip || packages+=(iproute2)
        fi
    fi
    if [[ $1 == test || $1 == bench || $1 == node ]]; then
        have node || packages+=(nodejs)
        have npm || packages+=(npm)
    fi
    # only root may make network namespaces
    if [[ $1 == test ]] && ((EUID == 0)); then
        have ip || packages+=(iproute2)
    fi
    if [[ $1 == node ]]; then
        # Ubuntu's chromium is a snap; whoever has another browser of the family names it
        [[ -n ${BEAR_TEST_CHROMIUM-} ]] || have chromium || packages+=(chromium)
    fi
}

install() {
    local self
    have apt-get || fail "this system has no apt-get; install the equivalents of: $*"
    self=$(realpath "$0")
    echo "setup: installing $* (their services are neither started nor enabled)"
    if ((EUID == 0)); then
        bash "$self" --install "$@"
    elif ! have sudo; then
        fail "there is no sudo; as root, run: $self --install $*"
    elif [[ -t 0 ]]; then
        sudo bash "$self" --install "$@" || fail "not installed; as root, run: $self --install $*"
    else
        sudo -n bash "$self" --install "$@" </dev/null \
            || fail "not installed (sudo may want a password); as root, run: $self --install $*"
    fi
}

# Twice: with a compiler there, the second look tells whether libclang has its headers.
for attempt in 1 2; do
    look "${1-}"
    if ((${#packages[@]} == 0)); then break; fi
    install "${packages[@]}"
done
if ((attempt == 2 && ${#packages[@]})); then
    look "${1-}"
    ((${#packages[@]} == 0)) || fail "still missing, though installed: ${packages[*]}; is another version in the way (LIBCLANG_PATH: ${LIBCLANG_PATH:-not set}; libclang: $(libclang))?"
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
if [[ ${1-} == arm64 || ${1-} == emulation ]]; then
    target=aarch64-unknown-linux-gnu
    if [[ ! -d $(rustc --print sysroot)/lib/rustlib/$target/lib ]]; then
        have rustup || fail "Rust has no standard library for $target; install it beside cargo"
        rustup target add "$target"
    fi
fi
if [[ ${1-} == node ]]; then
    # Debian 12 has 18, and a Node that is there is not replaced
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' \
        || fail "clients/node needs Node 20 or later, and this is $(node --version); install one (Debian 13 has it, or nodejs.org)"
    client=$(dirname "$(dirname "$(realpath "$0")")")/clients/node
    # npm leaves a copy of the lock file that it has installed
    if [[ ! $client/node_modules/.package-lock.json -nt $client/package-lock.json ]]; then
        (cd "$client" && npm ci --ignore-scripts --loglevel=error) || fail "npm cannot bring in what clients/node is tested with (above)"
    fi
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
