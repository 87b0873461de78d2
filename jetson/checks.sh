#!/bin/bash
# What must hold before install.sh changes anything. Sourced by it; nothing here changes the system.
# shellcheck disable=SC2034,SC2154  # the variables are install.sh's
# shellcheck disable=SC2016  # ${...} is dpkg-query's

# Room for the apt packages, two environments and TensorRT's engines: a round figure, not a measurement.
readonly NEEDED_MB=2048
# "a|b": satisfied by either, b is what is installed. NVIDIA's own OpenCV package is libopencv-python.
readonly PACKAGES=(
    python3-venv python3-numpy "libopencv-python|python3-opencv" python3-libnvinfer python3-gi
    gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
    gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x
    gir1.2-gst-rtsp-server-1.0 glib-networking
)

# Sets jetpack from L4T's number, or says why it will not do (jetson-stats' table, NVIDIA's release notes).
find_jetpack() {
    local flash="flash JetPack 6.2 or 7.2"
    case $1 in
        36.4.3) jetpack=6.2 ;;
        36.4.4 | 36.4.7) jetpack=6.2.1 ;;
        36.5.0) jetpack=6.2.2 ;;
        36.5.2) jetpack=6.2.3 ;;
        36.4.[3-9] | 36.4.[1-9][0-9] | 36.5.*) jetpack=6.2.x ;;
        39.2.0) jetpack=7.2 ;;
        39.2.1) jetpack=7.2.1 ;;
        39.2.2) jetpack=7.2.2 ;;
        39.2.*) jetpack=7.2.x ;;
        36.4.0) die "expected JetPack 6.2 or 7.2, L4T $1 is JetPack 6.1; upgrade to 6.2 as NVIDIA's notes on it say" ;;
        36.3.*) die "expected JetPack 6.2 or 7.2, L4T $1 is 6.0, whose TensorRT 8.6 is too old; $flash" ;;
        3[2-5].*) die "expected JetPack 6.2 or 7.2, L4T $1 is JetPack 5 or older, whose Python is too old; $flash" ;;
        38.*) die "expected JetPack 6.2 or 7.2, L4T $1 is 7.0 or 7.1, which is for Thor alone; $flash" ;;
        39.0.*) die "expected JetPack 6.2 or 7.2, L4T $1 is the early access of 7.2; $flash" ;;
        *) die "expected JetPack 6.2 or 7.2 (L4T 36.4.3 to 36.5.x, 39.2.x), got L4T $1; $flash" ;;
    esac
}

check_system() {
    local file=$root/etc/nv_tegra_release compatible=$root/proc/device-tree/compatible line l4t
    say "System"
    [[ -r $file ]] || die "expected a Jetson, $file is missing; run this on the board, or name its system with --root"
    line=$(head -n 1 "$file")
    [[ $line =~ R([0-9]+)\ \(release\),\ REVISION:\ ([0-9]+)\.([0-9]+) ]] ||
        die "$file: expected '# R36 (release), REVISION: 4.3, ...', got '$line'; is it NVIDIA's?"
    l4t=${BASH_REMATCH[1]}.${BASH_REMATCH[2]}.${BASH_REMATCH[3]}
    find_jetpack "$l4t"
    if [[ -r $compatible ]] && ! tr '\0' '\n' <"$compatible" | grep -qx nvidia,tegra234; then
        die "expected a Jetson Orin (tegra234), got $(tr '\0' ' ' <"$compatible"); irvis knows no other board"
    fi
    say "    L4T $l4t is JetPack $jetpack"
    python_version=$(in_root "$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
        die "expected $PYTHON, it does not run; install it with: sudo apt-get install python3"
    [[ $python_version =~ ^3\.[1-9][0-9]$ ]] ||
        die "expected Python 3.10 or later, $PYTHON is $python_version; JetPack 6 and 7 bring 3.10 and 3.12"
}

# Prints those of the packages that are installed, one a line.
installed_of() {
    in_root dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p' || true
}

check_tensorrt() {
    local version source="enable NVIDIA's apt source, run 'sudo apt-get update' and try again"
    say "TensorRT"
    if [[ -n $(installed_of python3-libnvinfer) ]]; then
        version=$(in_root dpkg-query -W -f '${Version}' python3-libnvinfer)
    else
        version=$(in_root apt-cache policy python3-libnvinfer | sed -n 's/^ *Candidate: //p')
        [[ $version =~ ^[0-9] ]] || die "expected TensorRT, apt knows no package python3-libnvinfer; $source"
    fi
    if ! [[ $version =~ ^([0-9]+)\.([0-9]+)\. ]] || ((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2] < 10003)); then
        die "expected TensorRT 10.3 or later, python3-libnvinfer is $version; $source"
    fi
    say "    python3-libnvinfer $version"
}

check_space() {
    local folder=$root$prefix free_mb
    say "Disk"
    while [[ ! -d $folder ]]; do folder=$(dirname "$folder"); done
    free_mb=$(df --output=avail -BM "$folder" | tail -n 1 | tr -dc 0-9)
    ((free_mb >= NEEDED_MB)) ||
        die "expected $NEEDED_MB MB free in $folder, got $free_mb MB; free some, or choose another --prefix"
    say "    $free_mb MB free"
}

# Sets wheel and release, the name of the environment that this wheel becomes.
check_wheel() {
    local found=()
    say "Wheel"
    if [[ -z $wheel ]]; then
        mapfile -t found < <(realpath -qe -- ./*.whl dist/*.whl "$here"/*.whl |
            grep '/irvis_runtime-[^/]*$' | sort -u)
        ((${#found[@]} > 0)) ||
            die "expected an irvis_runtime-*.whl, found none; build one (README.md) and name it with --wheel"
        ((${#found[@]} == 1)) || die "expected one wheel, found ${#found[@]}: ${found[*]}; name one with --wheel"
        wheel=${found[0]}
    fi
    [[ -f $wheel && $(basename "$wheel") =~ ^irvis_runtime-([0-9A-Za-z.+!]+)-py3-none-any\.whl$ ]] ||
        die "--wheel: expected a file irvis_runtime-VERSION-py3-none-any.whl, got $wheel; name another"
    version=${BASH_REMATCH[1]}
    release=$version-py$python_version-$(sha256sum <"$wheel" | head -c 12)
    say "    $wheel"
}

check_rig() {
    [[ -n $rig ]] || return 0
    [[ -f $rig ]] || die "--rig: expected a file, $rig is none; name another"
    if [[ -e $root$RIG ]] && ! cmp -s "$rig" "$root$RIG"; then
        die "--rig: $root$RIG exists and differs, and is never overwritten; edit it, or move it away first"
    fi
}

check_model() {
    [[ -n $model ]] || return 0
    [[ -f $model/manifest.json ]] ||
        die "--model: expected a model directory, $model/manifest.json is missing; name another"
    model=$(cd "$model" && pwd)
    [[ $(basename "$model") =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
        die "--model: expected a folder name of letters, digits and . _ -, got '$(basename "$model")'; rename it"
}

# Sets missing: the apt packages that are not installed.
find_missing_packages() {
    local names=("${PACKAGES[@]}") singly name installed
    # 3.11 and later read TOML themselves.
    [[ $python_version != 3.10 ]] || names+=(python3-tomli)
    mapfile -t singly < <(printf '%s\n' "${names[@]}" | tr '|' '\n')
    installed=$(installed_of "${singly[@]}")
    for name in "${names[@]}"; do
        grep -qxE "${name//./\\.}" <<<"$installed" || missing+=("${name##*|}")
    done
}
