#!/usr/bin/env bash
# Builds the module as it is shipped: target/release/libbear.so without symbols, and beside it libbear.so.debug, in which
# gdb, perf and the backtraces of a panic find them as long as it lies in the same folder.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

cargo build --release --locked
module=${CARGO_TARGET_DIR:-target}/release/libbear.so
if ! readelf --sections --wide "$module" | grep -q '\.gnu_debuglink'; then
    # not in place: a server may have the file open
    objcopy --only-keep-debug "$module" "$module.debug"
    objcopy --strip-unneeded --add-gnu-debuglink="$module.debug" "$module" "$module.stripped"
    mv "$module.stripped" "$module"
fi
