#!/bin/sh
# Builds every Lambda function for one architecture, x86_64 or arm64, and zips it into dist/functions/<architecture>/<function>.zip:
# the same bytes on every machine, because an asset's hash goes by them. Make starts it, and exports GOTOOLCHAIN.
set -eu
unset CDPATH
cd "$(dirname "$0")/.."
architecture=$1
case $architecture in # as AWS Lambda and as Go call it, and the other one
    x86_64) own=amd64 other=arm64 ;;
    arm64) own=arm64 other=amd64 ;;
    *) echo "functions/build.sh: '$architecture' is no architecture: x86_64 or arm64" >&2 && exit 2 ;;
esac

# What decides the bytes besides the sources. An empty GOFLAGS would leave it to the file of `go env -w`.
export GOAMD64=v1 GOARM64=v8.0 GOFLAGS=-mod=readonly GOEXPERIMENT= GOFIPS140=off CGO_ENABLED=0

# A folder of its own: two makes may build at once.
mkdir -p bin dist/functions
work=$(mktemp -d bin/functions.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# First of all, since make takes the folder's time for the build's: what is edited from here on is built again.
mkdir -p "$work/$architecture" "$work/programs"

# build WHAT GOARCH PACKAGE...
build() {
    what=$1 goarch=$2
    shift 2
    GOOS=linux GOARCH=$goarch cmd/compile.sh "$what" "$work/programs/" -tags=lambda.norpc "$@"
}

# The image of the placeholder has both architectures, whatever the functions' own.
build "the Lambda functions" "$own" ./functions/...
mv "$work/programs/seed" "$work/seed-$own"
build "the placeholder for $other" "$other" ./functions/seedimage/seed
mv "$work/programs/seed" "$work/seed-$other"

# pack FUNCTION [FILE]...: by AWS's own tool, whose zips hold no times. A folder instead of a zip would be hashed and copied
# file by file at each synth.
pack() (
    cd "$work"
    mv "programs/$1" bootstrap
    out=$architecture/$1.zip
    shift
    said=$(go tool build-lambda-zip -o "$out" bootstrap "$@" 2>&1) || {
        echo "$out: $said" >&2
        exit 1
    }
)
pack seedimage seed-amd64 seed-arm64
pack schemainit
pack release

# New files each time: the CDK remembers hashes by inode, size and time. Of two makes at once the last one's stay.
mv "dist/functions/$architecture" "$work/old" 2>/dev/null || true
mv "$work/$architecture" dist/functions/ || [ -d "dist/functions/$architecture" ]
