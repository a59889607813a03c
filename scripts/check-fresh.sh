#!/usr/bin/env bash
# Tries README's two commands, `make run` and `make test`, on fresh machines: clean roots of Debian made by mmdebstrap, to which
# nothing is lent but the Rust toolchain and the network. Called by `make check-fresh`; needs root, and takes an hour.
#
#   scripts/check-fresh.sh [CASE …]      all of them where none is named
#
#   ONLY=run         without `make test`
#   KEEP=folder      leave the roots and logs there
#
# `make run` must install what it needs, answer the three commands that it prints, and leave nothing behind after Ctrl-C; it is
# run a second time with SIGINT ignored by its parent, as scripts do that put it behind `&`. No service may have been started.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

# case -> suite, user, packages that are there before
declare -A cases=(
    [bookworm-root]='bookworm root'
    [bookworm-user]='bookworm tester'
    [bookworm-libclang-cpp]='bookworm root libclang-cpp14' # another library, whose name begins in the same way
    [bookworm-libclang-alone]='bookworm root libclang1-14' # the right one, without its headers
    [bookworm-two-libclangs]='bookworm tester libclang-14-dev,libclang1-16' # the newer one is taken, and has no headers
    [trixie-root]='trixie root'
    [trixie-user]='trixie tester'
)
order=(bookworm-root bookworm-user bookworm-libclang-cpp bookworm-libclang-alone bookworm-two-libclangs trixie-root trixie-user)
with_tests=' bookworm-root bookworm-user bookworm-libclang-cpp trixie-root '

fail() {
    printf 'check-fresh: %s\n' "$*" >&2
    exit 1
}

if (($#)); then order=("$@"); fi
for name in "${order[@]}"; do [[ -n ${cases[$name]-} ]] || fail "no case '$name'; there are: ${!cases[*]}"; done
((EUID == 0)) || fail 'it makes roots and enters them; run it as root'
command -v cargo >/dev/null || fail 'Rust is missing'
command -v mmdebstrap >/dev/null || apt-get -qq install -y --no-install-recommends mmdebstrap >/dev/null || fail 'mmdebstrap is missing'

if [[ -n ${KEEP-} ]]; then
    mkdir -p "$KEEP"
    folder=$(realpath "$KEEP")
else
    folder=$(mktemp -d /var/tmp/bear-fresh.XXXXXX)
    trap 'rm -rf "$folder"' EXIT
fi
trap 'exit 130' INT TERM HUP
toolchain=$(rustc --print sysroot)

# shellcheck disable=SC2016 # the format is apt's to expand
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)

# What runs inside, as the user: prints what is wrong, and ends with 1.
cat >"$folder/inside.sh" <<'EOS'
set -uo pipefail
cd ~/bear || exit 1
wrong() {
    printf 'WRONG: %s\n' "$*"
    tail -n 30 ~/run.log
    exit 1
}
ask() { # ask COMMAND-WORD PATTERN: one of the commands that `make run` printed
    local line reply
    line=$(grep -m 1 "^  redis-cli .*$1" ~/run.log) || wrong "no command $1 is printed"
    reply=$(timeout 20 bash -c "$line" 2>&1)
    grep -q -- "$2" <<<"$reply" || wrong "$line: $reply"
}
for parent in default ignoring; do
    : >~/run.log
    # a job behind & has SIGINT ignored in a script
    if [[ $parent == ignoring ]]; then
        (trap '' INT && exec setsid make run) >~/run.log 2>&1 </dev/null &
    else
        env --default-signal=INT setsid make run >~/run.log 2>&1 </dev/null &
    fi
    group=$! began=$SECONDS
    until grep -q 'Ctrl-C stops both' ~/run.log; do
        kill -0 "$group" 2>/dev/null || wrong 'make run has ended'
        ((SECONDS - began < 3000)) || wrong 'make run takes too long'
        sleep 0.5
    done
    echo "make run ($parent parent): ready after $((SECONDS - began)) s"
    ask BEAR.QUERY '^\[{"id":'
    ask BEAR.EXPLAIN '^cached$'
    ask BEAR.INVALIDATE '^[0-9]*$'
    kill -INT -- "-$group"
    for ((tenths = 0; tenths < 300; tenths++)); do
        kill -0 "$group" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 "$group" 2>/dev/null || wrong 'Ctrl-C does not end it'
    left=$(pgrep -xl redis-server; pgrep -xl postgres; ls -d /tmp/bear.* 2>/dev/null)
    [[ -z $left ]] || wrong "left behind: $left"
done
if [[ $1 == tests ]]; then
    make test >~/test.log 2>&1 </dev/null || { tail -n 60 ~/test.log; echo 'WRONG: make test'; exit 1; }
    grep '^test result' ~/test.log
fi
EOS

enter() { # enter ROOT COMMAND …: in namespaces of its own, which end with it
    local root=$1
    shift
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --pid --fork --kill-child bash -c '
        set -e
        root=$1 toolchain=$2
        shift 2
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs shm "$root/dev/shm"
        mkdir -p "$root/opt/rust"
        mount --bind "$toolchain" "$root/opt/rust"
        mount -o remount,bind,ro "$root/opt/rust"
        exec chroot "$root" "$@"' enter "$root" "$toolchain" "$@"
}

check() { # check NAME
    local name=$1 suite user extra root home what=run
    read -r suite user extra <<<"${cases[$name]}"
    root=$folder/$name
    if [[ $with_tests == *" $name "* && ${ONLY-} != run ]]; then what=tests; fi
    rm -rf "$root"
    mmdebstrap --quiet --variant=apt --include="make,sudo,passwd,ca-certificates,procps,${extra:-make}" "$suite" "$root" "$mirror" >"$folder/$name.log" 2>&1 \
        || { tail -n 20 "$folder/$name.log"; fail "no root of $suite could be made (above)"; }
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    printf '127.0.0.1 localhost %s\n' "$(hostname)" >"$root/etc/hosts" # else sudo complains
    # a network may have a certificate authority of its own
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    home=/root
    if [[ $user != root ]]; then
        home=/home/$user
        chroot "$root" useradd --create-home --shell /bin/bash "$user"
        printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$user" >"$root/etc/sudoers.d/$user"
    fi
    mkdir -p "$root$home/bear"
    git ls-files -z --cached --others --exclude-standard | while IFS= read -rd '' file; do
        if [[ -e $file ]]; then printf '%s\0' "$file"; fi
    done | tar -c --null -T - | tar -x -C "$root$home/bear"
    cp "$folder/inside.sh" "$root$home/inside.sh"
    chroot "$root" chown -R "$user" "$home"
    enter "$root" setpriv --reuid "$user" --regid "$user" --init-groups \
        env -i HOME="$home" USER="$user" LOGNAME="$user" LANG=C.UTF-8 \
        PIP_CERT=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        bash "$home/inside.sh" "$what" 2>&1 | tee -a "$folder/$name.log"
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
echo "check-fresh: all is well (${order[*]})"
