#!/usr/bin/env bash
# Installs the Debian packages that the tests and the live runtime use, as root or with sudo; else names what is missing.
set -euo pipefail

packages=(
  python3-venv python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gir1.2-gst-rtsp-server-1.0
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x shellcheck qemu-user
)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "note: this system has no apt; live video needs GStreamer 1.20+ with PyGObject, install them by hand"
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
  exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo -n)
else
  echo "note: not root and sudo asks for a password, so these Debian packages stay missing: ${missing[*]}"
  echo "note: what needs them (live video, some tests) is left out and named; to add them:"
  echo "      sudo apt-get install ${missing[*]}"
  exit 0
fi

echo "installing Debian packages: ${missing[*]}"
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
}
if ! apt update || ! apt install -y --no-install-recommends "${missing[@]}" >/dev/null; then
  echo "note: apt-get failed (see above), so some of these stay missing: ${missing[*]}"
  echo "note: what needs them (live video, some tests) is left out and named"
fi
