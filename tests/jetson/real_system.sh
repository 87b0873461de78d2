#!/bin/bash
# real_system.sh SHARE SITE: boots this machine's own systemd, as process 1 of namespaces of its own, over a throwaway
# copy of its file system, runs SHARE/driver.sh in it as a service, and ends with it. Nothing of the machine is
# changed. SHARE is /tmp/share in there, SITE (Python packages) is /opt/site. Called below `unshare` by
# test_real_system.py; 77 is the code for "cannot be done here".
set -euo pipefail

readonly SHARE=$1 SITE=$2
mount --make-rprivate /
work=$(mktemp -d)
mount -t tmpfs tmpfs "$work" || exit 77
mkdir "$work/upper" "$work/work" "$work/root"
root=$work/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$root" || exit 77

mount -t proc proc "$root/proc" || exit 77
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys" || exit 77
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" || exit 77
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir -p "$root/tmp/share" "$root/opt/site" "$root/dev/shm" "$root/oldroot"
mount --bind "$SHARE" "$root/tmp/share"
mount --bind "$SITE" "$root/opt/site"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"
# What the service may open (as nvmap), and what it may not: two devices that anybody can open.
mknod -m 666 "$root/dev/nvmap" c 10 200 || exit 77
mknod -m 666 "$root/dev/fuse" c 10 229 || exit 77

# No service of this machine starts in there.
rm -rf "$root"/etc/systemd/system/*.wants "$root"/lib/systemd/system/*.wants
cat >"$root/etc/systemd/system/test.target" <<'END'
[Unit]
DefaultDependencies=no
Wants=test.service
END
cat >"$root/etc/systemd/system/test.service" <<'END'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/bash /tmp/share/driver.sh
StandardOutput=file:/tmp/share/driver.log
StandardError=inherit
ExecStopPost=/bin/systemctl --no-block exit
END

cd "$root"
pivot_root . oldroot
umount -l /oldroot
export container=irvis-test PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec /lib/systemd/systemd --system --unit=test.target --log-target=null </dev/null >/dev/null 2>&1
