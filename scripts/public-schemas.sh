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

# bring NAME REPOSITORY SQL FILE …: the files one after another, behind SQL, without what only psql reads, and each statement by itself.
bring() {
    local name=$1 repository=$2 first=$3 file
    shift 3
    if [[ -s $folder/$name.sql ]]; then return; fi
    printf 'bringing the schema of %s\n' "$repository" >&2
    timeout 600 git clone --quiet --depth 1 --filter=blob:none --no-checkout "https://github.com/$repository.git" "$work/$name" ||
        fail "$repository cannot be reached"
    printf '%s\n' "$first" >"$work/$name.sql"
    for file in "$@"; do
        timeout 120 git -C "$work/$name" show "HEAD:$file" | grep -vE '^(\\|BEGIN;$|COMMIT;$)' >>"$work/$name.sql" || fail "$repository has no $file"
    done
    mv "$work/$name.sql" "$folder/$name.sql"
}

# As its installation does: a schema of its own, which sessions find.
own=admin/sql
path="CREATE SCHEMA musicbrainz;
DO \$\$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = musicbrainz, public', current_database()); END \$\$;
SET search_path = musicbrainz, public;"
bring musicbrainz metabrainz/musicbrainz-server "$path" "$own"/{Extensions,CreateCollations,CreateSearchConfiguration,CreateTypes,CreateTables,CreateFunctions,CreatePrimaryKeys,CreateFKConstraints,CreateConstraints,CreateIndexes,CreateViews,CreateTriggers}.sql
bring openstreetmap openstreetmap/openstreetmap-website '' db/structure.sql
full=full_schemas/72/full.sql.postgres
bring synapse element-hq/synapse '' synapse/storage/schema/{common,main,state}/$full
printf '%s\n' "$folder"
