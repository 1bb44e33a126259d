# shellcheck shell=bash
# A whole product for a command: private servers, the API and a worker, all of which end with the command. Sourced
# after lib.sh.
# shellcheck disable=SC2034 # used by the commands that source it

ENVIRONMENT_OF_PROGRAMS=() # of `env -i`
API=''                     # its URL

product_packages() {
  local packages=("${BUILD_PACKAGES[@]}" "${OCR_PACKAGES[@]}")
  [[ -n ${DATABASE_URL-} ]] || packages+=("${POSTGRES_PACKAGES[@]}")
  [[ -n ${REDIS_URL-} ]] || packages+=("${REDIS_PACKAGES[@]}")
  need "${packages[@]}"
}

# Starts everything, after `build_programs`. Arguments are more variables: start_product [NAME=value]...
start_product() {
  local started=$SECONDS port worker_port name
  say "Starting the servers"
  scratch
  [[ -n ${DATABASE_URL-} ]] || start_postgres "$SCRATCH/postgres"
  [[ -n ${REDIS_URL-} ]] || start_redis "$SCRATCH/redis"
  mkdir "$SCRATCH/files"
  free_port port
  free_port worker_port
  API=http://127.0.0.1:$port

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
  for name in DATABASE_DIRECT_URL REDIS_CA_FILE REDIS_TLS_INSECURE RUST_BACKTRACE TESSDATA_PREFIX; do
    [[ -n ${!name-} ]] && ENVIRONMENT_OF_PROGRAMS+=("$name=${!name}")
  done

  run env -i "${ENVIRONMENT_OF_PROGRAMS[@]}" "$PROGRAMS/baatcheet-migration" up >"$SCRATCH/migration.log" 2>&1 || {
    show_log "the migration" "$SCRATCH/migration.log"
    die "the migration failed"
  }
  launch api TERM '' "$SCRATCH/api.log" env -i "${ENVIRONMENT_OF_PROGRAMS[@]}" "$PROGRAMS/baatcheet-api"
  launch worker TERM '' "$SCRATCH/worker.log" env -i "${ENVIRONMENT_OF_PROGRAMS[@]}" "$PROGRAMS/baatcheet-worker"
  await_http api "$API/api/health/ready" 30
  await_http worker "http://127.0.0.1:$worker_port/ready" 30
  STEPS+=("$((SECONDS - started))	Starting the servers")
}

show_product_logs() {
  [[ -n $SCRATCH ]] || return 0
  show_log "the API" "$SCRATCH/api.log"
  show_log "the worker" "$SCRATCH/worker.log"
}
