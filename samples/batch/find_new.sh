#!/bin/sh
# Transcodes what is newer than the last run: jobs come from a program, through a pipe.
#   ./find_new.sh ../media
set -eu
folder=${1:?usage: find_new.sh FOLDER}
mkdir -p out/new
set -- -name '*.mp4'
[ -e out/new/.last ] && set -- "$@" -newer out/new/.last
touch out/new/.next

find "$folder" "$@" -print0 | PYTHONIOENCODING=utf-8:surrogateescape python3 -c '
import json, pathlib, sys
for name in filter(None, sys.stdin.read().split("\0")):
    # What find found is one file, and no pattern or template.
    target = f"out/new/{pathlib.Path(name).stem}.mkv".replace("{", "{{").replace("}", "}}")
    print(json.dumps({"source": name, "output": target, "overwrite": True,
                      "video": {"preset": "ultrafast"}}))
' > out/new/jobs.jsonl
if [ -s out/new/jobs.jsonl ]; then
  rm -f out/new/journal
  xtranscode batch - --format jsonl --journal out/new/journal < out/new/jobs.jsonl
fi
mv out/new/.next out/new/.last
