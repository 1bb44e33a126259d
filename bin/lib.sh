# shellcheck shell=bash
# What the commands beside this file share: packages, tools, private servers, and an end that leaves nothing behind.
# Kept to bash 3.2, the bash of a Mac.
# shellcheck disable=SC2034 # much of it is used only by the commands that source it

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT" || exit

# Of the caller's shell: they would steer the Postgres clients, ours too.
unset "${!PG@}"

# Pinned, so that the same tool runs everywhere and a new release cannot ask for a newer Rust.
NEXTEST_VERSION=0.9.151
LLVM_COV_VERSION=0.9.1
DENY_VERSION=0.20.2
MACHETE_VERSION=0.9.2
TYPOS_VERSION=1.52.0
SHARP_VERSION=0.35.5
TIKTOKEN_VERSION=0.14.0

# package:probe — a command, or the path of a file, or several of them separated by |.
TESSDATA='/usr/share/tesseract-ocr/*/tessdata'
BREWDATA='/opt/homebrew/share/tessdata'
BUILD_PACKAGES=(build-essential:cc ca-certificates:/etc/ssl/certs/ca-certificates.crt\|/etc/ssl/cert.pem curl:curl nasm:nasm)
POSTGRES_PACKAGES=("postgresql:/usr/lib/postgresql/*/bin/postgres|/opt/homebrew/opt/postgresql@*/bin/postgres|/usr/local/opt/postgresql@*/bin/postgres")
REDIS_PACKAGES=(redis-server:redis-server)
OCR_PACKAGES=(
  tesseract-ocr:tesseract
  "tesseract-ocr-eng:$TESSDATA/eng.traineddata|$BREWDATA/eng.traineddata"
  "tesseract-ocr-hin:$TESSDATA/hin.traineddata|$BREWDATA/hin.traineddata"
  "tesseract-ocr-urd:$TESSDATA/urd.traineddata|$BREWDATA/urd.traineddata"
  "tesseract-ocr-ben:$TESSDATA/ben.traineddata|$BREWDATA/ben.traineddata"
  "tesseract-ocr-ara:$TESSDATA/ara.traineddata|$BREWDATA/ara.traineddata"
  "tesseract-ocr-osd:$TESSDATA/osd.traineddata|$BREWDATA/osd.traineddata"
  "tesseract-ocr-script-deva:$TESSDATA/Devanagari.traineddata|$BREWDATA/script/Devanagari.traineddata"
  "tesseract-ocr-script-arab:$TESSDATA/Arabic.traineddata|$BREWDATA/script/Arabic.traineddata"
  poppler-utils:pdftotext
  "poppler-data:/usr/share/poppler/cMap|/opt/homebrew/share/poppler/cMap"
  util-linux:prlimit
  util-linux:setpriv
  procps:ps
)
AUDIO_PACKAGES=(
  ffmpeg:ffmpeg
  pocketsphinx:pocketsphinx_continuous
  "pocketsphinx-en-us:/usr/share/pocketsphinx/model/en-us"
)

FONTS='/usr/share/fonts/truetype'
BREWFONTS='/opt/homebrew/share/fonts'
# For exports: every script of South Asia and more, emoji, and code.
EXPORT_PACKAGES=(
  "fonts-noto-core:$FONTS/noto/NotoSansDevanagari-Regular.ttf|$BREWFONTS/noto"
  "fonts-noto-color-emoji:$FONTS/noto/NotoColorEmoji.ttf|$BREWFONTS/noto"
  "fonts-dejavu-core:$FONTS/dejavu/DejaVuSansMono.ttf|$BREWFONTS/dejavu"
)
# What workers use.
ENGINE_PACKAGES=("${OCR_PACKAGES[@]}" "${AUDIO_PACKAGES[@]}" "${EXPORT_PACKAGES[@]}")
# What only the tests use: a voice to be transcribed, and the tools that build whisper.cpp.
TEST_PACKAGES=(flite:flite cmake:cmake build-essential:c++)
# For the stock SDKs and verifiers that the tests of the whole house use; python3 brings no pip without its venv.
SDK_PACKAGES=(
  python3:python3
  "python3-venv:/usr/lib/python3*/ensurepip/__init__.py|/opt/homebrew/bin/python3"
  nodejs:node
  npm:npm
)

SCRATCH=''         # temporary folder of this run, made by `scratch`
FOREGROUND=''      # process group that `run` waits for
HURRY=''           # set by a second signal: kill instead of waiting
NAMES=()           # what `launch` started: name, pid, and the signal that ends it
PIDS=()
SIGNALS=()
STEPS=()           # "seconds<tab>name" of each finished step
TAKEN_PORTS=' '
INVOKED_AT=$SECONDS

if [[ -t 1 && -z ${NO_COLOR-} && ${TERM-} != dumb ]]; then
  BOLD=$'\e[1m' RED=$'\e[31m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
  BOLD='' RED='' DIM='' PLAIN=''
fi

say() { printf '%s==>%s %s\n' "$BOLD" "$PLAIN" "$*"; }
note() { printf '%s    %s%s\n' "$DIM" "$*" "$PLAIN"; }
die() {
  printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2
  exit 1
}

# Prints seconds as people say them.
duration() {
  if (($1 < 60)); then printf '%d s' "$1"; else printf '%d min %d s' $(($1 / 60)) $(($1 % 60)); fi
}

# Shows the end of a log, so that a failure explains itself.
show_log() {
  [[ -s $2 ]] || return 0
  printf '%s--- the end of what %s said%s\n' "$BOLD" "$1" "$PLAIN" >&2
  tail -n 40 "$2" >&2
}

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# --- processes -------------------------------------------------------------------------------------------------------

# Runs a command in a process group of its own and waits for it. Bash would act on a signal only after a foreground
# command ended; this way Ctrl-C and `kill` work at once and reach the command's children too.
run() {
  local status=0
  set -m
  "$@" </dev/null &
  FOREGROUND=$!
  set +m
  wait "$FOREGROUND" || status=$?
  FOREGROUND=''
  return "$status"
}

# Like `run`, and remembers how long it took: step NAME COMMAND...
step() {
  local name=$1 started=$SECONDS status=0
  shift
  say "$name"
  run "$@" || status=$?
  if ((status == 0)); then
    STEPS+=("$((SECONDS - started))	$name")
  else
    STEPS+=("$((SECONDS - started))	$name (failed)")
  fi
  return "$status"
}

# Becomes the command, which the kernel then ends with SIGNAL if this script is killed without a chance to do it.
# OWNER, if not empty, is the user to run as.
become() {
  local signal=$1 owner=$2
  shift 2
  local how=()
  [[ -n $owner ]] && how+=("--reuid=$owner" "--regid=$owner" --init-groups)
  if [[ $(uname) == Linux ]]; then
    exec setpriv ${how[@]+"${how[@]}"} --pdeathsig "$signal" -- "$@"
  fi
  exec "$@"
}

# Starts a program that ends with this script: launch NAME SIGNAL OWNER LOG COMMAND...
launch() {
  local name=$1 signal=$2 owner=$3 log=$4
  shift 4
  # In a process group of its own, or Ctrl-C would end the servers before the programs that use them.
  set -m
  become "$signal" "$owner" "$@" >>"$log" 2>&1 </dev/null &
  set +m
  remember "$name" "$!" "$signal"
}

remember() {
  NAMES+=("$1")
  PIDS+=("$2")
  SIGNALS+=("$3")
}

# The pid of a program that `launch` started.
pid_of() {
  local i
  for ((i = ${#NAMES[@]} - 1; i >= 0; i--)); do
    if [[ ${NAMES[i]} == "$1" ]]; then
      echo "${PIDS[i]}"
      return
    fi
  done
}

alive() { kill -0 "$1" 2>/dev/null; }

# What was launched last never worked, and another try follows.
forget_last() { PIDS[${#PIDS[@]} - 1]=''; }

# Waits up to SECONDS for a process to end.
await_end() {
  local pid=$1 deadline=$((SECONDS + $2))
  while alive "$pid"; do
    if ((SECONDS >= deadline)) || [[ -n $HURRY ]]; then return 1; fi
    sleep 0.05
  done
}

is_server() { [[ $1 == postgres || $1 == redis ]]; }

# Ends everything that `launch` started: the programs together, then the servers. Fails if something would not stop or
# ended badly.
stop_all() {
  local i pid status result=0
  # Once each: to the programs a second signal means "at once".
  for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
    [[ -z ${PIDS[i]} ]] || is_server "${NAMES[i]}" || kill -s "${SIGNALS[i]}" "${PIDS[i]}" 2>/dev/null || true
  done
  for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
    pid=${PIDS[i]}
    [[ -n $pid ]] || continue
    if is_server "${NAMES[i]}"; then kill -s "${SIGNALS[i]}" "$pid" 2>/dev/null || true; fi
    # The programs promise to end in 25 seconds.
    if ! await_end "$pid" 28; then
      note "${NAMES[i]} does not stop: killed"
      kill -s KILL -- "-$pid" 2>/dev/null || kill -s KILL "$pid" 2>/dev/null || true
    fi
    status=0
    wait "$pid" 2>/dev/null || status=$?
    if ((status != 0)); then
      note "${NAMES[i]} ended with status $status"
      result=1
    fi
  done
  NAMES=() PIDS=() SIGNALS=()
  return "$result"
}

print_steps() {
  ((${#STEPS[@]})) || return 0
  local entry
  echo
  for entry in "${STEPS[@]}"; do
    printf '%14s  %s\n' "$(duration "${entry%%	*}")" "${entry#*	}"
  done
  printf '%s%14s  in all%s\n' "$BOLD" "$(duration $((SECONDS - INVOKED_AT)))" "$PLAIN"
}

# The only way out: keeps the exit status. A command may define `on_failure` to print what helps.
finish() {
  local status=$1
  trap - EXIT
  trap 'HURRY=1' INT TERM HUP
  set +e
  if [[ -n $FOREGROUND ]]; then
    kill -s TERM -- "-$FOREGROUND" 2>/dev/null
    await_end "$FOREGROUND" 30 || kill -s KILL -- "-$FOREGROUND" 2>/dev/null
  fi
  if ((status > 0 && status < 128)) && declare -F on_failure >/dev/null; then on_failure; fi
  stop_all
  [[ -n $SCRATCH ]] && rm -rf "$SCRATCH"
  print_steps
  exit "$status"
}
trap 'finish $?' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- packages and tools ----------------------------------------------------------------------------------------------

is_there() {
  local probe rest=$1
  while [[ -n $rest ]]; do
    probe=${rest%%|*}
    rest=${rest#"$probe"}
    rest=${rest#|}
    if [[ $probe == */* ]]; then
      compgen -G "$probe" >/dev/null && return
    elif command -v "$probe" >/dev/null; then
      return
    fi
  done
  return 1
}

brew_formula() {
  case $1 in
    postgresql) echo postgresql@17 ;;
    redis-*) echo redis ;;
    tesseract-ocr) echo tesseract ;;
    tesseract-ocr-*) echo tesseract-lang ;;
    poppler-*) echo poppler ;;
    ffmpeg) echo ffmpeg ;;
    cmake) echo cmake ;;
    nasm) echo nasm ;;
    python3*) echo python ;;
    nodejs | npm) echo node ;;
  esac
}

# Runs as root. The policy file keeps new packages from starting services, and createcluster.conf keeps the Postgres
# package from making a cluster; what the machine's owner wrote there stays.
# shellcheck disable=SC2016 # expanded by the shell that runs it
INSTALL_SCRIPT='
  set -e
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 UCF_FORCE_CONFFOLD=1
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
    trap "rm -f $policy" EXIT
    trap "exit 130" INT
    trap "exit 143" HUP TERM
    printf "#!/bin/sh\nexit 101\n" >"$policy"
    chmod 755 "$policy"
  fi
  new_redis=
  for package; do
    case $package in
      postgresql)
        if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
          mkdir -p /etc/postgresql-common
          printf "# No cluster is made when a server package is installed.\ncreate_main_cluster = false\n" \
            >/etc/postgresql-common/createcluster.conf
        fi ;;
      redis-server) new_redis=1 ;;
    esac
  done
  apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 update ||
    echo "apt-get update failed; trying with the lists that are here"
  apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
    install --no-install-recommends "$@"
  if [ -n "$new_redis" ] && [ -d /run/systemd/system ]; then
    systemctl disable redis-server >/dev/null 2>&1 || true
  fi
'

# Installs the packages whose probe finds nothing: need PACKAGE:probe...
need() {
  local spec package missing=' '
  for spec; do
    package=${spec%%:*}
    is_there "${spec#*:}" && continue
    [[ $(uname) == Darwin ]] && package=$(brew_formula "$package")
    [[ -n $package && $missing != *" $package "* ]] && missing+="$package "
  done
  [[ $missing == ' ' ]] && return
  local packages
  read -r -a packages <<<"$missing"

  if [[ $(uname) == Darwin ]]; then
    die "something is missing. Install it with: brew install ${packages[*]}"
  fi
  if ! command -v apt-get >/dev/null; then
    die "missing, and there is no apt-get to install it with: ${packages[*]} (names as in Debian)"
  fi
  local as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "missing, and there is no sudo. As root: apt-get install ${packages[*]}"
    as_root=(sudo)
  fi

  scratch
  local log=$SCRATCH/apt.log started=$SECONDS
  say "Installing ${packages[*]}"
  if ! ${as_root[@]+"${as_root[@]}"} sh -c "$INSTALL_SCRIPT" install "${packages[@]}" </dev/null >"$log" 2>&1; then
    show_log apt-get "$log"
    die "could not install ${packages[*]}"
  fi
  hash -r
  STEPS+=("$((SECONDS - started))	packages")
  for spec; do
    is_there "${spec#*:}" || die "${spec%%:*} is installed, but ${spec#*:} is still missing"
  done
}

need_rust() {
  command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-${HOME-}/.cargo}/bin
  command -v cargo >/dev/null || die "Rust is missing. Install it with rustup: https://rustup.rs"
}

# Builds a cargo tool if it is missing: need_tool COMMAND CRATE VERSION [cargo install options]
need_tool() {
  local command=$1 crate=$2 version=$3
  shift 3
  command -v "$command" >/dev/null && return
  PATH=$PATH:${CARGO_HOME:-${HOME-}/.cargo}/bin
  command -v "$command" >/dev/null && return
  # The project's own target folder and flags must neither be filled nor obeyed by a foreign build.
  step "Installing $crate $version (minutes, only once)" \
    env -u CARGO_TARGET_DIR -u RUSTFLAGS -u CARGO_BUILD_TARGET \
    cargo install --quiet --locked --version "$version" "$crate" "$@"
}

need_nextest() {
  # Without its updater, and optimised a little only: built in two thirds of the time, it runs as fast.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 need_tool cargo-nextest cargo-nextest "$NEXTEST_VERSION" --no-default-features --features default-no-update
}

# Sets PROMTOOL. Debian's package brings a server that it starts, so only the tool is taken out of it, and kept.
need_promtool() {
  PROMTOOL=$(command -v promtool || true)
  [[ -n $PROMTOOL ]] && return
  [[ $(uname) == Darwin ]] && die "something is missing. Install it with: brew install prometheus"
  command -v apt-get >/dev/null || die "missing, and there is no apt-get to fetch it with: promtool (of prometheus)"
  scratch
  PROMTOOL=$(cache_folder)/promtool || PROMTOOL=$SCRATCH/promtool
  [[ -x $PROMTOOL ]] && return
  step "Fetching promtool (20 MB, only once)" fetch_promtool "$PROMTOOL" || die "could not fetch promtool"
}

fetch_promtool() {
  local folder=$SCRATCH/prometheus
  mkdir -p "$folder"
  (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg-deb -x prometheus_*.deb .) &&
    mv "$folder/usr/bin/promtool" "$1.new" && mv "$1.new" "$1"
}

# Installs OpenAI's SDKs for Python and Node where the tests look for them: as pinned, and only once. The folders are marked
# last, with what they were made of: one without that mark was left half-way.
need_sdks() {
  local folder=$ROOT/target/sdk
  mkdir -p "$folder"
  if ! "$folder/python/bin/python" -c '' 2>/dev/null ||
    ! cmp -s tests/sdk/python/requirements.txt "$folder/python/complete"; then
    step "Installing libraries for Python (only once)" install_python_sdk "$folder/python" ||
      die "could not install OpenAI's SDK and the verifier of webhooks for Python: it needs python3 with venv, and PyPI"
  fi
  if ! cmp -s tests/sdk/node/package-lock.json "$folder/node/complete"; then
    step "Installing libraries for Node (only once)" install_node_sdk "$folder/node" ||
      die "could not install OpenAI's SDK and the verifier of webhooks for Node: it needs npm, and its registry"
  fi
  # The tests have an environment of their own, in which node may not be found.
  ln -sf "$(command -v node)" "$folder/node/node"
}

install_python_sdk() {
  rm -rf "$1"
  python3 -m venv "$1" &&
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
      -r tests/sdk/python/requirements.txt &&
    cp tests/sdk/python/requirements.txt "$1/complete"
}

install_node_sdk() {
  rm -rf "$1"
  mkdir "$1" && cp tests/sdk/node/package.json tests/sdk/node/package-lock.json "$1" &&
    npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$1" &&
    cp tests/sdk/node/package-lock.json "$1/complete"
}

# The profile that demo and dev build: sets PROGRAMS (the folder of the programs), builds them.
build_programs() {
  local flags=() target=${CARGO_TARGET_DIR:-target}
  case ${BAATCHEET_PROFILE:-release} in
    release)
      flags=(--release)
      PROGRAMS=$target/release
      ;;
    dev) PROGRAMS=$target/debug ;;
    *) die "BAATCHEET_PROFILE is ${BAATCHEET_PROFILE}; it may be release or dev" ;;
  esac
  [[ -x $PROGRAMS/baatcheet-api ]] || note "The first build takes minutes."
  step "Building" cargo build --workspace --bins --locked ${flags[@]+"${flags[@]}"}
}

# --- folders and ports -----------------------------------------------------------------------------------------------

# Runs a command as the user that Postgres runs as: it refuses to be root.
as_postgres() {
  if ((EUID == 0)); then
    (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@")
  else
    "$@"
  fi
}

# Makes the temporary folder of this run. Postgres must be able to enter it, so as root a private TMPDIR will not do.
scratch() {
  [[ -z $SCRATCH ]] || return 0
  local parent
  for parent in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
    [[ -d $parent && -w $parent ]] || continue
    if ((EUID == 0)) && ! others_may_enter "$parent"; then continue; fi
    SCRATCH=$(cd "$parent" && mktemp -d "$PWD/baatcheet.XXXXXX")
    chmod 711 "$SCRATCH"
    return
  done
  die "no temporary folder that every user may enter: tried ${TMPDIR:-/tmp}, /tmp and /var/tmp"
}

# Whether users other than the owner may pass through a folder and all above it.
others_may_enter() {
  local folder
  folder=$(cd "$1" 2>/dev/null && pwd -P) || return 1
  while :; do
    [[ $(ls -ld "$folder/.") == d????????[xt]* ]] || return 1
    [[ $folder == / ]] && return
    folder=$(dirname "$folder")
  done
}

# Prints the folder of what only saves time, or nothing if it cannot be made.
cache_folder() {
  local folder=${XDG_CACHE_HOME:-${HOME-}/.cache}/baatcheet
  ((EUID == 0)) && folder=/var/cache/baatcheet
  (umask 022 && mkdir -p "$folder") 2>/dev/null && [[ -w $folder ]] && echo "$folder"
}

# Sets the named variable to a port on 127.0.0.1 that nobody uses: free_port NAME [PREFERRED]
free_port() {
  local candidate=${2:-$((20000 + RANDOM % 12000))} # below the range that the kernel gives to outgoing connections
  while [[ $TAKEN_PORTS == *" $candidate "* ]] || (: <>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null; do
    candidate=$((20000 + RANDOM % 12000))
  done
  TAKEN_PORTS+="$candidate "
  printf -v "$1" %s "$candidate"
}

# Waits until a URL of NAME answers 2xx: await_http NAME URL SECONDS
await_http() {
  local pid deadline=$((SECONDS + $3))
  pid=$(pid_of "$1")
  until curl -fs -o /dev/null --noproxy '*' --max-time 2 "$2"; do
    alive "$pid" || die "$1 ended while starting"
    ((SECONDS < deadline)) || die "$1 was not ready in $3 s: $2"
    sleep 0.1
  done
}

# --- servers ---------------------------------------------------------------------------------------------------------

# Prints the folder of the newest Postgres programs, or of those of the given major version.
postgres_programs() {
  local folder
  folder=$(compgen -G "/usr/lib/postgresql/${1:-*}/bin" ||
    compgen -G "/opt/homebrew/opt/postgresql@${1:-*}/bin" ||
    compgen -G "/usr/local/opt/postgresql@${1:-*}/bin" || true)
  sort -V <<<"$folder" | tail -n 1
}

# Makes a cluster with the user and the database `baatcheet`: new_cluster PROGRAMS FOLDER
new_cluster() {
  local programs=$1 data=$2 locale=C.UTF-8
  # A Mac has no C.UTF-8.
  [[ $(uname) == Darwin ]] && locale=en_US.UTF-8
  # Named in full: a bare machine would give SQL_ASCII, in which full-text search loses Hindi.
  as_postgres "$programs/initdb" -D "$data" -U baatcheet -E UTF8 --locale="$locale" --auth=trust --no-sync &&
    as_postgres "$programs/postgres" --single -D "$data" postgres <<<'CREATE DATABASE baatcheet'
}

# Unpacks a cluster into FOLDER. `initdb` takes a second or more, so its result is kept: as one file, which a rename
# makes complete or absent, and named by the version, since another major version cannot read it.
unpack_cluster() {
  local programs=$1 data=$2 cache archive fresh
  if ! cache=$(cache_folder) || { ((EUID == 0)) && ! others_may_enter "$cache"; }; then
    new_cluster "$programs" "$data"
    return
  fi
  archive=$cache/postgres-$("$programs/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/').tar
  if [[ -f $archive ]]; then
    as_postgres mkdir -m 700 "$data"
    as_postgres tar -xf "$archive" -C "$data" && [[ -f $data/PG_VERSION ]] && return
    rm -rf "$data" "$archive"
  fi
  new_cluster "$programs" "$data" || return
  if fresh=$(mktemp "$archive.XXXXXX") && as_postgres tar -cf - -C "$data" . >"$fresh"; then
    chmod 644 "$fresh"
    mv -f "$fresh" "$archive"
  else
    rm -f "$fresh"
  fi
}

# Starts a private Postgres with its data in FOLDER, which is kept if it has some, and sets DATABASE_URL:
# start_postgres FOLDER [setting=value]...
start_postgres() {
  local folder=$1 setting settings=() owner='' programs log try port started=$SECONDS
  shift
  for setting; do settings+=(-c "$setting"); done
  mkdir -p "$folder"
  log=$folder/server.log
  : >"$log"
  if ((EUID == 0)); then
    owner=postgres
    chown postgres: "$folder"
    as_postgres test -x "$folder" ||
      die "Postgres runs as the user postgres, who cannot enter $folder: a folder above it is private"
  fi
  chmod 700 "$folder"

  programs=$(postgres_programs)
  if [[ -f $folder/data/PG_VERSION ]]; then
    programs=$(postgres_programs "$(<"$folder/data/PG_VERSION")")
    [[ -n $programs ]] || die "$folder holds data of Postgres $(<"$folder/data/PG_VERSION"), which is not installed"
  else
    [[ -n $programs ]] || die "no Postgres server programs found"
    rm -rf "$folder/data" "$folder/data.new"
    if ! unpack_cluster "$programs" "$folder/data.new" >>"$log" 2>&1; then
      show_log initdb "$log"
      die "could not make a Postgres cluster in $folder"
    fi
    mv "$folder/data.new" "$folder/data"
  fi

  # The name of a socket has room for about 100 bytes.
  local sockets=$folder
  ((${#sockets} > 80)) && sockets=''
  for try in 1 2 3; do
    free_port port
    launch postgres INT "$owner" "$log" "$programs/postgres" -D "$folder/data" -p "$port" \
      -c listen_addresses=127.0.0.1 -c unix_socket_directories="$sockets" -c max_connections=300 -c timezone=UTC \
      ${settings[@]+"${settings[@]}"}
    # Another process can take the port in between, and may even be a Postgres that is ready: ask who owns the data.
    until [[ $(sed -n '1p;8p' "$folder/data/postmaster.pid" 2>/dev/null) == "$(pid_of postgres)"$'\n'ready* ]] &&
      "$programs/pg_isready" -q -h 127.0.0.1 -p "$port" -d postgres; do
      if ! alive "$(pid_of postgres)"; then
        if ((try < 3)) && grep -q 'could not bind' "$log"; then
          forget_last
          continue 2
        fi
        show_log postgres "$log"
        die "Postgres did not start"
      fi
      if ((SECONDS - started > 60)); then
        show_log postgres "$log"
        die "Postgres was not ready in 60 s"
      fi
      sleep 0.05
    done
    break
  done
  DATABASE_URL=postgres://baatcheet@127.0.0.1:$port/baatcheet
}

# Starts a private Redis that keeps nothing on disk, and sets REDIS_URL: start_redis FOLDER
start_redis() {
  local folder=$1 try port log=$1/server.log started=$SECONDS
  mkdir -p "$folder"
  chmod 700 "$folder"
  : >"$log"
  for try in 1 2 3; do
    free_port port
    launch redis TERM '' "$log" redis-server --port "$port" --bind 127.0.0.1 --dir "$folder" \
      --save '' --appendonly no --daemonize no
    # Said by our own Redis; an answer on the port could be anyone's.
    until grep -q 'Ready to accept connections' "$log"; do
      if ! alive "$(pid_of redis)"; then
        if ((try < 3)) && grep -q 'bind' "$log"; then
          forget_last
          continue 2
        fi
        show_log redis "$log"
        die "Redis did not start"
      fi
      if ((SECONDS - started > 30)); then
        show_log redis "$log"
        die "Redis was not ready in 30 s"
      fi
      sleep 0.05
    done
    break
  done
  REDIS_URL=redis://127.0.0.1:$port
}

# --- tests -----------------------------------------------------------------------------------------------------------

# What every run of the tests finds in its environment.
test_environment() {
  # The tests get their settings from the harness; what the caller's shell holds is for other runs.
  unset DATABASE_URL DATABASE_DIRECT_URL REDIS_URL REDIS_PREFIX TEST_DATABASE_URL TEST_REDIS_URL SECRET_KEY \
    SECRET_KEY_PREVIOUS STORAGE_URL ENVIRONMENT PORT HOST PUBLIC_URL LOG_FORMAT RUST_LOG OUTBOUND_ALLOW \
    WORKER_PORT WORKER_QUEUES WORKER_CONCURRENCY SHUTDOWN_DELAY_SECONDS METRICS_TOKEN \
    SENTRY_DSN SENTRY_ENVIRONMENT SENTRY_TRACES_SAMPLE_RATE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION
  export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}" no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}"
  export INSTA_UPDATE=no CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
  # Incremental builds cost time and disk, and pay back only on the second build.
  if [[ ${CI-} == true ]]; then export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}; fi
}

# Starts the servers of the tests and names them in TEST_DATABASE_URL and TEST_REDIS_URL.
start_test_servers() {
  scratch
  # A test run that loses power starts anew, so nothing here has to reach the disk.
  start_postgres "$SCRATCH/postgres" fsync=off synchronous_commit=off full_page_writes=off
  start_redis "$SCRATCH/redis"
  export TEST_DATABASE_URL=$DATABASE_URL TEST_REDIS_URL=$REDIS_URL
  unset DATABASE_URL REDIS_URL
  note "Postgres $TEST_DATABASE_URL"
  note "Redis    $TEST_REDIS_URL"
}
