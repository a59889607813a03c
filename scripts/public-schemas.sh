#!/usr/bin/env bash
# Brings the schemas of public projects, of 50 tables or more each, into a cache folder whose name it prints. Nothing of them is kept in
# the repository.
#
#   SCHEMAS=folder    else bear/schemas in the user's cache folder; a schema that is there already is not brought again
#
# Exit code: 0; 2 where one could not be had.
set -euo pipefail

folder=${SCHEMAS:-${XDG_CACHE_HOME:-$HOME/.cache}/bear/schemas}
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    printf 'public-schemas: %s\n' "$*" >&2
    exit 2
}

# bring NAME REPOSITORY FILE …: the files one after another, without what only psql reads, and each statement by itself.
bring() {
    local name=$1 repository=$2 file
    shift 2
    if [[ -s $folder/$name.sql ]]; then return; fi
    printf 'bringing the schema of %s\n' "$repository" >&2
    timeout 600 git clone --quiet --depth 1 --filter=blob:none --no-checkout "https://github.com/$repository.git" "$work/$name" ||
        fail "$repository cannot be reached"
    for file in "$@"; do
        timeout 120 git -C "$work/$name" show "HEAD:$file" | grep -vE '^(\\|BEGIN;$|COMMIT;$)' >>"$work/$name.sql" || fail "$repository has no $file"
    done
    mv "$work/$name.sql" "$folder/$name.sql"
}

own=admin/sql
bring musicbrainz metabrainz/musicbrainz-server "$own"/{Extensions,CreateCollations,CreateTypes,CreateFunctions,CreateTables,CreatePrimaryKeys,CreateFKConstraints,CreateIndexes}.sql
bring openstreetmap openstreetmap/openstreetmap-website db/structure.sql
full=full_schemas/72/full.sql.postgres
bring synapse element-hq/synapse synapse/storage/schema/{common,main,state}/$full
printf '%s\n' "$folder"
