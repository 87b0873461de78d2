#!/bin/bash
# The environments: made, proven and switched to. Sourced by install.sh.
# shellcheck disable=SC2034,SC2154  # the variables are install.sh's

# Each wheel becomes an environment of its own; PREFIX/venv is a link to the one in use.
make_release() {
    local folder=$1 name
    name=$(basename "$wheel")
    rm -rf "$root$folder" || return
    unfinished+=("$root$folder")
    in_root "$PYTHON" -m venv --system-site-packages "$folder" || return
    install -m 0644 "$wheel" "$root$folder/$name" || return
    # The dependencies are apt's packages: nothing is fetched. -I: not what lies in the current folder.
    in_root "$folder/bin/python" -I -m pip install --quiet --isolated --no-deps --no-index \
        --disable-pip-version-check "$folder/$name"
}

# Sets release to the environment that holds this wheel, or will. One that failed its proof lacks .complete; where it is
# in use all the same, the new one gets another name, because an environment works where it was made alone.
choose_release() {
    local again=$release-again used
    used=$(basename "$(readlink "$root$prefix/venv" || true)")
    case $used in
        "$release") [[ -e $root$prefix/releases/$release/.complete ]] || release=$again ;;
        "$again") [[ ! -e $root$prefix/releases/$again/.complete ]] || release=$again ;;
    esac
}

# After a power loss a file can be there under its name, and empty, unless it was synced before it got the name.
seal_release() { [[ -e $1/.complete ]] || { sync -f "$1" && touch "$1/.complete" && sync -f "$1"; }; }

# The environment, the rig file and the model, before anything is switched to them.
prove_release() {
    local folder=$1 told
    told=$(in_root "$folder/bin/irvis" --version) || return
    if [[ $told != "irvis $version" ]]; then
        say "    expected irvis $version, it calls itself '$told'"
        return 1
    fi
    in_root "$folder/bin/python" -I - "$RIG" ${model_to_prove:+"$model_to_prove"} <"$here/prove.py" || return
    # An image that is being made has no GPU.
    [[ -n $root ]] || examine "$folder"
}

# `irvis doctor` fuses a picture, and as the service's user it needs that user's rights to the GPU.
examine() {
    local as=()
    # The engine that it builds is the service's.
    ! $with_service || as=(runuser -u "$SERVICE_USER" -- env HOME=/nonexistent IRVIS_CACHE="$STATE_FOLDER")
    (cd / && "${as[@]}" "$1/bin/irvis" doctor) | sed 's/^./    &/'
}

switch_release() {
    local link=$root$prefix/venv previous folder
    previous=$(basename "$(readlink "$link" || true)")
    owe_restart
    ln -sfn "releases/$release" "$link.new" || return
    sync -f "$root$prefix" && mv -T "$link.new" "$link" && sync -f "$root$prefix" || return
    # The one before is kept for the service that still runs from it, and as a way back.
    for folder in "$root$prefix"/releases/*; do
        [[ ${folder##*/} == "$release" || ${folder##*/} == "$previous" ]] || rm -rf "$folder/.complete" "$folder"
    done
}

install_environment() {
    local folder
    choose_release
    folder=$prefix/releases/$release
    say "Environment"
    if [[ -e $root$folder/.complete ]]; then
        say "    unchanged, $folder holds this wheel"
    else
        change "make the environment $folder with the wheel in it" make_release "$folder"
    fi
    install_model
    install_rig
    if ! $is_dry; then
        say "Proof"
        if ! prove_release "$folder"; then
            # Else the next run would call it unchanged.
            rm -f "$root$folder/.complete"
            die "the new installation does not work, the lines above say why; correct that and run install.sh again; $prefix/venv is left as it was"
        fi
        seal_release "$root$folder" || die "could not write $folder to the disk; run install.sh again"
        unfinished=()
        ! $is_model_new || switch_model || die "could not rename the model to $prefix/models; run install.sh again"
    fi
    [[ $(readlink "$root$prefix/venv") != "releases/$release" ]] || return 0
    is_restart_needed=true
    change "switch $prefix/venv to $folder" switch_release
}
