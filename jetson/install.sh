#!/bin/bash
# Installs irvis on a Jetson Orin that runs JetPack 6.2 or 7.2. README.md beside this file tells what it does.
set -euo pipefail
export LC_ALL=C
# With it `cd` prints where it went.
unset CDPATH
umask 022

readonly RIG=/etc/irvis/rig.toml
# The one that apt's packages are for, whatever else is in PATH.
readonly PYTHON=/usr/bin/python3

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root="" prefix=/opt/irvis wheel="" rig="" model=""
is_dry=false with_service=true is_starting=false is_uninstalling=false
jetpack="" python_version="" version="" release="" missing=()
changes=0 is_restart_needed=false is_model_new=false model_to_prove=""
# Removed at the end of a run that failed.
unfinished=()

# shellcheck source=checks.sh
source "$here/checks.sh"
# shellcheck source=release.sh
source "$here/release.sh"
# shellcheck source=service.sh
source "$here/service.sh"

usage() {
    cat <<'END'
usage: sudo ./install.sh [options]

  --wheel PATH     the irvis_runtime-*.whl to install; else the only one in ., in ./dist or beside this script
  --rig PATH       your rig file, copied to /etc/irvis/rig.toml; else an example that needs no camera
  --model DIR      a model directory, copied to PREFIX/models; else the model inside the wheel is used
  --prefix DIR     where irvis is installed (/opt/irvis)
  --no-service     do not install the service irvis-live
  --start          start the service at the end; else it starts with the next boot
  --uninstall      remove irvis and its service; the rig file, recordings and apt packages stay
  --root DIR       install into the system below DIR, entered by chroot, as when an image is made
  --dry-run        say what would be done and do nothing
  -h, --help       this text
END
}

say() { printf '%s\n' "$*"; }

die() {
    printf 'install.sh: error: %s\n' "$*" >&2
    exit 2
}

clean_up() { ((${#unfinished[@]} == 0)) || rm -rf -- "${unfinished[@]}"; }
trap clean_up EXIT

# Runs a command inside the target system; its paths are those of that system.
in_root() { if [[ -n $root ]]; then chroot "$root" "$@"; else "$@"; fi; }

# change TEXT COMMAND...: one change of the system, told before it is made; a dry run only tells.
change() {
    local text=$1
    shift
    changes=$((changes + 1))
    if $is_dry; then
        say "    would $text"
        return
    fi
    say "    $text"
    "$@" || die "could not $text; the lines above say why; correct that and run install.sh again"
}

parse_arguments() {
    while (($#)); do
        case $1 in
            --wheel | --rig | --model | --prefix | --root)
                [[ -n ${2:-} ]] || die "expected a value behind $1; see --help"
                printf -v "${1#--}" '%s' "$2"
                shift
                ;;
            --dry-run) is_dry=true ;;
            --no-service) with_service=false ;;
            --start) is_starting=true ;;
            --uninstall) is_uninstalling=true ;;
            -h | --help) usage && exit 0 ;;
            *) die "unknown option '$1'; see --help" ;;
        esac
        shift
    done
}

check_arguments() {
    [[ -z $root || -d $root ]] || die "--root: expected a directory, $root is none; name another"
    [[ -z $root ]] || root=$(cd "$root" && pwd)
    [[ $root != / ]] || root=""
    # The prefix is written into the unit, and --uninstall removes what is in it.
    [[ $prefix =~ ^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$ ]] ||
        die "--prefix: expected an absolute path of letters, digits and . _ -, got '$prefix'; choose such a one"
    [[ ! $prefix =~ ^/(home|root|run|tmp)(/|$) ]] ||
        die "--prefix: $prefix is hidden from the service or lost at a reboot; choose one such as /opt/irvis"
    ! $is_starting || { $with_service && is_systemd_running; } ||
        die "--start: expected a service and a running systemd; leave out --no-service, --root and --start"
    if ! $is_dry || [[ -n $root ]]; then
        (($(id -u) == 0)) || die "expected root, got user $(id -un); run it with sudo"
    fi
}

# Two runs at once would take each other's environments away. What a run that was cut off started may still be ending.
lock_system() {
    [[ -d $root/etc ]] || return 0
    exec 9<"$root/etc"
    flock --wait 10 9 || die "expected to be the only install.sh, another one is at work; wait for it and run this again"
}

install_packages() {
    say "Packages"
    find_missing_packages
    if ((${#missing[@]} == 0)); then
        say "    unchanged, all are installed"
        return
    fi
    # A board that has just started is often busy with its own updates.
    local apt=(in_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    change "refresh the lists of apt" "${apt[@]}" update
    change "install ${missing[*]}" "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

install_model() {
    local target
    [[ -n $model ]] || return 0
    target=$prefix/models/${model##*/}
    say "Model"
    if diff -rq "$model" "$root$target" >/dev/null 2>&1; then
        model_to_prove=$target
        say "    unchanged, $target"
    else
        model_to_prove=$target.new
        is_model_new=true is_restart_needed=true
        change "copy $model to $target" copy_model "$root$target.new"
    fi
    if [[ -e $root$RIG ]] && ! grep -q "^model = \"$target\"" "$root$RIG"; then
        say "    note: $RIG does not name it; to use it write  model = \"$target\"  below [fusion]"
    fi
}

copy_model() {
    unfinished+=("$1")
    # -L: the files of a downloaded model are often links into a cache.
    mkdir -p "${1%/*}" && rm -rf "$1" && cp -RL "$model" "$1" && chmod -R a+rX,go-w "$1" && sync -f "$1"
}

# The proven model takes its name.
switch_model() {
    local target=$root$prefix/models/${model##*/}
    owe_restart
    rm -rf "$target.old" || return
    [[ ! -e $target ]] || mv -T "$target" "$target.old" || return
    mv -T "$target.new" "$target" && sync -f "$target" && rm -rf "$target.old"
}

write_rig() {
    local target=$root$RIG setting="s|^# model = .*|model = \"$prefix/models/${model##*/}\"|"
    mkdir -p "$(dirname "$target")" || return
    unfinished+=("$target" "$target.new")
    rm -f "$target.new" && (umask 077 && : >"$target.new") || return
    if [[ -n $rig ]]; then
        cat "$rig" >"$target.new" || return
    else
        sed "${model:+$setting}" "$here/rig.example.toml" >"$target.new" || return
    fi
    if $with_service; then
        # It may hold a camera's password.
        in_root chgrp "$SERVICE_USER" "$RIG.new" && chmod 0640 "$target.new" || return
    else
        chmod 0644 "$target.new" || return
    fi
    sync -f "$target.new" && mv "$target.new" "$target" && sync -f "$target"
}

install_rig() {
    say "Rig file"
    if [[ -e $root$RIG ]]; then
        say "    unchanged, $RIG is yours"
    else
        change "write $RIG from ${rig:-the example, which needs no camera}" write_rig
    fi
}

main() {
    parse_arguments "$@"
    check_arguments
    $is_dry || lock_system
    if $is_uninstalling; then
        uninstall
    else
        check_system
        check_tensorrt
        check_space
        check_wheel
        check_rig
        check_model
        install_packages
        install_user
        install_environment
        install_service
    fi
    if $is_dry; then
        say "Dry run: $changes changes would be made; nothing was done."
    elif ((changes == 0)); then
        say "Nothing changed."
    else
        say "Done, $changes changes."
    fi
    if ! $is_uninstalling && ! $is_dry && $with_service && ((changes > 0)); then
        say "Next: put your cameras into $RIG, then: sudo systemctl restart ${UNIT%.service}"
    fi
}

main "$@"
