#!/usr/bin/env bash
# Packs the module as it is installed, into target/dist: Debian packages and a tarball, and the symbols of each beside it.
# Called by `make deb` and `make tarball`; needs no rights and, once the module is built, no network.
#
#   scripts/package.sh deb        bear-redis_VERSION_ARCH.deb and bear-redis-dbgsym_…
#   scripts/package.sh tarball    bear-VERSION-linux-ARCH.tar.xz and bear-symbols-…
#
#   TARGET=aarch64-unknown-linux-gnu   for another machine than this one
#   DIST=folder                        instead of target/dist
#   BEAR_MODULE=libbear.so             a module that is built already, its .debug beside it
#   BEAR_MAINTAINER='Name <address>'   who answers for the packages
#
# Two runs over one commit make the same files: times are the commit's, unless SOURCE_DATE_EPOCH says another one.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
umask 022

fail() {
    printf 'package: %s\n' "$*" >&2
    exit 1
}

what=${1-}
[[ $what == deb || $what == tarball ]] || fail 'what: deb or tarball?'
dist=${DIST:-target/dist}
target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
case $target in
x86_64-unknown-linux-gnu) arch=amd64 ;;
aarch64-unknown-linux-gnu) arch=arm64 ;;
*) fail "no package is made for $target" ;;
esac
version=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
maintainer=${BEAR_MAINTAINER:-The bear developers <maintainers@bear.invalid>}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}

if [[ -n ${BEAR_MODULE-} ]]; then
    module=$BEAR_MODULE
else
    scripts/build.sh
    module=${CARGO_TARGET_DIR:-target}/${TARGET:+$TARGET/}release/libbear.so
fi
[[ -e $module.debug ]] || fail "$module.debug is missing: the symbols, which scripts/build.sh keeps beside the module"
build_id=$(readelf --notes --wide "$module" | sed -n 's/.*Build ID: \([0-9a-f]*\).*/\1/p')
[[ -n $build_id ]] || fail "$module has no build id"

mkdir -p "$dist"
dist=$(realpath "$dist")
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

# --- what both have ----------------------------------------------------------------------------------------------

put() { # put MODE FILE DESTINATION
    install -D -m "$1" "$2" "$3"
}

put_tree() { # put_tree FOLDER DESTINATION: what is under version control, or all where there is none
    local file
    { git ls-files "$1" 2>/dev/null || find "$1" -type f; } | while IFS= read -r file; do
        [[ -e $file ]] && put 644 "$file" "$2${file#"$1"}"
    done
}

# The settings are those of redis.conf, so that there is one list of them.
settings() {
    cat packaging/redis-bear.head.conf
    sed '1,/^# --- bear ---/d' redis.conf | sed 's|^# bear\.catalog ""$|bear.catalog /etc/bear/catalog.toml|'
}
settings >"$stage/redis-bear.conf"
grep -q '^bear\.catalog /etc/bear/catalog\.toml$' "$stage/redis-bear.conf" || fail 'redis.conf has no line «# bear.catalog ""» any more'

# --- Debian ------------------------------------------------------------------------------------------------------

# What the libraries must be at least, by the versions of their symbols. As dpkg-shlibdeps says, and for other machines too.
libraries() {
    local needed version
    needed=$(readelf --dynamic --wide "$module" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    while read -r library; do
        case $library in
        libc.so.6 | libm.so.6 | ld-linux-*.so.*) ;;
        libgcc_s.so.1) ;;
        *) fail "the module needs $library, and the package does not know whose that is" ;;
        esac
    done <<<"$needed"
    version=$(readelf --version-info --wide "$module" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
    printf 'libc6 (>= %s), libgcc-s1 (>= 4.2)' "$version"
}

control() { # control TEMPLATE ROOT: fills it in
    local size
    size=$(du -k --apparent-size --summarize "$2" | cut -f 1)
    mkdir -p "$2/DEBIAN"
    sed -e "s|@VERSION@|$version-1|" -e "s|@ARCH@|$arch|" -e "s|@MAINTAINER@|$maintainer|" -e "s|@SIZE@|$size|" \
        -e "s|@LIBRARIES@|$(libraries)|" -e "s|@BUILD_ID@|$build_id|" "$1" >"$2/DEBIAN/control"
    (cd "$2" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
}

copyright() {
    printf '%s\n' 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/' 'Upstream-Name: bear' '' \
        'Files: *' 'Copyright: 2026 the bear developers' 'License: MIT'
    sed '1,/^Copyright/d; 1{/^$/d}' LICENSE | sed '/./,$!d' | sed 's/^$/./; s/^/ /'
    scripts/third-party.py "$target" --debian
}

debian() {
    local root=$stage/deb symbols=$stage/dbgsym doc
    doc=$root/usr/share/doc/bear-redis
    put 755 "$module" "$root/usr/lib/redis/modules/libbear.so" # executable, or Redis refuses it
    put 644 packaging/catalog.toml "$root/etc/bear/catalog.toml"
    put 644 "$stage/redis-bear.conf" "$root/etc/bear/redis-bear.conf"
    for folder in schema catalogs deploy; do put_tree "$folder" "$root/usr/share/bear-redis/$folder"; done
    put_tree docs "$doc/docs"
    put 644 README.md "$doc/README.md"
    put 644 packaging/debian/README.Debian "$doc/README.Debian"
    copyright >"$doc/copyright"
    gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
    printf 'bear-redis (%s-1) stable; urgency=medium\n\n  * Release %s: see changelog.gz.\n\n -- %s  %s\n' "$version" "$version" "$maintainer" \
        "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
    put 644 packaging/debian/lintian-overrides "$root/usr/share/lintian/overrides/bear-redis"
    control packaging/debian/control "$root"
    printf '%s\n' /etc/bear/catalog.toml /etc/bear/redis-bear.conf >"$root/DEBIAN/conffiles"
    for script in postinst prerm; do put 755 "packaging/debian/$script" "$root/DEBIAN/$script"; done
    dpkg-deb --root-owner-group -Zxz --build "$root" "$dist/bear-redis_$version-1_$arch.deb"

    install -D -m 644 "$module.debug" "$symbols/usr/lib/debug/.build-id/${build_id:0:2}/${build_id:2}.debug"
    mkdir -p "$symbols/usr/share/doc"
    ln -s bear-redis "$symbols/usr/share/doc/bear-redis-dbgsym"
    control packaging/debian/control.dbgsym "$symbols"
    dpkg-deb --root-owner-group -Zxz --build "$symbols" "$dist/bear-redis-dbgsym_$version-1_$arch.deb"
}

# --- a tarball ---------------------------------------------------------------------------------------------------

pack() { # pack NAME: the folder of that name in the stage
    tar --create --directory "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" "$1" | xz -6 >"$dist/$1.tar.xz"
    printf 'package: %s\n' "$dist/$1.tar.xz"
}

tarball() {
    local name=bear-$version-linux-$arch symbols=bear-symbols-$version-linux-$arch
    local root=$stage/$name
    put 755 "$module" "$root/libbear.so"
    put 644 packaging/catalog.toml "$root/catalog.toml"
    put 644 "$stage/redis-bear.conf" "$root/redis-bear.conf"
    for folder in schema catalogs deploy docs; do put_tree "$folder" "$root/$folder"; done
    for file in LICENSE README.md CHANGELOG.md redis.conf; do put 644 "$file" "$root/$file"; done
    put 644 packaging/INSTALL.md "$root/INSTALL.md"
    scripts/third-party.py "$target" >"$root/THIRD-PARTY"
    pack "$name"
    install -D -m 644 "$module.debug" "$stage/$symbols/libbear.so.debug"
    pack "$symbols"
}

if [[ $what == deb ]]; then debian; else tarball; fi
