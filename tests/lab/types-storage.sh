#!/bin/sh
# The block side of the lab's array for block_types.py: LUNs for each kind of pool, targets of their own for libvirt and for IPv6, a subsystem
# that asks for DH-HMAC-CHAP, one over RDMA.  Run in the storage VM: types-storage HOST-NQN HOST-KEY CTRL-KEY GUEST-DISK
set -eu
pool=/srv/array
volume=kvmblk01
target=/sys/kernel/config/target

image() {
    # image NAME MIB MKFS...: a formatted disk image, made once
    file=$pool/$volume/$1; size=$2; shift 2
    [ ! -e "$file" ] || return 0
    truncate -s "${size}M" "$file"
    loop=$(losetup -f --show "$file")
    "$@" "$loop" </dev/null || { losetup -d "$loop"; rm "$file"; return 1; }
    losetup -d "$loop"
}

lun() {
    # lun NUMBER IMAGE MIB SERIAL [COMPANY]: the WWID is 36, the company (001405) and the first 25 digits of the serial
    core=$target/core/fileio_$1/$2
    mkdir -p "$core"
    [ $# -lt 5 ] || echo "$5" > "$core/wwn/company_id"
    echo "fd_dev_name=$pool/$volume/$2,fd_dev_size=$(($3 << 20)),fd_buffered_io=1" > "$core/control"
    echo 1 > "$core/enable"
    echo "$4" > "$core/wwn/vpd_unit_serial"
    mkdir -p "$tpg/lun/lun_$1"
    ln -s "$core" "$tpg/lun/lun_$1/$2"
}

serves() {
    # serves IQN PORTAL...: a target of its own for what `lun` exports next, to every initiator
    iqn=$1; shift
    tpg=$target/iscsi/$iqn/tpgt_1
    mkdir -p "$tpg"
    for name in generate_node_acls cache_dynamic_acls; do echo 1 > "$tpg/attrib/$name"; done
    for name in authentication demo_mode_write_protect; do echo 0 > "$tpg/attrib/$name"; done
    for portal; do mkdir "$tpg/np/$portal"; done
    echo 1 > "$tpg/enable"
}

groups() {
    # groups GUEST-DISK DEVICE: the volume group of a pool, with a guest's disk in it and a disk on which a guest has made a volume group
    pvcreate -q "$2" && vgcreate -q vg_kvm "$2"
    lvcreate -qq -Wn -L 4m -n vm-lv vg_kvm && dd if="$1" of=/dev/vg_kvm/vm-lv bs=64k conv=notrunc status=none
    lvcreate -qq -Wn -L 20m -n guest-pv vg_kvm
    inner=--config=devices/scan_lvs=1
    pvcreate -q $inner /dev/vg_kvm/guest-pv && vgcreate -q $inner vg_inner /dev/vg_kvm/guest-pv
    lvcreate -qq $inner -Wn -an -L 4m -n lv0 vg_inner
    vgchange -qq $inner -an vg_inner; vgchange -qq -an vg_kvm
}

guests_own() {
    # guests_own DEVICE: a LUN on which a guest has made a volume group
    pvcreate -q "$1" && vgcreate -q vg_guest "$1" && lvcreate -qq -Wn -L 4m -n lv0 vg_guest
    vgchange -qq -an vg_guest
}

one_partition() {
    printf 'label: gpt\nsize=4M\n' | sfdisk -q "$1"
}

subsystem() {
    # subsystem NQN IMAGE UUID: one namespace
    nqn=$1
    mkdir -p "/sys/kernel/config/nvmet/subsystems/$nqn/namespaces/1"
    cd "/sys/kernel/config/nvmet/subsystems/$nqn/namespaces/1"
    printf %s "$pool/$volume/$2" > device_path
    echo "$3" > device_uuid
    echo 1 > buffered_io
    echo 1 > enable
}

port() {
    # port NUMBER TRANSPORT FAMILY ADDRESS SUBSYSTEM
    mkdir "/sys/kernel/config/nvmet/ports/$1"
    cd "/sys/kernel/config/nvmet/ports/$1"
    echo "$2" > addr_trtype
    echo "$3" > addr_adrfam
    echo "$4" > addr_traddr
    echo 4420 > addr_trsvcid
    ln -s "/sys/kernel/config/nvmet/subsystems/$5" "subsystems/$5"
}

host=$1; key=$2; ctrl_key=$3; disk=$4
[ -d "$pool/$volume" ] || btrfs -q subvolume create "$pool/$volume"
modprobe -a loop target_core_mod target_core_file iscsi_target_mod nvmet-tcp nvmet-rdma rdma_rxe dm-mod
for net in 1 2; do
    echo 0 > "/proc/sys/net/ipv6/conf/eth$net/disable_ipv6"
    ip -6 addr replace "fd09:$net::10/64" dev "eth$net" nodad
done
image lvm0 48 groups "$disk"
image guest0 24 guests_own
image disk0 24 one_partition
image fs0 24 mkfs.ext4 -q
image gfs0 96 mkfs.gfs2 -q -O -p lock_dlm -t kvmgfs:g1 -j 1 -J 8
image lib0 8 true
image six0 24 mkfs.ext4 -q
image sec0 24 mkfs.ext4 -q -b 4096
image rdma0 24 mkfs.ext4 -q -b 4096
# NetApp's own WWIDs: company 00a098, a zero, and the serial number of twelve characters
serves iqn.2003-01.org.lab:types 10.9.1.10:3260 10.9.2.10:3260
number=0
for one in lvm0:48 guest0:24 disk0:24 fs0:24 gfs0:96; do
    lun $number ${one%:*} ${one#*:} "0$(printf 'labserial%03d' $number | od -An -tx1 | tr -d ' \n')" 0xa098
    number=$((number + 1))
done
serves iqn.2003-01.org.lab:libvirt 10.9.1.10:3260
lun 5 lib0 8 0000000000000000000000b05
serves iqn.2003-01.org.lab:six "[fd09:1::10]:3260" "[fd09:2::10]:3260"
lun 6 six0 24 0000000000000000000000b06
subsystem nqn.2020-01.org.lab:secret sec0 6c1e5a0e-0000-4000-8000-0000000000b1
cd /sys/kernel/config/nvmet
mkdir "hosts/$host"
printf %s "$key" > "hosts/$host/dhchap_key"
printf %s "$ctrl_key" > "hosts/$host/dhchap_ctrl_key"
ln -s "$PWD/hosts/$host" "subsystems/$nqn/allowed_hosts/$host"
port 11 tcp ipv6 fd09:1::10 "$nqn"
port 12 tcp ipv6 fd09:2::10 "$nqn"
rdma link add rxe1 type rxe netdev eth1
subsystem nqn.2020-01.org.lab:rdma rdma0 6c1e5a0e-0000-4000-8000-0000000000c1
echo 1 > "/sys/kernel/config/nvmet/subsystems/$nqn/attr_allow_any_host"
port 21 rdma ipv4 10.9.1.10 "$nqn"
