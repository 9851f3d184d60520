#!/bin/sh
# Sees to it that MariaDB's server and client are there, in the version that the tests and the local target know: the system's,
# else Debian's packages. Root installs them; anybody else gets them unpacked into the folder .local/mariadb.
set -eu
cd "$(dirname "$0")/.."

series=10.11
folder=.local/mariadb
packages="mariadb-server-core=1:$series.* mariadb-client-core=1:$series.*"

die() {
    echo "$*" >&2
    exit 1
}

# Debian has the server in /usr/sbin, which is not in everybody's PATH.
PATH="$PATH:/usr/sbin"

complete() {
    for program in mariadbd mariadb-install-db mariadb mysql; do
        command -v "$program" >/dev/null || return 1
    done
}

is_series() { # FOLDER
    case "$("$1/usr/sbin/mariadbd" --no-defaults --version 2>&1)" in
    *" Ver $series."*) ;;
    *) return 1 ;;
    esac
}

if [ -x $folder/usr/sbin/mariadbd ] && is_series $folder; then
    exit 0
fi
if complete && [ -x /usr/sbin/mariadbd ] && is_series ''; then
    exit 0
fi

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    die "MariaDB $series is missing: there is no /usr/sbin/mariadbd of that version. This system has no apt-get to install it with: install MariaDB's server and client $series by its own packages, or use Debian 12 or Ubuntu 24.04."

if [ "$(id -u)" = 0 ] && ! complete; then
    echo "Installing MariaDB $series from the system's packages (about 20 s)" >&2
    apt-get update -qq
    # shellcheck disable=SC2086 # two words
    apt-get install -y -qq --no-install-recommends $packages >/dev/null ||
        die "This system's packages have no MariaDB $series (apt-cache policy mariadb-server-core shows what there is): use Debian 12 or Ubuntu 24.04."
    exit 0
fi

# Not root, or another version is installed, which stays.
echo "Unpacking MariaDB $series from the system's packages into $folder (about 20 s, 50 MB)" >&2
new=$folder.new
rm -rf $new
mkdir -p $new/lists/partial $new/cache/archives/partial $new/debs $new/root
# The system's hooks, which clean its own cache, are for root.
echo '#clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success; #clear DPkg::Post-Invoke;' >$new/apt.conf
state=$PWD/$new
apt() {
    apt-get -qq -c "$state/apt.conf" -o APT::Sandbox::User= -o Debug::NoLocking=1 -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" "$@"
}
apt update || die "The list of the system's packages cannot be read, see above: MariaDB $series comes from there."
# The libraries that would be installed with the two packages are those that are missing.
# shellcheck disable=SC2086 # two words
missing="$(apt --simulate --no-install-recommends install $packages)" ||
    die "This system's packages have no MariaDB $series (apt-cache policy mariadb-server-core shows what there is): use Debian 12 or Ubuntu 24.04."
missing="$(printf '%s\n' "$missing" | sed -n '/^Inst mariadb-/d; s/^Inst \([^ ]*\) .*(\([^ ]*\) .*/\1=\2/p')"
# shellcheck disable=SC2086 # words
(cd $new/debs && apt download $packages $missing) || die "MariaDB's packages cannot be fetched, see above."
for package in $new/debs/*.deb; do
    dpkg-deb -x "$package" $new/root
done

# The programs look for their libraries and files where the packages belong: a script in the place of each says where they are.
libraries="$(cd $new/root && find . -name '*.so*' -path './*lib/*' -printf '%h\n' | LC_ALL=C sort -u | sed 's/^\.//')"
for program in usr/sbin/mariadbd usr/bin/mariadb usr/bin/mariadb-install-db usr/bin/my_print_defaults usr/bin/resolveip; do
    base=
    case $program in
    usr/sbin/mariadbd | usr/bin/mariadb-install-db) base=' --basedir="$root/usr"' ;;
    esac
    path=
    for library in $libraries; do path="$path\$root$library:"; done
    mv "$new/root/$program" "$new/root/$program.real"
    cat >"$new/root/$program" <<END
#!/bin/sh
root="\$(cd "\${0%/*}/../.." && pwd)"
export LD_LIBRARY_PATH="$path\${LD_LIBRARY_PATH:-/usr/lib}"
exec "\$root/$program.real" "\$@"$base
END
    chmod +x "$new/root/$program"
done
rm -rf $folder
mv $new/root $folder
rm -rf $new
is_series $folder || die "MariaDB $series was unpacked into $folder, but does not run: $($folder/usr/sbin/mariadbd --no-defaults --version 2>&1)"
