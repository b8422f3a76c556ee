#!/usr/bin/env bash
# Functions of the scripts beside it: a tree of Debian, and how pip finds its index there. The caller has set `tree`,
# `packages` and `suite`.

# Make the tree, or leave it as it is if it is young and has these packages.
make_tree() {
    if [ "$(cat "$tree.made" 2>/dev/null)" = "$packages" ] && [ -n "$(find "$tree.made" -mtime -7)" ]; then
        return
    fi
    apt-get update -qq
    if ! command -v mmdebstrap >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends mmdebstrap
    fi
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p)
    if [ -z "$mirror" ]; then
        echo "apt has no mirror of Debian in its sources" >&2
        exit 1
    fi
    rm -rf --one-file-system "$tree" "$tree.made"
    apt-config dump Acquire::http Acquire::https Acquire::Check-Valid-Until Acquire::Check-Date >"$tree.apt"
    mmdebstrap --quiet --mode=root --format=directory --variant=essential --include="$packages" \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --aptopt="$tree.apt" --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        "$suite" "$tree" "$mirror"
    echo "$packages" >"$tree.made"
}

# Show a file or folder of this machine at the same place in the tree, read-only; the mount ends with this process.
show() {
    if [ -d "$1" ]; then
        mkdir -p "$tree$1"
    elif [ -f "$1" ]; then
        mkdir -p "$(dirname "$tree$1")"
        [ -e "$tree$1" ] || : >"$tree$1"
    else
        return 0
    fi
    mount -o bind,ro "$1" "$tree$1"
}

# Show how this machine reaches its package index: pip's files, and the files and folders that they or the environment
# name. The pages of an index in a folder link to the folders beside it.
show_pip() {
    local configuration=(/etc/pip.conf /etc/xdg/pip ~/.config/pip ~/.pip ${PIP_CONFIG_FILE:+"$PIP_CONFIG_FILE"}) path
    for path in "${configuration[@]}"; do
        show "$path"
    done
    {
        grep -rhsv '^ *[#;]' "${configuration[@]}" || true
        env | grep -E '^(PIP_|SSL_CERT_|REQUESTS_CA_BUNDLE=|CURL_CA_BUNDLE=)' || true
    } | tr ' =,' '\n\n\n' | while read -r path; do
        case $path in
            file:///*/*) show "$(dirname "${path#file://}")" ;;
            /?*) show "$path" ;;
        esac
    done
}

# Put a new layer over the tree, which stays as it is, and boot it with systemd as process 1 and loopback alone; must run
# in a mount namespace of its own. `inside COMMAND` types a line there as root, in /src.
boot() {
    # A name of its own beside the tree, on its file system: an overlay needs upper and work together, and runs may overlap.
    layer=$(mktemp -d "$tree.XXXXXX")
    mkdir "$layer/upper" "$layer/work" "$layer/root"
    mount -t overlay overlay -o "lowerdir=$tree,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
    tree=$layer/root
    show_pip
    mkdir "$tree/src"
    tar --exclude=./.git --exclude=./.venv --exclude='./.*_cache' --exclude=./.hypothesis --exclude=./build \
        --exclude=__pycache__ --exclude='*.egg-info' --exclude='*.so' --exclude='./resolver/core/*.c' -c . |
        tar -x --no-same-owner -C "$tree/src"
    systemd-nspawn --quiet --directory="$tree" --machine="blocklist-$$" --boot --private-network --register=no \
        --keep-unit --console=pipe </dev/null >"$layer/console" 2>&1 &
    booting=$!
    # What cannot be cleared away any more must not turn a passed run into a failed one.
    trap 'set +e; kill -KILL "$leader" 2>/dev/null; wait "$booting" 2>/dev/null; umount --recursive "$tree"; rm -rf --one-file-system "$layer"' EXIT
    local tries=0
    until leader=$(pgrep --parent "$booting") && inside 'systemctl is-system-running --wait' | grep -qE 'running|degraded'; do
        [ $((tries += 1)) -lt 100 ] || { cat "$layer/console"; return 1; }
        sleep 0.2
    done
}

inside() {
    in_namespaces --net "$1"
}

# With the network of this machine: for what pip fetches.
inside_with_network() {
    in_namespaces --uts "$1"
}

in_namespaces() {
    local name kept=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8)
    for name in $(compgen -e); do
        case $name in
            PIP_* | *_proxy | *_PROXY | SSL_CERT_* | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE) kept+=("$name=${!name}") ;;
        esac
    done
    nsenter --target "$leader" --mount --ipc --pid "$1" -- env -i "${kept[@]}" bash -euc "cd /src; $2"
}
