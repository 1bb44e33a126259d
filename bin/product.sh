# shellcheck shell=bash
# A whole product for a command: private servers, the API and a worker, all of which end with the command. Sourced
# after lib.sh.
# shellcheck disable=SC2034 # used by the commands that source it

ENVIRONMENT_OF_PROGRAMS=() # of `env -i`
POSTGRES_SETTINGS=()       # of the private Postgres
API=''                     # its URL
WORKER=''                  # the worker's

product_packages() {
  local packages=("${BUILD_PACKAGES[@]}" "${ENGINE_PACKAGES[@]}")
  [[ -n ${DATABASE_URL-} ]] || packages+=("${POSTGRES_PACKAGES[@]}")
  [[ -n ${REDIS_URL-} ]] || packages+=("${REDIS_PACKAGES[@]}")
  need "${packages[@]}"
}

# Starts the servers and migrates, after `build_programs`; then the programs can be started. Arguments are more variables:
# prepare_product [NAME=value]...
prepare_product() {
  local port worker_port name
  say "Starting the servers"
  scratch
  [[ -n ${DATABASE_URL-} ]] || start_postgres "$SCRATCH/postgres" ${POSTGRES_SETTINGS[@]+"${POSTGRES_SETTINGS[@]}"}
  [[ -n ${REDIS_URL-} ]] || start_redis "$SCRATCH/redis"
  mkdir "$SCRATCH/files"
  free_port port
  free_port worker_port
  API=http://127.0.0.1:$port
  WORKER=http://127.0.0.1:$worker_port

  # Nothing of the caller's shell steers the programs but what is named here.
  ENVIRONMENT_OF_PROGRAMS=(
    PATH="$PATH"
    HOME="${HOME-/}"
    TMPDIR="$SCRATCH"
    RUST_LOG="${RUST_LOG-info}"
    ENVIRONMENT=development
    LOG_FORMAT=json
    HOST=127.0.0.1
    PORT="$port"
    WORKER_PORT="$worker_port"
    DATABASE_URL="$DATABASE_URL"
    REDIS_URL="$REDIS_URL"
    STORAGE_URL="file://$SCRATCH/files"
    SECRET_KEY="$(random_hex 32)"
    # No router sends requests here after the end has begun.
    SHUTDOWN_DELAY_SECONDS=0
    # Webhooks are received on this machine.
    OUTBOUND_ALLOW=127.0.0.0/8
    "$@"
  )
  # Keys of providers are welcome; without any, a model echoes.
  for name in DATABASE_DIRECT_URL REDIS_CA_FILE REDIS_TLS_INSECURE RUST_BACKTRACE TESSDATA_PREFIX MODELS_FILE DEFAULT_MODEL \
    {GROQ,OPENROUTER,DEEPSEEK,GEMINI,OPENAI}_{API_KEYS,API_KEY,BASE_URL}; do
    [[ -n ${!name-} ]] && ENVIRONMENT_OF_PROGRAMS+=("$name=${!name}")
  done

  run env -i "${ENVIRONMENT_OF_PROGRAMS[@]}" "$PROGRAMS/baatcheet-migration" up >"$SCRATCH/migration.log" 2>&1 || {
    show_log "the migration" "$SCRATCH/migration.log"
    die "the migration failed"
  }
}

start_api() {
  launch api TERM '' "$SCRATCH/api.log" env -i "${ENVIRONMENT_OF_PROGRAMS[@]}" "$PROGRAMS/baatcheet-api"
}

start_worker() {
  launch worker TERM '' "$SCRATCH/worker.log" env -i "${ENVIRONMENT_OF_PROGRAMS[@]}" "$PROGRAMS/baatcheet-worker"
}

# Starts everything; arguments as of prepare_product.
start_product() {
  local started=$SECONDS
  prepare_product "$@"
  start_api
  start_worker
  await_http api "$API/api/health/ready" 30
  await_http worker "$WORKER/ready" 30
  STEPS+=("$((SECONDS - started))	Starting the servers")
}

# Ends programs, but not the servers: stop_programs NAME...
stop_programs() {
  local name pid
  for name; do
    pid=$(pid_of "$name")
    kill -s TERM "$pid"
    await_end "$pid" 28 || die "$name does not stop"
  done
}

show_product_logs() {
  [[ -n $SCRATCH ]] || return 0
  show_log "the API" "$SCRATCH/api.log"
  show_log "the worker" "$SCRATCH/worker.log"
}
