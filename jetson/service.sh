#!/bin/bash
# The service's user, its units, and their removal. Sourced by install.sh.
# shellcheck disable=SC2034,SC2154  # the variables are install.sh's

readonly UNIT=irvis-live.service
# The others are started by it.
readonly UNITS=("$UNIT" irvis-argus.path irvis-argus.service)
readonly UNIT_FOLDER=/etc/systemd/system
readonly SERVICE_USER=irvis

install_user() {
    local group members
    $with_service || return 0
    say "User"
    if ! grep -q "^$SERVICE_USER:" "$root/etc/passwd"; then
        change "make the system user $SERVICE_USER" in_root useradd --system --user-group --no-create-home \
            --home-dir /var/lib/irvis --shell /usr/sbin/nologin "$SERVICE_USER"
    fi
    # Cameras, nvmap and the GPU belong to video, /dev/dri to render.
    for group in video render; do
        grep -q "^$group:" "$root/etc/group" || continue
        members=$(sed -n "s/^$group:[^:]*:[^:]*://p" "$root/etc/group")
        [[ ,$members, == *,$SERVICE_USER,* ]] ||
            change "add $SERVICE_USER to the group $group" in_root usermod --append --groups "$group" "$SERVICE_USER"
    done
    say "    $SERVICE_USER: $(in_root id -nG "$SERVICE_USER" 2>/dev/null || printf 'not made yet')"
}

# The unit $1 for this prefix.
unit_text() { sed "s|/opt/irvis|$prefix|g" "$here/$1"; }

write_unit() {
    local file=$root$UNIT_FOLDER/$1
    unit_text "$1" >"$file.new" && mv "$file.new" "$file"
}

# In an image that is being made no systemd runs; its links are made all the same.
is_systemd_running() { [[ -z $root && -d /run/systemd/system ]]; }

install_service() {
    local name is_written=false
    $with_service || return 0
    say "Service"
    for name in "${UNITS[@]}"; do
        if [[ $(unit_text "$name") == "$(cat "$root$UNIT_FOLDER/$name" 2>/dev/null)" ]]; then
            say "    unchanged, $UNIT_FOLDER/$name"
        else
            is_restart_needed=true is_written=true
            change "write $UNIT_FOLDER/$name" write_unit "$name"
        fi
    done
    ! $is_written || ! is_systemd_running || change "tell systemd of it" systemctl daemon-reload
    in_root systemctl is-enabled --quiet "$UNIT" 2>/dev/null ||
        change "enable $UNIT, so that it starts with the system" in_root systemctl enable --quiet "$UNIT"
    is_systemd_running || return 0
    # A service that has no picture yet is "activating".
    case $(systemctl is-active "$UNIT" || true) in
        active | activating) ! $is_restart_needed || change "restart $UNIT" systemctl restart --no-block "$UNIT" ;;
        *) ! $is_starting || change "start $UNIT" systemctl start --no-block "$UNIT" ;;
    esac
}

remove_files() { rm -rf "$root$prefix/venv" "$root$prefix/releases" "$root$prefix/models"; }

uninstall() {
    say "Uninstall"
    if [[ -e $root$UNIT_FOLDER/$UNIT ]]; then
        ! is_systemd_running || change "stop $UNIT" systemctl stop "${UNITS[@]}"
        change "disable $UNIT" in_root systemctl disable --quiet "$UNIT"
        change "remove its units from $UNIT_FOLDER" rm -f "${UNITS[@]/#/$root$UNIT_FOLDER/}"
        ! is_systemd_running || change "tell systemd of it" systemctl daemon-reload
    fi
    if [[ -L $root$prefix/venv || -d $root$prefix/releases ]]; then
        change "remove the environments and models in $prefix" remove_files
        $is_dry || rmdir --ignore-fail-on-non-empty "$root$prefix"
    fi
    ((changes > 0)) || say "    nothing of irvis is installed in $prefix"
    say "These are yours and stay: $RIG, /var/lib/irvis, the user $SERVICE_USER and the apt packages."
}
