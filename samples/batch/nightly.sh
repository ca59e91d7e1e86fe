#!/bin/sh
# For cron: goes on where the last run ended, tries what failed once more, and writes a page.
#   ./nightly.sh gray.yaml
set -u
manifest=${1:?usage: nightly.sh MANIFEST}
# Relative paths in a manifest start where the batch runs.
cd "$(dirname "$manifest")" || exit
manifest=$(basename "$manifest")

xtranscode batch "$manifest" --resume --workers 2 --time-limit 2:00:00 --min-free 500M \
  --progress none --summary "$manifest.summary.json"
code=$?
if [ "$code" = 3 ]; then
  xtranscode batch retry "$manifest" --progress none --summary "$manifest.summary.json"
  code=$?
fi
# A wrong manifest (2) or a journal in use (1) has nothing to report.
case $code in 0 | 3) xtranscode batch report "$manifest" --html "$manifest.html" ;; esac
exit "$code"
