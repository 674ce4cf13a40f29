#!/bin/bash
# A workspace on a full 6 MB tmpfs (root): `status` and `serve` must start, or say one sentence; not a traceback.
EL=${EVERLOOP:?the path of the everloop command}
[ "$(id -u)" = 0 ] || { echo "LACK root, to mount a small disk"; exit 2; }
D=$(mktemp -d); mkdir "$D/t"; mount -t tmpfs -o size=6m tmpfs "$D/t" 2>/dev/null || { echo "LACK the right to mount a small disk"; exit 2; }
trap 'umount "$D/churn/.everloop" 2>/dev/null; umount "$D/t"' EXIT
cd "$D"; $EL init churn >/dev/null; cd churn; $EL run keep_fresh >/dev/null 2>&1
cp -r .everloop/. "$D/t/"; rm -rf .everloop; mkdir .everloop; mount --bind "$D/t" .everloop
dd if=/dev/zero of="$D/t/fill" bs=4k 2>/dev/null
S=$($EL status 2>&1); rs=$?; V=$(timeout 15 $EL serve --port 0 2>&1); rv=$?
tb=$(printf '%s\n%s' "$S" "$V" | grep -c Traceback)
if [ $tb = 0 ]; then echo "PASS status exit $rs, serve exit $rv, no traceback"; exit 0; fi
echo "FAIL status exit $rs: $(echo "$S" | grep -m1 OperationalError | cut -c1-90); serve exit $rv: $(echo "$V" | grep -m1 OperationalError | cut -c1-90); $tb tracebacks"; exit 1
