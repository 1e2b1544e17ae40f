#!/bin/sh
# Says what this machine lacks for castmine, all at once, with the command that installs it; exit 1 when something is missing.
# usage: check_host.sh [horovod]      with "horovod", also what building Horovod needs
missing='' packages=''
lacks() { missing="$missing  - $1\n"; packages="$packages $2"; }

if ! command -v python3.11 >/dev/null 2>&1; then
  found=$(python3 --version 2>/dev/null || echo 'no python3 at all')
  lacks "Python 3.11 (found: $found)" 'python3.11 python3.11-venv'
elif ! python3.11 -c 'import ensurepip, venv' 2>/dev/null; then
  lacks 'the venv module of Python 3.11' python3.11-venv
fi

# Spark 4.0 runs on Java 17; on 24 and newer it does not start. Spark takes JAVA_HOME where set, else the java on the path.
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
if ! command -v "$java" >/dev/null 2>&1; then
  lacks "Java 17 (looked for: $java)" openjdk-17-jre-headless
else
  version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  if [ "$version" != 17 ]; then
    lacks "Java 17 ($java is Java ${version:-of unknown version})" openjdk-17-jre-headless
    homes=$(ls -d /usr/lib/jvm/*17*/bin/java 2>/dev/null | sed 's#/bin/java##' | head -n 1)
    [ -n "$homes" ] && missing="$missing      there is one already: export JAVA_HOME=$homes\n"
  fi
fi

if [ "${1:-}" = horovod ]; then
  for tool in cmake make; do command -v $tool >/dev/null 2>&1 || lacks "$tool (builds Horovod)" $tool; done
  if ! command -v g++ >/dev/null 2>&1; then
    lacks 'g++ 11 or newer (builds Horovod)' g++
  elif [ "$(g++ -dumpversion | cut -d. -f1)" -lt 11 ]; then
    lacks "g++ 11 or newer (builds Horovod; found $(g++ -dumpversion))" g++
  fi
  if command -v python3.11 >/dev/null 2>&1; then
    header=$(python3.11 -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
    [ -f "$header" ] || lacks 'the C headers of Python 3.11 (builds Horovod)' python3.11-dev
  else
    packages="$packages python3.11-dev"
  fi
fi

if [ -n "$missing" ]; then
  printf 'castmine cannot be set up yet. Missing:\n%b' "$missing"
  printf 'On Debian or Ubuntu:\n  sudo apt-get update && sudo apt-get install -y%s\n' "$packages"
  exit 1
fi
free_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
if [ "$free_kb" -lt 14000000 ]; then
  printf 'castmine needs about 14 GB of disk for set-up (environment 6 GB, download cache 4 GB, build); here are %s GB.\n' $((free_kb / 1000000))
  exit 1
fi
