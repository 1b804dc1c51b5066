#!/bin/bash
#SBATCH --job-name=electra-rtd
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8     # a process for each GPU: no launcher stands between SLURM's signals and training
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=6
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@180     # three minutes before the end, to this script: time enough for a step and a save
#SBATCH --requeue               # a machine that fails, or pre-emption, puts the job back into the queue
#SBATCH --open-mode=append      # one log for all sessions

# sbatch --export=ALL,OUTPUT_DIR=/shared/adapted slurm.sh --checkpoint PAIR --train_file TEXT ...
# What stands behind the script's name are options of `electra-rtd adapt`. OUTPUT_DIR is on a disk that all machines see.
set -u
: "${OUTPUT_DIR:?is the folder of the run: give it by --export}"

# A session that finds a checkpoint goes on from it: from the newest whole one.
resume=()
if compgen -G "$OUTPUT_DIR/checkpoint-*" > /dev/null; then resume=(--resume); fi

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT=$((29500 + SLURM_JOB_ID % 1000)) LOCAL_WORLD_SIZE=${SLURM_NTASKS_PER_NODE:-1}

srun bash -c 'export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS; exec electra-rtd adapt "$@"' \
    adapt --output_dir "$OUTPUT_DIR" "${resume[@]}" "$@" &
step=$!

# srun passes signals on to all processes: they save within the step and end with status 0.
asked=
trap 'asked=1; kill -USR1 "$step"' USR1
trap 'asked=1; kill -TERM "$step"' TERM
while kill -0 "$step" 2> /dev/null; do wait "$step"; done
wait "$step"
status=$?

# What was asked to end, and is not finished, comes back. An error does not: it would come again.
if [ -n "$asked" ] && [ ! -e "$OUTPUT_DIR/adapt_results.json" ] && [ "$status" -eq 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
