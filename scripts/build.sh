#!/usr/bin/env bash
# Builds the module as it is shipped: target/release/libbear.so without symbols, and beside it libbear.so.debug, in which
# gdb, perf and the backtraces of a panic find them as long as it lies in the same folder.
#
#   TARGET=aarch64-unknown-linux-gnu   build for another machine than this one, into target/TARGET/release
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

folder=${CARGO_TARGET_DIR:-target}/${TARGET:+$TARGET/}release
objcopy=objcopy
options=()
if [[ -n ${TARGET-} ]]; then
    options=(--target "$TARGET")
    triple=${TARGET/-unknown/} # as Debian calls its tools and folders
    if command -v "$triple-gcc" >/dev/null; then
        objcopy=$triple-objcopy
        name=${TARGET^^}
        export "CARGO_TARGET_${name//-/_}_LINKER=$triple-gcc" "CC_${TARGET//-/_}=$triple-gcc" "AR_${TARGET//-/_}=$triple-ar"
        # libclang reads headers for the bindings: those of the other machine
        export "BINDGEN_EXTRA_CLANG_ARGS_${TARGET//-/_}=--target=$triple -isystem /usr/$triple/include"
    fi
fi

cargo build --release --locked "${options[@]}"
module=$folder/libbear.so
if ! readelf --sections --wide "$module" | grep -q '\.gnu_debuglink'; then
    # not in place: a server may have the file open
    "$objcopy" --only-keep-debug "$module" "$module.debug"
    "$objcopy" --strip-unneeded --add-gnu-debuglink="$module.debug" "$module" "$module.stripped"
    mv "$module.stripped" "$module"
fi
