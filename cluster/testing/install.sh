#!/bin/sh
# Install SLURM and munge for the tests, where this user may: Debian or Ubuntu, as root. Says so where it may not; the
# tests that need them are skipped then. Nothing is started: each test run starts its own, and ends it.
PACKAGES="slurmctld slurmd slurm-client munge"

PATH="$PATH:/usr/sbin:/sbin"
missing=
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "SLURM is not installed (missing:$missing), and may not be from here; its tests are skipped." >&2
    echo "An administrator can run: apt-get install $PACKAGES" >&2
    exit 0
fi
echo "installing $PACKAGES for the tests of SLURM jobs" >&2
if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $PACKAGES; } >/dev/null; then
    echo "SLURM could not be installed; its tests are skipped." >&2
fi
