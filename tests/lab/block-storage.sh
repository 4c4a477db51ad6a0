#!/bin/sh
# The block side of the lab's array: LUNs and a namespace in a btrfs subvolume of their own, by LIO on two iSCSI portals and by nvmet on two
# NVMe/TCP ports.  Run in the storage VM: block-storage up | chap USER PASSWORD [USER-IN PASSWORD-IN] | nochap
set -eu
pool=/srv/array
volume=kvmblk01
iqn=iqn.2003-01.org.lab:array
nqn=nqn.2020-01.org.lab:array
target=/sys/kernel/config/target
tpg=$target/iscsi/$iqn/tpgt_1

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
    # lun NUMBER IMAGE MIB SERIAL: the WWID is 36001405 and the first 25 digits of the serial
    core=$target/core/fileio_$1/$2
    mkdir -p "$core"
    echo "fd_dev_name=$pool/$volume/$2,fd_dev_size=$(($3 << 20)),fd_buffered_io=1" > "$core/control"
    echo 1 > "$core/enable"
    echo "$4" > "$core/wwn/vpd_unit_serial"
    mkdir -p "$tpg/lun/lun_$1"
    ln -s "$core" "$tpg/lun/lun_$1/$2"
}

case $1 in
up)
    [ -d "$pool/$volume" ] || btrfs -q subvolume create "$pool/$volume"
    modprobe -a loop target_core_mod target_core_file iscsi_target_mod nvmet-tcp
    ocfs2="mkfs.ocfs2 -q -F -N 2 -J size=4M --cluster-stack=o2cb --cluster-name=kvmcl01"
    image lun0 256 $ocfs2
    image lun1 320 mkfs.xfs -q -K
    # a namespace of nvmet has blocks of 4096 bytes, as one of ONTAP has
    image ns1 256 $ocfs2 -b 4096 -C 4096
    mkdir -p "$tpg"
    lun 0 lun0 256 0000000000000000000000a00
    lun 1 lun1 320 0000000000000000000000a01
    for name in generate_node_acls cache_dynamic_acls; do echo 1 > "$tpg/attrib/$name"; done
    for name in authentication demo_mode_write_protect; do echo 0 > "$tpg/attrib/$name"; done
    mkdir "$tpg/np/10.9.1.10:3260" "$tpg/np/10.9.2.10:3260"
    echo 1 > "$tpg/enable"
    cd /sys/kernel/config/nvmet
    mkdir "subsystems/$nqn"
    echo 1 > "subsystems/$nqn/attr_allow_any_host"
    mkdir "subsystems/$nqn/namespaces/1"
    cd "subsystems/$nqn/namespaces/1"
    printf %s "$pool/$volume/ns1" > device_path
    echo 6c1e5a0e-0000-4000-8000-0000000000a1 > device_uuid
    echo 1 > buffered_io
    echo 1 > enable
    cd /sys/kernel/config/nvmet
    for net in 1 2; do
        mkdir "ports/$net"
        echo tcp > "ports/$net/addr_trtype"
        echo ipv4 > "ports/$net/addr_adrfam"
        echo "10.9.$net.10" > "ports/$net/addr_traddr"
        echo 4420 > "ports/$net/addr_trsvcid"
        ln -s "$PWD/subsystems/$nqn" "ports/$net/subsystems/$nqn"
    done
    ;;
chap)
    printf %s "$2" > "$tpg/auth/userid"
    printf %s "$3" > "$tpg/auth/password"
    if [ $# -gt 3 ]; then
        printf %s "$4" > "$tpg/auth/userid_mutual"
        printf %s "$5" > "$tpg/auth/password_mutual"
    fi
    echo 1 > "$tpg/attrib/authentication"
    ;;
nochap)
    echo 0 > "$tpg/attrib/authentication"
    ;;
*)
    echo "usage: block-storage up | chap USER PASSWORD [USER-IN PASSWORD-IN] | nochap" >&2
    exit 2
    ;;
esac
