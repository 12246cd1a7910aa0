#!/bin/busybox sh
# The first process of a VM of the matrix: prepares the machine, runs /etc/netcause-vm/command, prints its exit code.
# The kernel's own messages go to the first serial line, everything from here to the second.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/home TERM=linux
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /home /etc
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
ln -s /run /var/run 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
. /etc/netcause-vm/settings
# The host kills this machine at its time limit; without the host's process it ends by itself.
(sleep $((NETCAUSE_VM_SECONDS + 30)); reboot -f) >/dev/null 2>&1 &
ulimit -H -n 65536
ulimit -n 65536
ip link set lo up
# Before the lab runs, so that parallel scenarios do not wait for it. Some kernels have some of them built in.
for module in $NETCAUSE_VM_MODULES; do modprobe -q "$module"; done
cd /home
if [ -n "$NETCAUSE_VM_SHELL" ]; then
    exec 0</dev/ttyS1 1>/dev/ttyS1 2>&1
    echo "kernel $(uname -r); the lab's command is in /etc/netcause-vm/command; 'reboot -f' or Ctrl-A X ends this machine"
    setsid cttyhack busybox sh -l
    reboot -f
fi
stty -F /dev/ttyS1 raw -echo
exec 0<"${NETCAUSE_VM_INPUT:-/dev/null}" 1>/dev/ttyS1 2>&1
echo "$NETCAUSE_VM_MARK begin $(cut -d' ' -f1 /proc/uptime) $(uname -r)"
/bin/sh /etc/netcause-vm/command
echo "$NETCAUSE_VM_MARK end $?"
sleep 5
reboot -f
