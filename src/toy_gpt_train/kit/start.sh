#!/bin/sh
# Look for Python 3.11 or newer, and show the pages in a browser.
cd "$(dirname "$0")" || exit 1
for python in python3 python python3.14 python3.13 python3.12 python3.11; do
  if "$python" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
    exec "$python" start.py "$@"
  fi
done
echo "Python 3.11 or newer was not found. README.txt says where to get it." >&2
exit 1
