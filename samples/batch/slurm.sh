#!/bin/sh
#SBATCH --nodes=4 --ntasks-per-node=1 --cpus-per-task=16 --time=12:00:00
# A Dask cluster for as long as the batch runs. Manifest, files and this folder are shared.
# Without SLURM it makes a cluster of this machine's own: ./slurm.sh gray.yaml
set -eu
manifest=${1:?usage: slurm.sh MANIFEST}
file=$(mktemp -u "$PWD/.scheduler-XXXXXX.json")

dask scheduler --scheduler-file "$file" --port 0 --no-dashboard &
scheduler=$!
workers=
trap 'kill $scheduler $workers 2>/dev/null; wait; rm -f "$file"' EXIT
trap 'exit 143' TERM INT HUP
launch=$(command -v srun || true)
# Four jobs at once on each node, or WORKERS of them. Slots of a manifest are resources: --resources "cuda=2".
$launch dask worker --scheduler-file "$file" --nworkers "${WORKERS:-4}" --nthreads 1 --no-dashboard &
workers=$!
while [ ! -s "$file" ]; do
  kill -0 $scheduler || exit 1
  sleep 0.1
done

address=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$file")
xtranscode batch "$manifest" --cluster "$address" --resume
