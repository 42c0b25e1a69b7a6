"""The hooks that Git runs before it accepts a push: they ask the web process that started it, over two pipes.

The push lies in quarantine then: what is refused leaves no object behind. The hook says what arrived, line by line
(the quarantine's folder, then "old new reference"), ends with a dot, and waits for the word: lines that begin with a
space are for the person who pushes, `ok` takes the push in. No word, for instance because the web process has died,
is a refusal. What it takes in may hold tags beside the branch: the second hook refuses those one by one.
"""

HOOK = r"""#!/bin/sh
# Written by the plane; see apps/data/repositories/hook.py.
{ printf '%s\n' "$GIT_QUARANTINE_PATH"; cat; echo .; } > "/proc/self/fd/$PLANE_ASK" || exit 1
while IFS= read -r line; do
  case $line in
    ok) exit 0 ;;
    no) exit 1 ;;
    *) printf '%s\n' "${line# }" >&2 ;;
  esac
done < "/proc/self/fd/$PLANE_WORD"
echo 'The plane did not answer; nothing was taken in.' >&2
exit 1
"""
UPDATE_HOOK = r"""#!/bin/sh
# Written by the plane; see apps/data/repositories/hook.py. Git runs it for each reference of a push that was taken in.
case $1 in
  refs/heads/*) exit 0 ;;
  *) exit 1 ;;
esac
"""
HOOKS = {"pre-receive": HOOK, "update": UPDATE_HOOK}
ASK, WORD = "PLANE_ASK", "PLANE_WORD"
END = b"\n.\n"
