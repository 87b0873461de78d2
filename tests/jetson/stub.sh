#!/bin/bash
# Stands in for every command that would change a real system; conftest.py links it under their names. It acts on
# $FAKE_ROOT, writes its command line to $CALLS, and is steered by files in $STATE:
#   installed   packages that dpkg knows        tensorrt, candidate   version installed, and that apt could install
#   python      the version of python3          free                  what df answers
#   uid         of the caller                   fails                 a pattern: command lines that fail
#   version     what the installed irvis calls itself, where that is not what the wheel says
# It leaves there:
#   synced      the time of the last sync
set -euo pipefail

name=${0##*/}
line="$name $*"
if [[ $name == chroot ]]; then
    shift
    if [[ $1 == /* ]]; then IN_ROOT=1 exec "$FAKE_ROOT$1" "${@:2}"; else IN_ROOT=1 exec "$@"; fi
fi
printf '%s\n' "$line" >>"$CALLS"
if [[ $name != @(df|id|sync) && -z ${IN_ROOT:-} ]]; then
    echo "stub: $name was called on the system that prepares the image" >&2
    exit 1
fi
answer() { if [[ -e $STATE/$1 ]]; then printf '%s' "$(<"$STATE/$1")"; else printf '%s' "${2:-}"; fi; }
if [[ -s $STATE/fails && $line =~ $(<"$STATE/fails") ]]; then
    echo "stub: $line fails" >&2
    exit 1
fi

query_packages() {
    local package
    if [[ $* == *Version* ]]; then
        answer tensorrt
        return
    fi
    for package in "${@:4}"; do
        grep -qx "$package" "$STATE/installed" && printf '%s installed\n' "$package"
    done
    return 1
}

install_packages() {
    local argument
    [[ " $* " == *" install "* ]] || return 0
    for argument in "$@"; do
        [[ $argument == -* || $argument == install ]] || printf '%s\n' "$argument" >>"$STATE/installed"
    done
}

make_environment() {
    mkdir -p "$FAKE_ROOT$1/bin"
    ln -s "$(realpath "$0")" "$FAKE_ROOT$1/bin/python"
    ln -s "$(realpath "$0")" "$FAKE_ROOT$1/bin/irvis"
}

case $name in
    id) if [[ $* == -u ]]; then answer uid 0; else echo "irvis video render"; fi ;;
    df) printf 'Avail\n%s\n' "$(answer free)" ;;
    dpkg-query) query_packages "$@" ;;
    apt-cache) printf 'python3-libnvinfer:\n  Installed: (none)\n  Candidate: %s\n' "$(answer candidate '(none)')" ;;
    apt-get) install_packages "$@" ;;
    python3) if [[ $1 == -c ]]; then answer python; else make_environment "${@: -1}"; fi ;;
    python) [[ $* != *" - "* ]] || cat >/dev/null ;;
    irvis)
        # Cut off by a power loss, files can be empty.
        wheels=("${0%/*}"/../*.whl)
        [[ -s ${wheels[0]} ]] || exit 1
        printf 'irvis %s\n' "$(answer version 0.1.0)"
        ;;
    sync) touch "$STATE/synced" ;;
    useradd)
        echo "irvis:x:999:999::/var/lib/irvis:/usr/sbin/nologin" >>"$FAKE_ROOT/etc/passwd"
        echo "irvis:x:999:" >>"$FAKE_ROOT/etc/group"
        ;;
    usermod) sed -Ei "s/^($3:.*)/\1,${*: -1}/" "$FAKE_ROOT/etc/group" ;;
    systemctl)
        link=$FAKE_ROOT/etc/systemd/system/multi-user.target.wants/${*: -1}
        case $1 in
            is-enabled) [[ -L $link ]] ;;
            enable) mkdir -p "${link%/*}" && ln -s "../${*: -1}" "$link" ;;
            disable) rm -f "$link" ;;
        esac
        ;;
esac
