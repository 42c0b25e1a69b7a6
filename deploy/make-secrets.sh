#!/bin/sh
# deploy/make-secrets.sh [--self-signed HOST] [FOLDER]
#
# Makes what the plane keeps from the world, each in a file of its own: no password has a default. A file that
# exists is left as it is, so running this again after a new version adds what is new.
#   secret_key         signs sessions
#   database_password  of the user plane in PostgreSQL
#   broker_password    of Redis, and redis.conf, which gives it to the server
#   tls.crt, tls.key   only with --self-signed, for a trial; put the certificate of your own authority there instead
# The folder is closed to everyone but its owner. The files inside can be read by whoever gets them mounted: the
# processes of the containers have users of their own.
set -eu

host=
if [ "${1:-}" = --self-signed ]; then
  host=${2:?--self-signed wants the host name that people type}
  shift 2
fi
folder=${1:-secrets}

umask 077
mkdir -p "$folder"
chmod 700 "$folder"

random() { # 64 characters of the URL-safe alphabet
  head -c 48 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'
}

put() { # put NAME: the standard input, whole or not at all, never over a file that is there
  [ -e "$folder/$1" ] && return 0
  cat >"$folder/.$1.new"
  chmod 444 "$folder/.$1.new"
  mv -n "$folder/.$1.new" "$folder/$1"
  echo "made $folder/$1"
}

for name in secret_key database_password broker_password; do
  random | put "$name"
done
printf 'requirepass %s\n' "$(cat "$folder/broker_password")" | put redis.conf

if [ -n "$host" ] && [ ! -e "$folder/tls.key" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$host" \
    -addext "subjectAltName=DNS:$host" -keyout "$folder/.key" -out "$folder/.crt" 2>/dev/null
  put tls.crt <"$folder/.crt"
  put tls.key <"$folder/.key"
  rm -f "$folder/.key" "$folder/.crt"
fi
