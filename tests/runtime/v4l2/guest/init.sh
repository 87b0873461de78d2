#!/busybox sh
# shellcheck shell=dash
# The guest's first program: the host's files and the packages under an overlay in memory, then start.sh.
set -e
# shellcheck source=/dev/null
. /settings
b=/busybox
$b mkdir -p /proc /host /packages /memory /root
$b mount -t proc proc /proc
for module in $EARLY; do
  $b insmod "/$module"
done
options=trans=virtio,version=9p2000.L,msize=524288
$b mount -t 9p -o "ro,cache=loose,$options" host /host
$b mount -t 9p -o "ro,cache=loose,$options" packages /packages
$b mount -t tmpfs memory /memory
$b mkdir /memory/upper /memory/work
$b mount -t overlay -o lowerdir=/packages:/host,upperdir=/memory/upper,workdir=/memory/work overlay /root
$b mount -t 9p -o "$options" shared "/root$SHARED"
$b umount /proc
exec $b switch_root /root /bin/sh "$START"
