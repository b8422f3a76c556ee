#!/usr/bin/env bash
# Functions of the scripts beside it: a tree of Debian, a layer over it, and how pip finds its index there.

cache=${BLOCKLIST_CACHE:-/var/cache/blocklist-resolver}

# The trees. Set `tree`, `packages` and `suite`: `choose bookworm build`, for Debian 12 with what packages are built with.
choose() {
    suite=$1
    case $1 in
        bookworm) release=12 ;;
        trixie) release=13 ;;
        *) echo "no such suite: $1 (bookworm or trixie)" >&2; return 2 ;;
    esac
    case $2 in
        # .ci/debian13 runs the tests in one, too.
        build)
            tree=$cache/debian$release
            packages=debhelper,gcc,iproute2,libc6-dev,lintian,make,nsd,procps,python3-dev,python3-venv,unbound
            ;;
        # What every Debian has, the commands `ip` and `ss`, and what changes the clock of one process.
        bare)
            tree=$cache/debian$release-bare
            packages=apt,ca-certificates,faketime,iproute2,passwd,systemd
            ;;
    esac
}

# apt's lists of packages; a mirror that is being refreshed fails for a moment.
refresh_apt() {
    local tries
    for tries in 1 2 3; do
        apt-get update -qq && return
        # A mirror needs some seconds to be whole again.
        sleep $((tries * 5))
    done
    return 1
}

# Where apt fetches Debian from; "" while it has no lists.
mirror_of() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p
}

# Make the tree, or leave it as it is if it is young and has these packages.
make_tree() {
    local mirror
    if [ "$(cat "$tree.made" 2>/dev/null)" = "$packages" ] && [ -n "$(find "$tree.made" -mtime -7)" ]; then
        return
    fi
    mirror=$(mirror_of)
    if [ -z "$mirror" ] || ! command -v mmdebstrap >/dev/null; then
        refresh_apt
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends mmdebstrap
        mirror=$(mirror_of)
    fi
    if [ -z "$mirror" ]; then
        echo "apt has no mirror of Debian in its sources" >&2
        exit 1
    fi
    rm -rf --one-file-system "$tree" "$tree.made"
    apt-config dump Acquire::http Acquire::https Acquire::Check-Valid-Until Acquire::Check-Date >"$tree.apt"
    mmdebstrap --quiet --mode=root --format=directory --variant=essential --include="$packages" \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --aptopt="$tree.apt" --aptopt='Acquire::Retries "3"' --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        "$suite" "$tree" "$mirror"
    # What is installed there later comes whole.
    rm -f "$tree/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
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

# Leave in the environment what pip and the tests need in a tree.
clean_environment() {
    local name
    for name in $(compgen -e); do
        case $name in
            PIP_* | *_proxy | *_PROXY | SSL_CERT_* | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE | CI | HYPOTHESIS_PROFILE) ;;
            SOURCE_DATE_EPOCH | DEBFULLNAME | DEBEMAIL | DEB_BUILD_OPTIONS | REVISION) ;;
            HOME) mkdir -p "$tree$HOME" ;;
            *) unset "$name" ;;
        esac
    done
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
}

# Show the kernel's file systems and this machine's network there, for `chroot`; the mounts end with the namespace.
show_kernel() {
    mount -t proc proc "$tree/proc"
    mount --rbind /sys "$tree/sys"
    mount --rbind /dev "$tree/dev"
    show /etc/resolv.conf
    show /etc/hosts
    show_pip
}

# Copy this folder to /src there, without what was built here.
copy_source() {
    rm -rf --one-file-system "$tree/src"
    mkdir "$tree/src"
    tar --exclude=./.git --exclude=./.venv --exclude='./.*_cache' --exclude=./.hypothesis --exclude=./build \
        --exclude=__pycache__ --exclude='*.egg-info' --exclude='*.so' --exclude='./resolver/core/*.c' \
        --exclude='./resolver/edge/*.c' --exclude='./resolver/engine/*.c' --exclude='./resolver/query/*.c' \
        --exclude='./resolver/quiet_http/*.c' -c . |
        tar -x --no-same-owner -C "$tree/src"
}

# Put a new layer over the tree, which stays as it is; must run in a mount namespace of its own. It goes with this process.
lay() {
    # A name of its own beside the tree, on its file system: an overlay needs upper and work together, and runs may overlap.
    layer=$(mktemp -d "$tree.XXXXXX")
    trap clear_away EXIT
    mkdir "$layer/upper" "$layer/work" "$layer/root"
    mount -t overlay overlay -o "lowerdir=$tree,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
    tree=$layer/root
}

# What cannot be cleared away any more must not turn a passed run into a failed one.
clear_away() {
    set +e
    if [ -n "${leader:-}" ]; then
        kill -KILL "$leader"
        wait "$booting"
    fi
    # With all that is mounted below it, however deep and however often.
    while mountpoint --quiet "$layer/root"; do umount --lazy "$layer/root"; done
    rm -rf --one-file-system "$layer"
}

# Boot a layer with systemd as process 1 and loopback alone, after the command in `prepared`. `inside COMMAND` types lines
# there as root, of which each must succeed; bash does not heed `! COMMAND` but at the end: write `|| exit 1` behind it.
boot() {
    lay
    "${prepared:-:}"
    # With this machine's time zone it would mount a file at /etc/localtime, which tzdata could not replace.
    systemd-nspawn --quiet --directory="$tree" --machine="blocklist-$$" --boot --private-network --register=no \
        --keep-unit --timezone=off --console=pipe </dev/null >"$layer/console" 2>&1 &
    booting=$!
    local tries=0
    until leader=$(pgrep --parent "$booting") && inside 'systemctl is-system-running --wait' | grep -qE 'running|degraded'; do
        [ $((tries += 1)) -lt 100 ] || { cat "$layer/console"; return 1; }
        sleep 0.2
    done
}

inside() {
    in_namespaces --net "$1"
}

# With the network of this machine: for what apt fetches.
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
    nsenter --target "$leader" --mount --ipc --pid "$1" -- env -i "${kept[@]}" bash -euc "$2"
}
