# SPDX-License-Identifier: BSD-3-Clause
# Fresh Debian roots, and commands in them. To be sourced after lib.sh.
# shellcheck shell=bash

debian_mirror() { # the machine's own
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        grep -oE '(https?)://[^ ]*/debian/?( |$)' | head -1 | tr -d ' '
}

# make_root SUITE DIR: a minimal Debian, made with debootstrap; nothing where there is one already.
# OTA_ROOTS may name a folder that keeps them, packed, for the next time.
make_root() {
    local suite=$1 root=$2 packed=${OTA_ROOTS:+$OTA_ROOTS/$1.tar}
    [[ ! -e $root/etc/debian_version ]] || return 0
    ((EUID == 0)) || die "debootstrap and chroot need root"
    need_packages debootstrap
    mkdir -p "$root"
    if [[ $packed && -e $packed ]]; then
        tar -C "$root" -xf "$packed"
        return
    fi
    say "debootstrap $suite from $(debian_mirror) into $root"
    # A suite that is newer than debootstrap is made like unstable.
    [[ -e /usr/share/debootstrap/scripts/$suite ]] ||
        ln -s sid "/usr/share/debootstrap/scripts/$suite"
    nice -n 19 debootstrap --variant=minbase "$suite" "$root" "$(debian_mirror)" >"$root.log" 2>&1 || {
        tail -20 "$root.log"
        die "debootstrap failed"
    }
    rm -f "$root.log" "$root"/var/cache/apt/archives/*.deb
    # What an installed system has, and debootstrap leaves to the installer.
    printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
    # As in container images: an installed service isn't started in a chroot.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    # A mirror may be a snapshot, whose lists are out of date.
    echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/99-snapshot"
    [[ -z $packed ]] || tar -C "$root" -cf "$packed" .
}

# remove_root DIR: files alone; in_root's mounts are in namespaces of their own.
remove_root() { rm -rf --one-file-system "$1"; }

# in_root DIR COMMAND...: runs the command in /src there. Its processes and mounts end with it.
in_root() {
    local root=$1
    shift
    mkdir -p "$root/src"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    # Like mirror and resolver, whom the machine trusts for npm's registry is the machine's matter.
    [[ ! -e ${NODE_EXTRA_CA_CERTS:-} ]] || cp "$NODE_EXTRA_CA_CERTS" "$root/npm-ca.crt"
    # shellcheck disable=SC2016 # the inner shell expands these
    unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" \
        bash -c 'mkdir -p "$0/dev/shm" && mount -t tmpfs shm "$0/dev/shm" &&
            mount -t devpts -o ptmxmode=666,newinstance devpts "$0/dev/pts" &&
            ln -sf pts/ptmx "$0/dev/ptmx" && exec chroot "$0" "$@"' \
        "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        NODE_EXTRA_CA_CERTS=/npm-ca.crt DEBIAN_FRONTEND=noninteractive \
        bash -c 'cd /src && exec "$@"' bash "$@"
}

# install_in_root DIR PACKAGE...
install_in_root() {
    local root=$1
    shift
    in_root "$root" apt-get -q -q update &&
        in_root "$root" apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"
}
