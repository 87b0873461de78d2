#!/bin/sh
# Second half of the guest's start: kernel file systems, the remaining modules, udev, and the agent.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
busybox ip link set lo up
/lib/systemd/systemd-udevd --daemon
for module in $LATE; do
  # shellcheck disable=SC2086
  case $module in
    */vivid.ko) busybox insmod "$module" $VIVID_OPTIONS ;;
    *) busybox insmod "$module" ;;
  esac
done
udevadm settle
busybox stty -F /dev/ttyS1 raw -echo
"$PYTHON" -S "$AGENT" </dev/ttyS1 >/dev/ttyS1
poweroff -f || busybox poweroff -f
