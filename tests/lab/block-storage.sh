#!/bin/sh
# The block side of the lab's array: LUNs and a namespace in a btrfs subvolume of their own, by LIO on two iSCSI portals and by nvmet on two
# NVMe/TCP ports.  Run in the storage VM: block-storage up | chap USER PASSWORD [USER-IN PASSWORD-IN] | nochap; and by the array:
# map KIND IMAGE IDENTITY ACCESS HOST... | unmap KIND IMAGE IDENTITY ACCESS
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
    # lun NUMBER IMAGE NAME SERIAL: the WWID is ONTAP's, 3600a0980 and its 12 characters in hex
    core=$target/core/fileio_$1/$3
    mkdir -p "$core"
    echo "fd_dev_name=$2,fd_dev_size=$(stat -c %s "$2"),fd_buffered_io=1" > "$core/control"
    echo 1 > "$core/enable"
    echo 0x00a098 > "$core/wwn/company_id"
    echo "0$(printf %s "$4" | od -An -tx1 | tr -d ' \n')" > "$core/wwn/vpd_unit_serial"
    mkdir -p "$tpg/lun/lun_$1"
    ln -s "$core" "$tpg/lun/lun_$1/$3"
}

subsystem() {
    # subsystem NQN IMAGE UUID: one namespace, shown on both ports
    mkdir "subsystems/$1"
    echo 1 > "subsystems/$1/attr_allow_any_host"
    mkdir "subsystems/$1/namespaces/1"
    printf %s "$2" > "subsystems/$1/namespaces/1/device_path"
    echo "$3" > "subsystems/$1/namespaces/1/device_uuid"
    echo 1 > "subsystems/$1/namespaces/1/buffered_io"
    echo 1 > "subsystems/$1/namespaces/1/enable"
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
    lun 0 "$pool/$volume/lun0" lun0 lab-LUN-0000
    lun 1 "$pool/$volume/lun1" lun1 lab-LUN-0001
    for name in generate_node_acls cache_dynamic_acls; do echo 1 > "$tpg/attrib/$name"; done
    for name in authentication demo_mode_write_protect; do echo 0 > "$tpg/attrib/$name"; done
    mkdir "$tpg/np/10.9.1.10:3260" "$tpg/np/10.9.2.10:3260"
    echo 1 > "$tpg/enable"
    cd /sys/kernel/config/nvmet
    subsystem "$nqn" "$pool/$volume/ns1" 6c1e5a0e-0000-4000-8000-0000000000a1
    for net in 1 2; do
        mkdir "ports/$net"
        echo tcp > "ports/$net/addr_trtype"
        echo ipv4 > "ports/$net/addr_adrfam"
        echo "10.9.$net.10" > "ports/$net/addr_traddr"
        echo 4420 > "ports/$net/addr_trsvcid"
        ln -s "$PWD/subsystems/$nqn" "ports/$net/subsystems/$nqn"
    done
    ;;
map)
    if [ "$2" = lun ]; then
        number=100
        while [ -e "$tpg/lun/lun_$number" ]; do number=$((number + 1)); done
        lun "$number" "$3" "$4" "$4"
    else
        cd /sys/kernel/config/nvmet
        subsystem "$5" "$3" "$4"
        for net in 1 2; do ln -s "$PWD/subsystems/$5" "ports/$net/subsystems/$5"; done
    fi
    ;;
unmap)
    if [ "$2" = lun ]; then
        for link in "$tpg"/lun/lun_*/"$4"; do rm "$link"; rmdir "${link%/*}"; done
        rmdir "$target"/core/fileio_*/"$4"
    else
        cd /sys/kernel/config/nvmet
        for net in 1 2; do rm "ports/$net/subsystems/$5"; done
        echo 0 > "subsystems/$5/namespaces/1/enable"
        rmdir "subsystems/$5/namespaces/1" "subsystems/$5"
    fi
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
