#!/bin/bash
# What test_real_system.py does inside the machine that real_system.sh boots. Each `run NAME COMMAND` leaves
# NAME.out (both streams) and NAME.rc in /tmp/share, which the tests read.
set -uo pipefail
cd /tmp/share || exit 1
export PATH=/tmp/share/bin:/usr/sbin:/usr/bin:/sbin:/bin

run() {
    local name=$1
    shift
    "$@" >"$name.out" 2>&1 </dev/null
    echo $? >"$name.rc"
}
wait_until() {
    local seconds=$1
    shift
    for ((try = 0; try < 4 * seconds; try++)); do
        "$@" && return
        sleep 0.25
    done
}
is_active() { systemctl is-active --quiet irvis-live; }
pid() { systemctl show irvis-live --property MainPID --value; }
is_restarted() { is_active && (($(pid) != first)); }
is_failed() { systemctl is-failed --quiet irvis-live; }

# A board of which only these are made up: its release, its TensorRT, and apt's knowledge of both.
echo '# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8' >/etc/nv_tegra_release
echo /opt/site >/usr/lib/python3/dist-packages/site-of-the-test.pth
echo '__version__ = "10.3.0"' >/usr/lib/python3/dist-packages/tensorrt.py
mkdir -p /etc/systemd/system/irvis-live.service.d
printf '[Service]\nStandardError=append:/tmp/share/service.log\nWatchdogSec=20\nRestartSec=1\n' \
    >/etc/systemd/system/irvis-live.service.d/test.conf

wheel=$(echo ./irvis_runtime-*.whl)
run install ./jetson/install.sh --wheel "$wheel" --rig rig.toml --start
wait_until 60 is_active
first=$(pid)
run again ./jetson/install.sh --wheel "$wheel" --rig rig.toml --start
wait_until 15 grep -q '"frames": [1-9]' /run/irvis/status.json
run status cat /run/irvis/status.json
run process cat "/proc/$first/status"
run show systemctl show irvis-live --property User,NRestarts,StatusText
run rights stat -c '%a %U %G' /etc/irvis/rig.toml /var/lib/irvis /run/irvis/status.json

# A run that was cut off: behind a switch, and behind the writing of a unit.
touch /run/irvis-restart-owed
echo '# touched' >>/etc/systemd/system/irvis-argus.service
systemctl daemon-reload
cp jetson/irvis-argus.service /etc/systemd/system/irvis-argus.service
run cut_off ./jetson/install.sh --wheel "$wheel" --rig rig.toml
wait_until 60 is_restarted
run cut_off_restart test "$(pid)" != "$first"
run cut_off_reload systemctl show irvis-argus.service --property NeedDaemonReload
run cut_off_over ./jetson/install.sh --wheel "$wheel" --rig rig.toml
first=$(pid)

mkdir -p broken
head -c 1000 "$wheel" >broken/irvis_runtime-9.9.9-py3-none-any.whl
run broken ./jetson/install.sh --wheel broken/irvis_runtime-9.9.9-py3-none-any.whl
run unharmed test "$(pid)" = "$first"

packages=/usr/lib/python3/dist-packages
mv $packages/tensorrt.py tensorrt.away
run no_tensorrt ./jetson/install.sh --wheel "$wheel"
mv tensorrt.away $packages/tensorrt.py
for backend in onnxruntime openvino; do
    echo 'raise ImportError("hidden by the test")' >$packages/$backend.py
done
run not_ready ./jetson/install.sh --wheel "$wheel"
rm $packages/onnxruntime.py $packages/openvino.py

kill -STOP "$first"
wait_until 90 is_restarted
run watchdog systemctl show irvis-live --property NRestarts,ActiveState

# A wrong rig is given up. Corrected, it is not started again at once, unless that is asked for.
cp -p /etc/irvis/rig.toml right.toml
echo 'frobnicate = 1' >>/etc/irvis/rig.toml
systemctl restart irvis-live
wait_until 90 is_failed
run given_up systemctl show irvis-live --property ActiveState
cp -p right.toml /etc/irvis/rig.toml
run refused systemctl restart irvis-live
run reset systemctl reset-failed irvis-live
run reset_restart systemctl restart irvis-live
echo 'frobnicate = 1' >>/etc/irvis/rig.toml
systemctl restart irvis-live
wait_until 90 is_failed
cp -p right.toml /etc/irvis/rig.toml
run started_anew ./jetson/install.sh --wheel "$wheel" --rig right.toml --start
wait_until 60 is_active
run started_anew_is systemctl is-active irvis-live

sed -e 's|^ExecStart=.*|ExecStart=/tmp/share/probe.py|' -e 's/^Type=.*/Type=oneshot/' -e '/^Restart=/d' -e '/^Condition/d' \
    /etc/systemd/system/irvis-live.service >/etc/systemd/system/probe.service
mkdir -p /etc/systemd/system/probe.service.d
printf '[Service]\nStandardOutput=file:/tmp/share/probe.json\n' >/etc/systemd/system/probe.service.d/test.conf
systemctl daemon-reload
run probe systemctl start probe.service
# README.md's way to find out whether the list of devices is to blame.
printf '[Service]\nStandardOutput=file:/tmp/share/unlisted.json\nDevicePolicy=auto\nDeviceAllow=\nProtectClock=no\n' \
    >/etc/systemd/system/probe.service.d/test.conf
systemctl daemon-reload
run unlisted systemctl start probe.service

# An Argus of which it is known how often it was started.
printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c "echo started >>/tmp/share/argus.out"\n' \
    >/etc/systemd/system/nvargus-daemon.service
systemctl daemon-reload
systemctl start nvargus-daemon
# The probe had the same /run/irvis, and took it along.
# README.md's way to have it not ask.
mkdir -p /etc/systemd/system/irvis-live.service.d
printf '[Service]\nEnvironment=IRVIS_ARGUS_REQUEST=\n' >/etc/systemd/system/irvis-live.service.d/silent.conf
systemctl daemon-reload
systemctl restart irvis-live
wait_until 60 is_active
run silent grep -az '^IRVIS_ARGUS_REQUEST=' "/proc/$(pid)/environ"
rm /etc/systemd/system/irvis-live.service.d/silent.conf
systemctl daemon-reload
systemctl restart irvis-live
wait_until 60 is_active
is_answered() { [[ ! -e /run/irvis/restart-argus && $(systemctl is-active irvis-argus.service) != activating ]]; }
run argus_waits systemctl is-active irvis-argus.path
run argus_request runuser -u irvis -- touch /run/irvis/restart-argus
wait_until 20 is_answered
run argus_answer systemctl show irvis-argus.service --property Result
rm /etc/systemd/system/nvargus-daemon.service
systemctl daemon-reload
systemctl stop nvargus-daemon
runuser -u irvis -- touch /run/irvis/restart-argus
wait_until 20 is_answered
run argus_failure systemctl show irvis-argus.service --property Result
run argus_goes_on systemctl is-active irvis-argus.path

run uninstall ./jetson/install.sh --uninstall
run gone systemctl is-active irvis-live
run left find /opt/irvis /etc/systemd/system -name '*irvis*'
# An installation from before there were units for Argus.
cp jetson/irvis-live.service /etc/systemd/system
systemctl daemon-reload
run uninstall_old ./jetson/install.sh --uninstall
run left_old find /etc/systemd/system -name 'irvis*' -type f
