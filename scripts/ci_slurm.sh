#!/usr/bin/env bash
# A Slurm of one machine, of Debian's own packages, for the tests: `scripts/ci_slurm.sh start`, or `stop`.
# It needs root and apt-get. Its files lie in a folder of its own; SLURM_CONF names its configuration.
set -euo pipefail
place=${EBBENCH_SLURM:-/tmp/ebbench-slurm}
conf=$place/slurm.conf

start() {
  command -v slurmctld slurmd munged squeue >/dev/null ||
    apt-get install --yes --quiet --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
  mkdir -p "$place"/{state,spool} /run/munge
  chown munge: /run/munge
  [ -s /etc/munge/munge.key ] || mungekey
  munge -n >/dev/null 2>&1 || runuser -u munge -- munged
  host=$(hostname -s)
  cores=$(nproc)
  cat >"$conf" <<CONF
ClusterName=ebbench
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
KillWait=5
SchedulerParameters=sched_interval=2,batch_sched_delay=0
MinJobAge=10
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
  export SLURM_CONF=$conf
  slurmctld -f "$conf"
  slurmd -f "$conf"
  for _ in $(seq 40); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q idle && break
    sleep 0.5
  done
  sinfo
}

stop() {
  for name in slurmd slurmctld; do
    [ ! -s "$place/$name.pid" ] || kill "$(cat "$place/$name.pid")" || true
  done
}

"$1"
