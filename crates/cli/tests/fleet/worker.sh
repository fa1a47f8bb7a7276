#!/bin/sh
# The work of a term: itself, a plain child and one in a session of its own, each holding a witness
# lock for as long as it lives. Whoever finds its witness locked has met work of another term, and
# says so.
dir=$1
role=${2:-child}
if [ "$role" = child ]; then
    sh "$0" "$dir" plain &
    setsid sh "$0" "$dir" setsid &
fi
exec 9>>"$dir/witness.$role"
flock -n 9 || echo "overlap $role $LEASEHOLD_FENCING_TOKEN" >>"$dir/overlaps"
echo "$role $LEASEHOLD_FENCING_TOKEN $LEASEHOLD_HELD_IDENTITY $$ $(date +%s%N)" >>"$dir/starts"
exec sleep 1000
