#!/usr/bin/env python3
"""Writes the licences of all crates that are linked into the module, which their terms want to go with it.

    scripts/third-party.py TARGET            a text: each licence text once, with the crates it is of
    scripts/third-party.py TARGET --debian   the same as paragraphs of a debian/copyright
    scripts/third-party.py TARGET --check    nothing: whether each is of a licence and a source that we take (`make lint`)

TARGET is what the module is built for, such as x86_64-unknown-linux-gnu. A crate without licence and text is an error.
"""
import json
import os
import re
import subprocess
import sys


# What a server of anybody may link.
ALLOWED = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib"}


def allowed(expression):
    """Whether an SPDX expression can be met by ALLOWED; `/` is what Cargo once took for OR."""
    words = re.findall(r"[()]|[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.-]+)?", expression.replace("/", " OR "))
    python = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    return eval(" ".join(python.get(word, str(word in ALLOWED)) for word in words))


def check(packages):
    wrong = []
    for package in packages:
        label = f"{package['name']} {package['version']}"
        if not allowed(package["license"] or "none"):
            wrong.append(f"{label}: its licence is {package['license']}, which ALLOWED does not meet")
        if not (package["source"] or "").startswith("registry+"):
            wrong.append(f"{label}: it comes from {package['source']}, not from the registry")
    if wrong:
        sys.exit("third-party: " + "\nthird-party: ".join(wrong))


def linked(target):
    """The crates whose code is in the library: normal dependencies, without macros, which run in the compiler."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    seen, todo = set(), [root]
    while todo:
        this = todo.pop()
        macro = any("proc-macro" in part["kind"] for part in packages[this]["targets"])
        if this in seen or macro:
            continue
        seen.add(this)
        todo += [dep["pkg"] for dep in nodes[this]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    return sorted((packages[this] for this in seen if this != root), key=lambda package: (package["name"], package["version"]))


def texts(package):
    folder = os.path.dirname(package["manifest_path"])
    # sys crates bring C sources with terms of their own
    folders = [folder] + [os.path.join(folder, name) for name in ("zstd", "third_party/fiat") if os.path.isdir(os.path.join(folder, name))]
    # of a choice we take MIT, whose text is the shortest
    choice = " AND " not in (package["license"] or "") and "LICENSE-MIT" in os.listdir(folder)
    for where in folders:
        names = ["LICENSE-MIT"] if choice and where == folder else sorted(os.listdir(where))
        if where != folder and "LICENSE" in names:
            names = ["LICENSE"]  # zstd's COPYING is the GPL, which one may choose instead
        for name in names:
            path = os.path.join(where, name)
            if re.match(r"(licen[sc]e|copying|notice|unlicense)", name, re.IGNORECASE) and os.path.isfile(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield "\n".join(line.rstrip() for line in file.read().strip().splitlines())


def main():
    target, debian = sys.argv[1], "--debian" in sys.argv[2:]
    packages = linked(target)
    if "--check" in sys.argv[2:]:
        check(packages)
        return
    of_text, silent = {}, []
    for package in packages:
        label = f"{package['name']} {package['version']}"
        if not package["license"] and not package["license_file"]:
            sys.exit(f"third-party: {label} names no licence")
        found = list(texts(package))
        if not found:
            silent.append(f"{label} ({package['license']})")
        for text in found:
            of_text.setdefault(text, []).append(label)
    if debian:
        print(f"\nFiles: usr/lib/redis/modules/libbear.so\nCopyright: the authors of the {len(packages)} crates that are linked into it, and of Rust's standard library")
        print("License: crates\n The library holds code of crates of others, under the terms below. Each text stands once,")
        print(" under the crates that bring it; of several licences any one may be chosen.")
        print(" .\n Rust's standard library: MIT OR Apache-2.0.")
        for package in packages:
            print(f" {package['name']} {package['version']}: {package['license']}")
        for text, labels in of_text.items():
            print(f" .\n == {', '.join(labels)}\n .")
            if "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text.upper() and "APACHE LICENSE" in text.upper():
                print(" The Apache License 2.0, which Debian has in /usr/share/common-licenses/Apache-2.0")
                continue
            for line in text.splitlines():
                print(f" {line}" if line.strip() else " .")
        return
    print(f"The module holds code of {len(packages)} crates of others, under the terms below, and of Rust's standard library")
    print("(MIT OR Apache-2.0). Each text stands once, under the crates that bring it.\n")
    for package in packages:
        print(f"{package['name']} {package['version']}: {package['license'] or package['license_file']}")
    if silent:
        print(f"\nWithout a text of their own: {', '.join(silent)}")
    for text, labels in of_text.items():
        print(f"\n{'-' * 100}\n{', '.join(labels)}\n\n{text}")


main()
