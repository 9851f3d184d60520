#!/bin/sh
# Says what is missing of Python, or installs its venv module from Debian's packages. Python's own word for a missing venv
# module names the package for Debian only.
command -v python3 >/dev/null || {
    echo 'python3 is missing: install Python 3.11 or newer' >&2
    exit 1
}
python3 -c 'import sys; sys.version_info >= (3, 11) or sys.exit("python3 is Python %d.%d: this needs 3.11 or newer, first in PATH" % sys.version_info[:2])' || exit 1
python3 -c 'import ensurepip, venv' 2>/dev/null && exit
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing python3-venv from the system's packages" >&2
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null && exit
fi
echo 'python3 has no venv module: install it, on Debian and Ubuntu by `apt-get install python3-venv` as root' >&2
exit 1
