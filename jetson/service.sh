#!/bin/bash
# The service's user, its units, and their removal. Sourced by install.sh.
# shellcheck disable=SC2034,SC2154  # the variables are install.sh's

readonly UNIT=irvis-live.service
# The others are started by it.
readonly UNITS=("$UNIT" irvis-argus.path irvis-argus.service)
readonly UNIT_FOLDER=/etc/systemd/system
readonly SERVICE_USER=irvis
# The unit's StateDirectory=.
readonly STATE_FOLDER=/var/lib/irvis
# Left by a run that was cut off between a switch and the restart. A reboot takes it away, and is a restart.
readonly RESTART_OWED=/run/irvis-restart-owed

install_user() {
    local group members
    $with_service || return 0
    say "User"
    if ! grep -q "^$SERVICE_USER:" "$root/etc/passwd"; then
        change "make the system user $SERVICE_USER" in_root useradd --system --user-group --no-create-home \
            --home-dir "$STATE_FOLDER" --shell /usr/sbin/nologin "$SERVICE_USER"
    fi
    # Cameras, nvmap and the GPU belong to video, /dev/dri to render.
    for group in video render; do
        grep -q "^$group:" "$root/etc/group" || continue
        members=$(sed -n "s/^$group:[^:]*:[^:]*://p" "$root/etc/group")
        [[ ,$members, == *,$SERVICE_USER,* ]] ||
            change "add $SERVICE_USER to the group $group" in_root usermod --append --groups "$group" "$SERVICE_USER"
    done
    [[ -d $root$STATE_FOLDER ]] || change "make $STATE_FOLDER for the service's data" make_state_folder
    say "    $SERVICE_USER: $(in_root id -nG "$SERVICE_USER" 2>/dev/null || printf 'not made yet')"
}

# As systemd makes it. By one rename: were it left as root's, the proof could write nothing into it.
make_state_folder() {
    local folder=$root$STATE_FOLDER.new
    rm -rf "$folder" && mkdir -p "$folder" || return
    in_root chown "$SERVICE_USER:$SERVICE_USER" "$STATE_FOLDER.new" && mv -T "$folder" "${folder%.new}"
}

# The unit $1 for this prefix.
unit_text() { sed "s|/opt/irvis|$prefix|g" "$here/$1"; }

write_unit() {
    local file=$root$UNIT_FOLDER/$1
    owe_restart
    # systemd takes an empty unit, which a power loss can leave, for one that is masked.
    unit_text "$1" >"$file.new" && sync -f "$file.new" && mv "$file.new" "$file"
}

# In an image that is being made no systemd runs; its links are made all the same.
is_systemd_running() { [[ -z $root && -d /run/systemd/system ]]; }

owe_restart() { ! is_systemd_running || touch "$RESTART_OWED"; }

# Also true where a run was cut off between the writing of a unit and the reload.
is_reload_owed() {
    is_systemd_running && systemctl show --property=NeedDaemonReload --value "${UNITS[@]}" | grep -x yes >/dev/null
}

# start_unit start|restart. systemd refuses one that was given up, or nearly (StartLimitBurst), until it is reset.
start_unit() {
    systemctl reset-failed "$UNIT" 2>/dev/null || true
    systemctl "$1" --no-block "$UNIT"
}

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
    if is_systemd_running && { $is_written || is_reload_owed; }; then
        change "tell systemd of it" systemctl daemon-reload
    fi
    in_root systemctl is-enabled --quiet "$UNIT" 2>/dev/null ||
        change "enable $UNIT, so that it starts with the system" in_root systemctl enable --quiet "$UNIT"
    # The names of the units, and the link that enables one.
    $is_dry || ((changes == 0)) || sync -f "$root$UNIT_FOLDER" || die "could not write to the disk; run install.sh again"
    ! is_systemd_running || run_service
}

# Restarts the service where that is owed, or starts it where that was asked for.
run_service() {
    [[ ! -e $RESTART_OWED ]] || is_restart_needed=true
    # A service that has no picture yet is "activating".
    case $(systemctl is-active "$UNIT" || true) in
        active | activating) ! $is_restart_needed || change "restart $UNIT" start_unit restart ;;
        *) ! $is_starting || change "start $UNIT" start_unit start ;;
    esac
    $is_dry || rm -f "$RESTART_OWED"
}

remove_units() {
    local files=("${UNITS[@]/#/$root$UNIT_FOLDER/}")
    rm -f "${files[@]}" "${files[@]/%/.new}"
}
remove_files() { rm -rf "$root$prefix"/{venv,venv.new,releases,models} "$root$RIG.new"; }

uninstall() {
    local name present=()
    say "Uninstall"
    # An older installation has fewer units, and so has a removal that was cut off.
    for name in "${UNITS[@]}"; do
        [[ ! -e $root$UNIT_FOLDER/$name ]] || present+=("$name")
    done
    if ((${#present[@]} > 0)); then
        ! is_systemd_running || change "stop ${present[*]}" systemctl stop "${present[@]}"
        [[ ${present[0]} != "$UNIT" ]] || change "disable $UNIT" in_root systemctl disable --quiet "$UNIT"
        change "remove ${present[*]} from $UNIT_FOLDER" remove_units
        ! is_systemd_running || change "tell systemd of it" systemctl daemon-reload
    fi
    if [[ -L $root$prefix/venv || -d $root$prefix/releases || -d $root$prefix/models ]]; then
        change "remove the environments and models in $prefix" remove_files
        $is_dry || rmdir --ignore-fail-on-non-empty "$root$prefix"
    fi
    ((changes > 0)) || say "    nothing of irvis is installed in $prefix"
    say "These are yours and stay: $RIG, /var/lib/irvis, the user $SERVICE_USER and the apt packages."
}
