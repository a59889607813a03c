#!/usr/bin/env bash
# Builds what a release holds, into target/dist, which is made anew: Debian packages, a tarball and their symbols; the npm
# package of clients/node; deploy/ as a tarball; a software bill of materials (CycloneDX); SHA256SUMS. Called by `make dist`.
#
#   TARGETS="aarch64-unknown-linux-gnu"   for these machines as well, where scripts/setup.sh arm64 has brought in a compiler
#
# Nothing is published: CONTRIBUTING.md says how a release is made of it.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
umask 022

fail() {
    printf 'dist: %s\n' "$*" >&2
    exit 1
}

cyclonedx=$1 # the program
dist=$PWD/target/dist
version=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
npm_version=$(sed -n 's/^ *"version": "\(.*\)",/\1/p' clients/node/package.json | head -n 1)
[[ $version == "$npm_version" ]] || fail "Cargo.toml says $version and clients/node/package.json $npm_version"
[[ -z $(git status --porcelain 2>/dev/null) ]] || echo 'dist: the work tree has changes that are not committed' >&2
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

rm -rf "$dist"
mkdir -p "$dist"

host=$(rustc -vV | sed -n 's/^host: //p')
scripts/package.sh deb
scripts/package.sh tarball
for target in ${TARGETS-}; do
    TARGET=$target scripts/package.sh deb
    TARGET=$target scripts/package.sh tarball
done

# The crates that are linked into the module, with versions, licences and checksums; not those of tests.
"$cyclonedx" cyclonedx --format json --spec-version 1.5 --target "$host" --no-build-deps --override-filename bear-sbom --quiet
# its references hold the path of this checkout
sed "s|path+file://$PWD#||g" bear-sbom.json >"$dist/bear-$version.cdx.json"
rm bear-sbom.json

(cd clients/node && npm run --silent build && npm pack --silent --ignore-scripts --pack-destination "$dist" >/dev/null)

tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --transform "s|^deploy|bear-deploy-$version|" \
    deploy | gzip -9n >"$dist/bear-deploy-$version.tar.gz"

cd "$dist"
sha256sum -- * >.sums
mv .sums SHA256SUMS
ls -l --block-size=1 "$dist"
