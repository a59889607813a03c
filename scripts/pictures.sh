#!/usr/bin/env bash
# Puts pictures that tests have made into a built page of the book, where they are there.
#
#   scripts/pictures.sh PAGE FOLDER    each line `<!-- picture NAME: TEXT -->` of the page becomes FOLDER/NAME.png
set -euo pipefail

page=$1 folder=$2
shopt -s nullglob
for picture in "$folder"/*.png; do
    name=$(basename "$picture" .png)
    grep -q "<!-- picture $name: " "$page" || continue
    cp "$picture" "$(dirname "$page")/$name.png"
    sed -i -E "s|<!-- picture $name: (.*) -->|<p><img src=\"$name.png\" alt=\"\\1\"></p>|" "$page"
done
