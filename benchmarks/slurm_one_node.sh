#!/usr/bin/env bash
# A Slurm cluster of one node, this machine, to try `idgen dataset run DIR --engine slurm` for real.
#   apt-get install slurm-wlm munge      (Debian, Ubuntu)
#   sudo benchmarks/slurm_one_node.sh    starts it; `benchmarks/slurm_one_node.sh stop` ends it
set -euo pipefail
run=/tmp/idgen-slurm
host=$(hostname -s)

stop() {
    pkill -x slurmd || true
    pkill -x slurmctld || true
    pkill -x munged || true
}

if [ "${1:-start}" = stop ]; then
    stop
    exit
fi
[ "$(id -u)" = 0 ] || { echo "Slurm's daemons need root." >&2; exit 1; }
command -v slurmctld slurmd munged >/dev/null || { echo "Install them first: apt-get install slurm-wlm munge" >&2; exit 1; }
stop
mkdir -p $run/{state,spool} /etc/slurm /run/munge /var/log/munge /var/lib/munge /etc/munge
[ -s /etc/munge/munge.key ] || head -c 1024 /dev/urandom >/etc/munge/munge.key
chown -R munge:munge /etc/munge /run/munge /var/log/munge /var/lib/munge
chmod 700 /etc/munge && chmod 400 /etc/munge/munge.key
cat >/etc/slurm/slurm.conf <<CONF
ClusterName=idgen
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$run/state
SlurmdSpoolDir=$run/spool
SlurmctldPidFile=$run/slurmctld.pid
SlurmdPidFile=$run/slurmd.pid
SlurmctldLogFile=$run/slurmctld.log
SlurmdLogFile=$run/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MailProg=/bin/true
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(free -m | awk '/^Mem:/ {print int($2 * 0.9)}') State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
runuser -u munge -- munged --force
slurmctld
slurmd
for _ in $(seq 30); do
    if [ "$(sinfo -h -o %T 2>/dev/null)" = idle ]; then
        sinfo
        exit
    fi
    sleep 1
done
echo "The node did not become idle: see $run/*.log" >&2
exit 1
