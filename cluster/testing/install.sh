#!/bin/sh
# Install SLURM and munge for the tests, and slurmdbd and MariaDB for its accounting, where this user may: Debian or
# Ubuntu, as root. Says so where it may not; the tests that need them are skipped then. Of MariaDB it is the packages
# without a service. Nothing is started: each test run starts its own, and ends it.
SLURM="slurmctld slurmd slurm-client munge"
ACCOUNTING="slurmdbd mariadb-server-core mariadb-client-core"

PATH="$PATH:/usr/sbin:/sbin"

install() { # what it is for, its packages, its programs
    missing=
    for program in $3; do
        command -v "$program" >/dev/null || missing="$missing $program"
    done
    [ -z "$missing" ] && return
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "$1 is not installed (missing:$missing), and may not be from here; its tests are skipped." >&2
        echo "An administrator can run: apt-get install --no-install-recommends $2" >&2
        return
    fi
    echo "installing $2 for the tests of SLURM jobs" >&2
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $2; } >/dev/null; then
        echo "$1 could not be installed; its tests are skipped." >&2
    fi
}

install SLURM "$SLURM" "munged slurmctld slurmd sbatch"
# By itself: where a distribution names these packages differently, there is still SLURM.
install "SLURM's accounting" "$ACCOUNTING" "slurmdbd mariadbd mariadb-install-db my_print_defaults"
