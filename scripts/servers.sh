#!/usr/bin/env bash
# Fetches newer servers than this Debian's own, Redis 8 and Valkey 8 and 9, from later suites of Debian, to test with:
#
#   BEAR_TEST_SERVER=$(SUITES=trixie scripts/servers.sh | head -n 1) cargo test       (or `make test-servers`)
#
# It prints the path of one server a line. Everything lies in ${XDG_CACHE_HOME:-~/.cache}/bear/servers, and nothing of
# this machine's packages changes: apt downloads into folders of ours, from the mirror it is configured for, and
# the packages are only unpacked. Each server runs with the libraries of its own suite. No rights are needed.
#
#   SUITES="trixie sid"   the suites to look in
#   KIND=postgres         Postgres' folders of programs, of all suites that have another one than Debian 12 (bullseye: 13, trixie: 17,
#                         sid: 18), and with it the PgBouncer of each, in place of Redis and Valkey
#   FRESH=1               fetch again what is already there
#   ARCH=arm64            servers of another architecture, which run by qemu-user (scripts/setup.sh emulation)
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bear/servers
kind=${KIND:-redis}
if [[ $kind == postgres ]]; then
    read -ra suites <<<"${SUITES:-bullseye trixie sid}"
    packages=(postgresql postgresql-contrib pgbouncer)
    # as root its programs run as another user, who may not look into root's home
    if ((EUID == 0)); then cache=${XDG_CACHE_HOME:-/var/cache}/bear/servers; fi
else
    read -ra suites <<<"${SUITES:-trixie sid}"
    packages=(redis-server redis-tools valkey-server valkey-tools)
fi
arch=${ARCH-}

fail() {
    printf 'servers: %s\n' "$*" >&2
    exit 1
}

command -v apt-get >/dev/null || fail 'this system has no apt-get; give the path of a server in BEAR_TEST_SERVER yourself'
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9

# shellcheck disable=SC2016 # the format is apt's to expand
mirror() { # the first one that is not the security archive
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1
}

fetch() { # fetch SUITE FOLDER: unpack our packages, and what they depend on, into FOLDER
    local suite=$1 root=$2 apt=$2.apt log=$2.log uri options package
    uri=$(mirror) || fail 'apt has no package source that is not a security archive'
    rm -rf "$root" "$apt"
    mkdir -p "$root" "$apt"/{lists,cache,log}/partial "$apt/cache/archives/partial"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$uri" "$suite" >"$apt/sources.list"
    : >"$apt/status" # as if nothing were installed, so that all dependencies come along
    options=(
        -qq
        -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
        -o Dir::State="$apt" -o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status"
        -o Dir::Cache="$apt/cache" -o Dir::Log="$apt/log"
        ${arch:+-o "APT::Architecture=$arch" -o "APT::Architectures=$arch"}
        -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=false -o Acquire::Languages=none
    )
    if ! { apt-get "${options[@]}" update && apt-get "${options[@]}" --download-only -y install "${packages[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "the servers of $suite could not be fetched (above)"
    fi
    # of the dependencies only the libraries count; what maintainer scripts want does not
    for package in "$apt"/cache/archives/{lib,zlib,redis-,valkey-,postgresql-,pgbouncer_}*.deb; do
        if [[ -e $package ]]; then dpkg-deb -x "$package" "$root"; fi
    done
    rm -rf "$apt" "$log"
}

emulator() {
    local machine=$arch
    case $arch in
    arm64) machine=aarch64 ;;
    amd64) machine=x86_64 ;;
    esac
    command -v "qemu-$machine-static" || command -v "qemu-$machine" || fail "qemu-user for $machine is missing (scripts/setup.sh emulation)"
}

wrap() { # wrap FOLDER KIND: write commands that start the unpacked programs, and print the server's path
    local root=$1 kind=$2 loader libraries version bin program emulator
    if [[ -n $arch ]]; then
        emulator=$(emulator)
        if [[ ! -e $root/lib ]]; then ln -s usr/lib "$root/lib"; fi # as base-files has it, where the loader is looked for
        version=$("$emulator" -L "$root" "$root/usr/bin/$kind-server" --version | sed -n 's/.* v=\([^ ]*\).*/\1/p')
        [[ -n $version ]] || fail "$root/usr/bin/$kind-server does not start"
        bin=$cache/$kind-$version-$arch/bin
        mkdir -p "$bin"
        for program in "$root/usr/bin/$kind"-*; do
            # shellcheck disable=SC2016 # written out as it is
            printf '#!/bin/sh\nexec "%s" -0 "$0" -L "%s" "%s" "$@"\n' "$emulator" "$root" "$program" >"$bin/${program##*/}"
            chmod 755 "$bin/${program##*/}"
        done
        printf '%s\n' "$bin/$kind-server"
        return
    fi
    loader=$(printf '%s\n' "$root"/usr/lib*/ld-linux-*.so.* "$root"/usr/lib/*/ld-linux-*.so.* "$root"/lib*/ld-linux-*.so.* | grep -v '\*' | head -n 1)
    libraries=$(printf '%s:' "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu)
    version=$("$loader" --library-path "$libraries" --argv0 "$kind-server" "$root/usr/bin/$kind-server" --version | sed -n 's/.* v=\([^ ]*\).*/\1/p')
    [[ -n $version ]] || fail "$root/usr/bin/$kind-server does not start"
    bin=$cache/$kind-$version/bin
    mkdir -p "$bin"
    for program in "$root/usr/bin/$kind"-*; do
        # the server and its check tools are one program, which looks at the name it was called by
        # shellcheck disable=SC2016 # written out as it is
        printf '#!/bin/sh\nexec "%s" --argv0 "$0" --library-path "%s" "%s" "$@"\n' "$loader" "$libraries" "$program" >"$bin/${program##*/}"
        chmod 755 "$bin/${program##*/}"
    done
    printf '%s\n' "$bin/$kind-server"
}

# A program finds what it reads by the folder that it was started from: commands stand there, and what they start beside it.
wrap_postgres() { # wrap_postgres ROOT: the same for a Postgres and its PgBouncer; prints the folder of programs
    local root=$1 loader libraries program folder
    # one of these is often a link to a place that only a whole system has
    for loader in "$root"/usr/lib*/ld-linux-*.so.* "$root"/usr/lib/*/ld-linux-*.so.* "$root"/lib*/ld-linux-*.so.* "$root"/lib/*/ld-linux-*.so.*; do
        if [[ -x $loader ]]; then break; fi
    done
    libraries=$(printf '%s:' "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu "$root"/usr/lib/llvm-*/lib)
    for program in "$root"/usr/lib/postgresql/*/bin/* "$root"/usr/sbin/pgbouncer; do
        if [[ $program != *.elf && -x $program && $(head -c 4 "$program" | tail -c 3) == ELF ]]; then
            mv "$program" "$program.elf"
            # shellcheck disable=SC2016 # written out as it is
            printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libraries" "$program.elf" >"$program"
            chmod 755 "$program"
        fi
    done
    folder=$(printf '%s\n' "$root"/usr/lib/postgresql/*/bin)
    "$folder/postgres" --version >/dev/null || fail "$folder/postgres does not start"
    printf '%s\n' "$folder"
}

for suite in "${suites[@]}"; do
    root=$cache/debian-$suite${arch:+-$arch}
    if [[ $kind == postgres ]]; then root=$cache/debian-$suite-postgres; fi
    if [[ -n ${FRESH-} || ! -e $root/complete ]]; then
        fetch "$suite" "$root"
        : >"$root/complete"
    fi
    if [[ $kind == postgres ]]; then
        wrap_postgres "$root"
    else
        for server in redis valkey; do wrap "$root" "$server"; done
    fi
done
