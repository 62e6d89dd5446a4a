#!/bin/sh
# Starts a real Slurm on this host, in a temporary folder, and preempts two runs
# of a sweep: see preempt.py. It needs root, Debian's slurm-wlm and munge,
# submitit, and the teacher of configs/teachers/vgg11bn_digits.py. Run it from
# the root of the repository; it takes minutes and writes slurm.json.
set -e
folder=$(mktemp -d)
host=$(hostname -s)
export SLURM_CONF="$folder/slurm.conf" OMP_NUM_THREADS=1 PYTHONPATH="$PWD:$PYTHONPATH"
mkdir "$folder/state" "$folder/spool"
chmod 711 "$folder"
dd if=/dev/urandom of="$folder/key" bs=1024 count=1 2>/dev/null
chmod 600 "$folder/key"
cat >"$SLURM_CONF" <<END
ClusterName=one
SlurmctldHost=$host
SlurmUser=root
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=60
NodeName=$host CPUs=$(nproc --all) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
munged --foreground --force --key-file="$folder/key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
    --seed-file="$folder/seed" &
munged=$!
slurmctld -D -f "$SLURM_CONF" >"$folder/slurmctld.log" 2>&1 &
slurmctld=$!
slurmd -D -f "$SLURM_CONF" >"$folder/slurmd.log" 2>&1 &
slurmd=$!
trap 'kill $slurmd $slurmctld $munged' EXIT
for second in $(seq 60); do
    if sinfo -h -o %t 2>/dev/null | grep -q idle; then break; fi
    sleep 1
done
sinfo
"${PYTHON:-python}" docs/measured/sweep/preempt.py "$folder/runs" docs/measured/sweep/slurm.json
