#!/bin/sh
# What crossnet runs on a host during a transaction, and what puts the host back when nobody confirms it.
#
# It needs a POSIX sh (tried with dash, bash and busybox), coreutils, flock and setsid. crossnet places it in
# /var/lib/crossnet and calls it with a verb; the timers and the boot unit call it too. What it knows is in files:
#
#   transaction/  the one transaction under way: it appears in one instant, complete, and keeps others out
#     id            which one it is: every verb is refused when it names another one
#     live/NNN      the changes up to this number, mostly one: do.M, undo.M their steps; look.M commands whose answer
#                   tells their state, old.M that answer; stands, where a fence is made, whether it is there
#     persist/NNN   changes that are made only after the confirmation; check.M what programs of the host are to say of
#                   them before, fed what do.01 writes where it has nothing of its own
#     step          the changes that were begun, a line each, written before they begin
#     made, failed  those that were made, and what the one said that could not be
#     boot          the boot in which it began
#     deadline      in seconds of uptime, with the boot to which these belong
#     decision      `confirm` or `rollback`: a hard link, so that exactly one of them is ever made
#     why           why whoever asked first for the roll-back did so, for the history
#     worker        the session that changes things now
#     result        how it ended, when all is done but the cleaning up
#     lapse         that it is one that the host began itself, when crossings were over
#     beside/       units of systemd that end it before a firewall flushes rules; `units` are those beside which they run
#     close.NN      steps that switch off the forwarding that it begins or ends
#     reload        that this was done after the confirmation, so that all is to be loaded again
#   until/        what the host does by itself, and when; each transaction replaces it
#     TIME/         like transaction/, in seconds since 1970; `of` is the digest of the record that it is made for
#     by            what starts it, `timer` of systemd or `watch`
#     watcher       the session that waits, where that is no timer
#     heartbeat     when it last showed that it goes on
#     boot          the boot in which that began
#     failed        why it could not be done
#   healed        what was brought back after others took it away, and when; the script that does so writes it
#   unwritten     that not all of the last change could be written: nothing is brought back until all is
#   drill/        which timers were seen to go off here without the connection that started them
#   history       one line for each transaction that ended
#
# A step is a file of words, one a line: what to do, then its arguments; NAME.data is what it is fed.

set -u
umask 077
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

ROOT=${0%/*}
ROOT=${ROOT%/transaction} # the boot unit calls the one that is kept with the transaction
ROOT=${ROOT%/until}
T=$ROOT/transaction
export CROSSNET_WORKS_IN="$ROOT"

# sysexits.h
REFUSED=76 HELD=75 LACKING=69 FAILED=70
GONE=127 # this script was taken away: what a shell says that does not find it

UNARMED=60    # seconds for which a transaction keeps others out when no timer watches over it
LONGEST=86400 # seconds: a deadline farther away than that was never written by crossnet
SOON=5        # seconds for a timer to show that it runs
STALE=15      # seconds after which a watcher that says nothing counts as dead
PATIENCE=30   # seconds for one step of an undo
STUCK=45      # seconds without a new step after which whoever ends a transaction counts as dead
RUNTIME=/run/systemd/system
AGAIN=30      # seconds until an undo that could not be proved is tried again
TRIES=20
LAPSE=120     # seconds for what the host does by itself, until it puts itself back

# ---- time, processes, files ------------------------------------------------------------------------------

# What is asked for again and again is read into variables, without a subshell: of one that is killed, or that
# cannot be started any more, an empty answer would be left.
read_clock() { read -r now _ </proc/uptime && now=${now%%.*}; }

# What is waited for mostly comes at once, so the first times are short.
pause() { # TIMES BEFORE
    [ "$1" -gt 5 ] || ! sleep 0.02 2>/dev/null || return 0
    sleep 0.1 2>/dev/null || sleep 1
}

is_due() { # FILE: whether the deadline in it has come; one that cannot be understood has
    at='' of=''
    read -r at of 2>/dev/null <"$1"
    case $at in '' | 0* | *[!0-9]*) return 0 ;; esac
    [ ${#at} -le 9 ] && [ "$of" = "$BOOT" ] || return 0
    read_clock
    left=$((at - now))
    [ "$left" -le 0 ] || [ "$left" -gt "$LONGEST" ]
}

in_seconds() { read_clock && echo "$((now + $1)) $BOOT"; }

show_a_sign() { read_clock && echo "$now" 2>/dev/null >"$1"; } # FILE: that it goes on, for whoever watches it

# proc_pid_stat(5): what follows the name in brackets is state, parent, group, session … and, 20th, its start.
words_of() { # PROCESS
    line=''
    read -r line 2>/dev/null <"/proc/$1/stat"
    echo "${line##*) }"
}

session() { # PROCESS
    # shellcheck disable=SC2046  # the words are wanted
    set -- $(words_of "$1")
    echo "${4-}"
}

start_of() { # PROCESS
    # shellcheck disable=SC2046
    set -- $(words_of "$1")
    [ "${1-Z}" = Z ] || echo "${20-}"
}

# Process numbers mean nothing in another namespace of them: a container that shares this folder, say.
know_numbering() { [ -n "$numbering" ] || numbering=$(readlink /proc/self/ns/pid 2>/dev/null || echo none); }

myself() { know_numbering && echo "$(session $$) $(start_of "$(session $$)") $numbering"; }

is_alive() { # FILE that holds a process, its start and the namespace of its number
    process='' start='' space=''
    read -r process start space 2>/dev/null <"$1"
    [ -n "$start" ] && know_numbering && [ "${space:-$numbering}" = "$numbering" ] && [ "$(start_of "$process")" = "$start" ]
}

is_out_of_sight() { # FILE as above
    process='' start='' space=''
    read -r process start space 2>/dev/null <"$1"
    [ -n "$space" ] && know_numbering && [ "$space" != "$numbering" ]
}

# With all that it started: a tool that goes on alone would make its change after the undo of it.
end_session() { # FILE that holds the leader, its start and the namespace of its number
    leader='' start='' space=''
    read -r leader start space 2>/dev/null <"$1"
    case $leader in '' | 0 | *[!0-9]*) return 0 ;; esac
    is_of_this_boot "${1%/*}" || return 0
    know_numbering
    [ "${space:-$numbering}" = "$numbering" ] || return 0
    began=$(start_of "$leader")
    [ -z "$began" ] || [ "$began" = "$start" ] || return 0
    [ "$leader" != "$(session $$)" ] || return 0
    # Of a session without its leader nobody knows whether the number was given away meanwhile, and to whom.
    whose=anybody
    [ -n "$began" ] || whose=ours
    tries=0
    while members=$(members_of "$leader" $whose) && [ -n "$members" ] && [ "$tries" -lt 50 ]; do
        # shellcheck disable=SC2086
        kill -KILL $members 2>/dev/null
        tries=$((tries + 1))
        pause "$tries"
    done
}

members_of() { # SESSION anybody|ours
    # A shell reads byte by byte, which of every process of a host takes longer than all the rest. One that looked
    # has found this very shell.
    places=$($BOUNDED grep -ls -e ") [^Z] [0-9]* [0-9]* $1 " -e "^$$ (" /proc/[0-9]*/stat)
    [ $? -lt 124 ] || places=''
    case $places in *"/proc/$$/stat"*) ;; *) places=$(echo /proc/[0-9]*/stat) ;; esac
    for place in $places; do
        place=${place%/stat} line=''
        read -r line 2>/dev/null <"$place/stat"
        # shellcheck disable=SC2086
        set -- "$1" "$2" ${line##*) } # as words_of, without a process for each process
        if [ "${6-}" != "$1" ] || [ "$3" = Z ]; then continue; fi
        if [ "$2" = anybody ] || is_ours "$place"; then printf '%s ' "${place#/proc/}"; fi
    done
    return 0
}

# By what it was started with (proc_pid_environ(5)): whatever works for this folder carries its name.
is_ours() { tr '\0' '\n' 2>/dev/null <"$1/environ" | grep -qxF "CROSSNET_WORKS_IN=$ROOT"; } # PLACE IN /proc

flush() { $BOUNDED sync "$1" 2>/dev/null || $BOUNDED sync; }

keep() { # FILE [LINE]: that or standard input, whole or not at all, also after a power cut
    if { if [ $# -gt 1 ]; then printf '%s\n' "$2"; else cat; fi; } >"$1.aside" && flush "$1.aside" && mv -f -- "$1.aside" "$1"; then
        flush "${1%/*}"
    else
        rm -f -- "$1.aside"
        return 1
    fi
}

# One at a time ends transactions or begins them. The lock is on the folder itself, so that no file is left.
# What is started under it does not inherit it (9<&-): a tool that hangs must not hold it. It fails where flock is
# broken, or a holder cannot be killed: to put the host back is tried all the same.
alone() {
    exec 9<"$ROOT" || return 1
    read_clock
    since=$now seen='' tries=0
    until $BOUNDED flock -n 9; do
        tries=$((tries + 1))
        [ "$tries" -lt $((STUCK * 20)) ] || return
        # Counted from when it last moved before our eyes: it may be empty just now, or of one who has died.
        step=''
        read -r step 2>/dev/null <"$T/ending"
        read_clock
        [ "$step" = "$seen" ] || { seen=$step since=$now tries=0; }
        [ $((now - since)) -lt $STUCK ] || { end_session "$T/worker" && since=$now; }
        pause "$tries"
    done
}

note() { # for whoever reads the host's log
    command -v logger >/dev/null || return 0
    $BOUNDED logger -t crossnet -- "$*" </dev/null >/dev/null 2>&1 7>&- 8<&- 9<&- &
}

# ---- steps -----------------------------------------------------------------------------------------------

perform() { # STEP
    step=$1
    set --
    while IFS= read -r word; do set -- "$@" "$word"; done <"$step"
    verb=$1
    shift
    case $verb in
    run | always) feed "$step.data" "$@" ;;
    write) put "$step.data" "$@" ;;
    splice) splice "$step.data" "$@" ;;
    remove) take_away "$1" ;;
    link) link "$@" ;;
    state) state "$1" ;;
    *) echo "$step: cannot be understood" >&2 && return 1 ;;
    esac
}

# By pipe: under SELinux iptables may not open files of ours. `cat` must have read all of it before that.
feed() { # DATA COMMAND…
    if [ -e "$1" ]; then
        data=$(cat -- "$1" && echo x) || return
        shift
        printf %s "${data%x}" | $BOUNDED "$@" 9<&-
    else
        shift
        $BOUNDED "$@" </dev/null 9<&-
    fi
}

put() { # DATA PATH MODE OWNER
    folder=${2%/*}
    aside=$folder/.${2##*/}.crossnet
    if [ -d "$2" ] && [ ! -L "$2" ]; then echo "$2 is a folder" >&2 && return 1; fi
    make_folder "$folder" || return
    if cat -- "$1" >"$aside" && { [ "$4" = - ] || chown "$4" "$aside"; } && chmod "$3" "$aside" &&
        flush "$aside" && { [ ! -d "$2" ] || rm -f -- "$2"; } && mv -f -- "$aside" "$2"; then
        flush "$folder"
    else
        rm -f -- "$aside"
        return 1
    fi
}

# A part of a file that others keep; it is left as it is where it is not what it was when it was read.
splice() { # DATA PATH BEFORE AFTER OFFSET LENGTH MODE; both are digests of the whole file, or `absent`
    folder=${2%/*}
    aside=$folder/.${2##*/}.crossnet
    found=$(digest "$2") || { echo "$2 cannot be read as a file" >&2 && return 1; }
    rm -f -- "$aside" # of one that was cut short
    [ "$found" != "$4" ] || return 0
    [ "$found" = "$3" ] || { echo "$2 was changed by somebody else since it was read" >&2 && return 1; }
    if [ "$4" = absent ]; then take_away "$2" && return; fi
    make_folder "$folder" || return
    # With whatever else the file carries: its owner, its context of SELinux.
    if {
        if [ "$found" = absent ]; then : >"$aside" && chmod "$7" "$aside"; else cp -a -- "$2" "$aside"; fi
    } && {
        if [ "$found" = absent ]; then
            cat -- "$1"
        else
            head -c "$5" <"$2" && cat -- "$1" && tail -c +$(($5 + $6 + 1)) <"$2"
        fi
    } >"$aside" && [ "$(digest "$aside")" = "$4" ] && flush "$aside" && [ "$(digest "$2")" = "$found" ] &&
        mv -f -- "$aside" "$2"; then
        flush "$folder"
    else
        rm -f -- "$aside"
        return 1
    fi
}

digest() { # PATH
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then echo absent && return; fi
    [ -f "$1" ] && [ ! -L "$1" ] && sum=$(sha256sum <"$1") && echo "${sum%% *}"
}

# Each removal is flushed before the next: btrfs may have lost one of them after a power cut, and kept a later one.
take_away() { # PATH, with what a write cut short left beside it, and a folder that has no other reason
    folder=${1%/*}
    rm -f -- "$1" "$folder/.${1##*/}.crossnet" || return
    case $folder in */crossnet | *.service.wants | *.network.d)
        if is_empty "$folder" && rmdir -- "$folder" 2>/dev/null; then folder=${folder%/*}; fi
        ;;
    esac
    [ ! -d "$folder" ] || flush "$folder"
}

is_empty() { # FOLDER
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -e "$entry" ] || [ -L "$entry" ]; then return 1; fi
    done
}

make_folder() { # PATH, and what is missing above it
    [ ! -d "$1/" ] || return 0
    make_folder "${1%/*}" && (umask 022 && mkdir -p -- "$1") && flush "${1%/*}/"
}

link() { # PATH TARGET OWNER
    make_folder "${1%/*}" || return
    if [ -d "$1" ] && [ ! -L "$1" ]; then echo "$1 is a folder" >&2 && return 1; fi
    ln -sfn -- "$2" "$1" && { [ "$3" = - ] || chown -h "$3" "$1"; } && flush "${1%/*}"
}

state() { # PATH
    if [ -L "$1" ]; then stat -c %u:%g -- "$1" && readlink -- "$1"; else stat -c '%a %u:%g' -- "$1" && cksum <"$1"; fi
}

# The words, one a line. iptables says in comments what else it has seen.
WORDS='/^#/d
s/[[:blank:],{}]\{1,\}/ /g
s/^ //
s/ $//
/^$/d
s/ /\
/g'

# Sorted: a set is not listed in the same order twice.
look() { # CHANGE: how the host has it now; fails when that cannot be seen
    answers=$(answers "$1") && printf '%s\n' "$answers" | sed "$WORDS" | sort
}

# A tool that fails tells whether there is no such thing, or only that it could not look.
answers() { # CHANGE
    for question in "$1"/look.*; do
        is_step "$question" || continue
        answer=$(perform "$question" 2>/dev/null)
        code=$?
        [ $code -lt 124 ] || return # it was killed, or there is no such tool
        if [ $code -ne 0 ]; then
            answer=$(perform "$question" 2>&1)
            answer=${answer%%;*} # nft goes on with what else there is
        fi
        echo "$code $answer"
    done
}

is_step() { # FILE
    case $1 in *.data) return 1 ;; esac
    [ -e "$1" ]
}

# ---- the decision ----------------------------------------------------------------------------------------

is_decided() { # [confirm|rollback]: whether anything was, or just that; `said` is what
    said=''
    read -r said 2>/dev/null <"$T/decision"
    [ -n "$said" ] && [ "$said" = "${1:-$said}" ]
}

decide() ( # TRANSACTION confirm|rollback [WHY]: whether that is what was decided
    # From within: another one may have come to stand in its place since somebody looked.
    cd -- "$T" 2>/dev/null && is_here_in . "$1" || exit
    # The first one who asks says why; it is for people, so that nothing depends on it.
    [ -z "${3-}" ] || [ -e decision ] || (set -C && printf '%s\n' "$3" >why) 2>/dev/null
    [ -e decision ] || ln -- "$2" decision
    flush .
    read -r made 2>/dev/null <decision && [ "$made" = "$2" ]
)

is_of_this_boot() { # [FOLDER] or may be: only what is known to be of another boot needs no undo
    of=''
    read -r of 2>/dev/null <"${1:-$T}/boot"
    case $of in ????????-????-????-????-????????????) [ "$of" = "$BOOT" ] ;; esac
}

fence() { # TRANSACTION: whoever wakes up late finds another one here, or none
    is_here_in "$T" "$1" || { echo "gone ${held:-none}" && exit $REFUSED; }
}

unable() { # TRANSACTION CODE: what somebody else has ended meanwhile cannot be written to any more
    fence "$1"
    exit "$2"
}

is_here_in() { # FOLDER TRANSACTION
    held=''
    read -r held 2>/dev/null <"$1/id"
    [ "$held" = "$2" ]
}

# ---- to begin --------------------------------------------------------------------------------------------

stage() { # TRANSACTION CHECKSUM; the bundle comes as standard input
    for tool in flock setsid sha256sum sync; do
        command -v "$tool" >/dev/null || { clean && echo "lacks $tool" && exit $LACKING; }
    done
    end_by_its_own
    # Who ends the last transaction meanwhile would take the script away, and the folder.
    ln -- "$0" "$ROOT/begin.$$" || { [ -e "$0" ] && exit $FAILED; exit $GONE; }
    alone || { rm -f -- "$ROOT/begin.$$" && echo "another one is at work" && exit $FAILED; }
    [ -e "$0" ] || ln -- "$ROOT/begin.$$" "$0" 2>/dev/null || exit $GONE
    conclude_due
    [ ! -d "$T" ] || { held && exit $HELD; }
    if unpack "$1" "$2" && take_hold; then
        note "transaction $1 begins"
        drill
        echo staged
    else
        rm -rf -- "$ROOT/new"
        clean
        exit $FAILED
    fi
}

take_hold() { # in one instant, complete
    snapshot && sync && mv -- "$ROOT/new" "$T" && flush "$ROOT"
}

held() {
    is_due "$T/deadline" && left=0
    count_begun
    is_decided
    is_here_in "$T" ''
    echo "held $begun $left $held $said"
    cat "$T/journal.json"
}

# The folders in a line, then each file: its name, `lines` or `bytes`, how many, and these. Most files are some words,
# which the shell itself reads and writes in less time than it takes to start a tool; it leaves the rest to be read.
unpack() { # TRANSACTION CHECKSUM
    new=$ROOT/new
    mkdir -- "$new" && cat >"$new/bundle" || return
    sum=$(sha256sum <"$new/bundle")
    [ "${sum%% *}" = "$2" ] || { echo "what arrived is not what was sent" >&2 && return 1; }
    {
        read -r folders || return
        # shellcheck disable=SC2086  # the words are wanted
        [ -z "$folders" ] || (cd -- "$new" && mkdir -p -- $folders) || return
        while read -r name how many; do
            case $how in
            lines) take_lines "$many" >"$new/$name" ;;
            bytes) take "$many" "$new/$name" ;;
            *) echo "what arrived cannot be understood" >&2 && return 1 ;;
            esac || return
        done
    } <"$new/bundle"
    rm -f -- "$new/bundle"
    add_to "$new" "$1"
}

add_to() { # FOLDER TRANSACTION: what the host adds to what it was given
    printf '%s\n' "$2" >"$1/id" && echo confirm >"$1/confirm" && echo rollback >"$1/rollback" &&
        echo "$BOOT" >"$1/boot" && in_seconds $UNARMED >"$1/deadline" && : >"$1/step" && ln -- "$0" "$1/host.sh"
}

# One read: of a file, that brings all that is asked for.
take() { # SIZE FILE: the next bytes of standard input
    counted=$(dd bs="$1" count=1 2>&1 >"$2")
    case $?$counted in 01+0\ *) ;; *) printf '%s\n' "${counted%%
*}" >&2 && return 1 ;; esac
}

take_lines() { # NUMBER: of standard input
    left=$1
    while [ "$left" -gt 0 ]; do
        IFS= read -r line && printf '%s\n' "$line" || return
        left=$((left - 1))
    done
}

snapshot() { # looked at twice: what does not look the same now would prove nothing later
    for change in "$ROOT"/new/live/[0-9]*; do
        [ -d "$change" ] || continue
        if ! look "$change" >"$change/old" || ! is_as_before "$change"; then
            echo "$(cat "$change/what"): how it is now cannot be seen" && return 1
        fi
    done
}

# ---- the timers ------------------------------------------------------------------------------------------

# With systemd as process 1 a transient timer goes off whatever becomes of the connection's processes.
timer() { # UNIT SECONDS VERB ARGUMENT…
    if [ ! -d $RUNTIME ] || ! command -v systemd-run >/dev/null; then echo "no systemd" && return 1; fi
    unit=$1 seconds=$2
    shift 2
    $BOUNDED systemd-run --quiet --unit="$unit" --on-active="$seconds" --timer-property=AccuracySec=100ms \
        --setenv=CROSSNET_WORKS_IN="$ROOT" /bin/sh "$0" "$@" 2>&1 9<&- </dev/null
}

detach() { # VERB ARGUMENT…: in a session of its own, with nothing of the connection's in its hands
    setsid /bin/sh "$0" "$@" </dev/null >/dev/null 2>&1 9<&- &
}

proof_here() {
    login=''
    read -r login 2>/dev/null </proc/self/loginuid # it has no end of line
    echo "$BOOT ${0##*/} $login"
}

# Both timers go off for real, with a harmless mark, when the connection that started them is closed.
drill() {
    proof=''
    read -r proof 2>/dev/null <"$ROOT/drill/proof"
    [ "$proof" != "$(proof_here)" ] || return 0
    rm -rf -- "$ROOT/drill"
    mkdir -- "$ROOT/drill" || return
    here=$(readlink /proc/self/ns/net)
    timer "crossnet-drill-$$" 1 mark timer "$here" >"$ROOT/drill/timer.said" || : >"$ROOT/drill/timer.failed"
    detach mark watch "$here"
    echo drilling
}

mark() { # timer|watch NAMESPACE
    [ "$1" = timer ] || sleep 1
    [ "$(readlink /proc/self/ns/net)" = "$2" ] || exit
    ! command -v nft >/dev/null || nft --file - </dev/null || exit
    show_a_sign "$ROOT/drill/$1"
}

proved() { # the timers that went off; waits for one that may still do
    if [ ! -e "$ROOT/drill/proof" ]; then
        tries=0
        until { [ -e "$ROOT/drill/timer" ] || [ -e "$ROOT/drill/timer.failed" ]; } && [ -e "$ROOT/drill/watch" ]; do
            tries=$((tries + 1))
            [ "$tries" -lt $((SOON * 10)) ] || break
            pause "$tries"
        done
        {
            proof_here
            for name in timer watch; do [ ! -e "$ROOT/drill/$name" ] || echo "$name"; done
        } >"$ROOT/drill/proof.new"
        [ "$(wc -l <"$ROOT/drill/proof.new")" -gt 1 ] || return 1
        mv -f -- "$ROOT/drill/proof.new" "$ROOT/drill/proof"
    fi
    { read -r _ && while read -r name; do echo "$name"; done; } <"$ROOT/drill/proof"
}

arm() { # TRANSACTION SECONDS [unproved]
    fence "$1"
    timers=$(proved)
    if [ -z "$timers" ]; then
        echo "unproved $(tr '\n' ' ' 2>/dev/null <"$ROOT/drill/timer.said")"
        [ "${3-}" = unproved ] && : >"$T/unguarded" || exit $LACKING
        detach watch "$1"
    fi
    ! is_decided || { echo "gone $said" && exit $REFUSED; }
    stand_beside || unable "$1" $FAILED
    { read_clock && keep "$T/deadline" "$((now + $2)) $BOOT"; } || unable "$1" $FAILED
    for name in $timers; do
        case $name in
        timer) start_timer "$1" "$2" || unable "$1" $LACKING ;;
        watch) start_watch "$1" || unable "$1" $LACKING ;;
        esac
        echo "armed $name"
    done
}

start_timer() { # TRANSACTION SECONDS
    unit=crossnet-$1-$(wc -l 2>/dev/null <"$T/timers" || echo 0)
    timer "$unit" "$2" expire "$1" && echo "$unit" >>"$T/timers"
}

start_watch() { # TRANSACTION
    detach watch "$1"
    tries=0
    until [ -e "$T/heartbeat" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt $((SOON * 10)) ] || return
        pause "$tries"
    done
}

watch() { # TRANSACTION
    echo -900 2>/dev/null >/proc/self/oom_score_adj
    myself >"$T/watcher"
    while is_here "$1"; do
        show_a_sign "$T/heartbeat"
        is_decided || is_fenced || no_fence "$1"
        if is_due "$T/deadline" || is_decided rollback || [ -e "$T/result" ]; then insist "$1"; fi
        sleep 1
    done
    clear_away
}

expire() { # TRANSACTION: a timer's time has come, unless it was extended
    ! is_due "$T/deadline" || { insist "$1" && clear_away; }
}

# Whoever ends a transaction ends its timers as well: where one still runs, that one was killed before it was done.
clear_away() { alone && conclude_due && clean; }

insist() { # TRANSACTION
    tries=0
    while is_here "$1" && ! (conclude_alone "$1" >/dev/null) && is_here "$1"; do
        tries=$((tries + 1))
        [ "$tries" -lt $TRIES ] || exit
        sleep $AGAIN
    done
}

is_here() { is_here_in "$T" "$1"; } # TRANSACTION

is_guarded() { # whether one of the timers that were armed still stands
    if [ -s "$T/timers" ] && systemctl --quiet is-active "$(tail -n 1 "$T/timers").timer" 2>/dev/null; then
        return 0
    fi
    beat=0
    read -r beat 2>/dev/null <"$T/heartbeat"
    read_clock
    { is_alive "$T/watcher" || is_out_of_sight "$T/watcher"; } && [ $((now - beat)) -le $STALE ]
}

# A firewall that is started, stopped or reloaded may flush what was made, and what stays beside it is not there yet,
# or opens what an undo has closed: so the transaction is ended before. In /run, as no boot may find it.
stand_beside() { # fails while a firewall, or crossnet's own unit, is at work
    [ -d "$T/beside" ] && [ -d $RUNTIME ] || return 0
    cp -- "$T"/beside/*.service $RUNTIME/ || return
    units=''
    while read -r unit; do
        (umask 022 && mkdir -p -- "$RUNTIME/$unit.wants")
        ln -sfn -- "$RUNTIME/crossnet-open-close@.service" "$RUNTIME/$unit.wants/crossnet-open-close@${unit%.service}.service"
        units="$units $unit"
    done <"$T/beside/units"
    $BOUNDED systemctl daemon-reload 9<&-
    # What was asked before that, and may wait for something else still, has none of these beside it.
    # shellcheck disable=SC2086  # the words are wanted
    await_jobs $units || return
    running=''
    for unit in $units; do
        case $($BOUNDED systemctl show -p ActiveState "$unit" 2>/dev/null 9<&-) in
        *=active | *=activating | *=reloading)
            running="$running crossnet-open-close@${unit%.service}.service crossnet-open-gate@${unit%.service}.service"
            ;;
        esac
    done
    [ -n "$running" ] || return 0
    # shellcheck disable=SC2086
    $BOUNDED systemctl --no-block start $running 9<&-
    # shellcheck disable=SC2086
    await_jobs $units $running
}

await_jobs() { # UNIT…: until systemd has done what was asked of them
    read_clock
    since=$now tries=0
    while jobs=$($BOUNDED systemctl show -p Id -p Job "$@" 2>/dev/null 9<&-) && echo "$jobs" | grep -q '^Job=[1-9]'; do
        read_clock
        if [ $((now - since)) -ge $SOON ]; then
            echo "busy $(echo "$jobs" | sed -n '/^Id=/h; /^Job=[1-9]/{g;s/Id=//p;}' | tr '\n' ' ')"
            return 1
        fi
        tries=$((tries + 1))
        pause "$tries"
    done
}

step_aside() { # FOLDER of a transaction
    [ -d "$1/beside" ] && [ -d $RUNTIME ] || return 0
    units=''
    while read -r unit; do
        rm -f -- "$RUNTIME/$unit.wants/crossnet-open-close@${unit%.service}.service"
        rmdir -- "$RUNTIME/$unit.wants" 2>/dev/null
        units="$units crossnet-open-gate@${unit%.service}.service"
        [ "${unit%.service}" = "$yields_to" ] || units="$units crossnet-open-close@${unit%.service}.service"
    done <"$1/beside/units"
    rm -f -- "$RUNTIME"/crossnet-open-*.service
    # Without its file a unit that is stopped does nothing more. By name: one that is only about to start is in no list.
    $BOUNDED systemctl daemon-reload 9<&-
    # shellcheck disable=SC2086  # the words are wanted
    $BOUNDED systemctl --no-block stop $units 2>/dev/null 9<&-
}

yield() { # UNIT: before it is started, stopped or reloaded
    as_placed yield "$@"
    yields_to=$1
    trap '' TERM # its own unit is stopped with the transaction
    is_here_in "$T" ''
    [ -n "$held" ] || exit 0
    which=$held
    decide "$which" rollback "$1.service was started, stopped or reloaded meanwhile, and may flush its rules"
    if is_decided confirm; then
        # What it writes or removes is still on its way, and must not be loaded before: closed until all of that is done.
        [ "$1" != crossnet ] || exit 0 # that is it
        [ ! -e /etc/crossnet/start ] || $BOUNDED sh /etc/crossnet/start close
        close
        (: >"$T/reload") 2>/dev/null || load_again
    fi
    (conclude_alone "$which") >/dev/null || ! is_here "$which" || close
}

load_again() {
    [ ! -e /etc/systemd/system/crossnet.service ] || $BOUNDED systemctl --no-block restart crossnet.service 9<&-
}

close() { # the forwarding that this transaction begins or ends; fails where some of it stays on
    closed=0
    for step in "$T"/close.*; do
        ! is_step "$step" || perform "$step" || closed=1
    done
    return $closed
}

is_fenced() { # whether each fence that was made is there; one that cannot be looked at counts
    made=$(wc -l 2>/dev/null <"$T/made") || return 0
    for change in "$T"/live/[0-9]*; do
        [ -d "$change" ] || break
        number_of "$change"
        [ "$last" -le "$made" ] || break
        [ -e "$change/stands" ] || continue
        perform "$change/stands" >/dev/null 2>&1 || perform "$change/stands" >/dev/null 2>&1
        [ $? -ne 1 ] || return
    done
}

no_fence() { # TRANSACTION
    decide "$1" rollback "somebody took its fence away, and the gateway was open for everybody"
}

disarm() { # FOLDER of a transaction
    if [ -e "$1/timers" ]; then
        while read -r unit; do
            $BOUNDED systemctl stop "$unit.timer" 2>/dev/null 9<&-
            $BOUNDED systemctl reset-failed "$unit.timer" "$unit.service" 2>/dev/null 9<&-
        done <"$1/timers"
    fi
    # It ends by itself, as its transaction is gone: this makes it end at once, with what it sleeps by.
    if is_of_this_boot "$1" && is_alive "$1/watcher" && [ "$process" != "$(session $$)" ]; then
        kill -KILL "-$process" 2>/dev/null
    fi
}

# The timers last: until then they do the rest for one that is killed here.
stand_down() { # FOLDER of a transaction that is over
    step_aside "$1"
    [ ! -e "$1/reload" ] || load_again
    disarm "$1"
    # The unit in which this runs: to stop that ends every tool of it (timeout(1) hears what its shell does not).
    [ -z "$yields_to" ] || $BOUNDED systemctl --no-block stop "crossnet-open-close@$yields_to.service" 2>/dev/null 9<&-
}

# ---- to change -------------------------------------------------------------------------------------------

# In a session of its own: a connection that is cut must not end it in the middle of a step. What it says
# goes to a file that has no name any more, so that nothing is left whoever is killed.
apart() { # VERB ARGUMENT…
    told=$ROOT/told.$$
    if (: >"$told") 2>/dev/null; then
        # shellcheck disable=SC2094
        exec 7>"$told" 8<"$told"
        rm -f -- "$told"
    else
        exec 7>/dev/null 8</dev/null
    fi
    setsid /bin/sh "$0" "$@" </dev/null >&7 2>&1 7>&- 8<&- 9<&- &
    wait $!
    code=$?
    cat <&8
    return $code
}

apply() { # TRANSACTION UPTO
    fence "$1"
    while is_alive "$T/worker"; do pause 9; done # an earlier call, whose answer was lost
    apart work "$1" "$2" && echo "made $2" && return
    code=$?
    fence "$1" # whoever ends it ends who works for it
    ! is_decided || { echo "gone $said" && exit $REFUSED; }
    exit $code
}

work() { # TRANSACTION UPTO
    # First this, then the look at the decision: whoever decides looks for workers only after that.
    myself >"$T/worker" || unable "$1" $FAILED
    [ -e "$T/step" ] || { echo "$T/step is missing" && unable "$1" $FAILED; }
    if [ -e "$T/failed" ]; then cat "$T/failed" && exit $FAILED; fi
    count_begun
    [ "$begun" -eq "$(wc -l 2>/dev/null <"$T/made" || echo 0)" ] || { echo "a change was cut short" && exit $FAILED; }
    for change in "$T"/live/[0-9]*; do
        [ -d "$change" ] || break
        number_of "$change"
        [ "$last" -le "$2" ] || break
        [ "$last" -gt "$begun" ] || continue
        fence "$1"
        if is_decided || is_due "$T/deadline"; then echo "gone $said" && exit $REFUSED; fi
        is_guarded || [ -e "$T/unguarded" ] || { echo unguarded && exit $LACKING; }
        { count_up >>"$T/step" && flush "$T/step"; } || unable "$1" $FAILED
        make "$change" >"$T/said" 2>&1 || { fence "$1"; mv -f -- "$T/said" "$T/failed"; cat "$T/failed"; exit $FAILED; }
        count_up >>"$T/made" || unable "$1" $FAILED
        begun=$last
    done
}

number_of() { # CHANGE: that of the last one in it
    last=${1##*/}
    last=${last#"${last%%[!0]*}"}
}

count_up() { # the numbers of what begins now
    number=$begun
    while [ "$number" -lt "$last" ]; do
        number=$((number + 1))
        echo "$number" || return
    done
}

make() { # CHANGE
    ! is_made "$1" || return 0
    for step in "$1"/do.*; do
        is_step "$step" || continue
        perform "$step" && continue
        code=$?
        is_made "$1" || { echo "failed ${1##*/} ${step##*.} $code $(cat "$1/what")" && return 1; }
    done
}

# Where nobody looks at the host before the change somebody may have made it already.
is_made() { [ -e "$1/made" ] && perform "$1/made" >/dev/null 2>&1; } # CHANGE

# Who was killed, or cannot be run, has not said no.
check() { # TRANSACTION: what the host's own programs say of what is to be written for the next boot
    fence "$1"
    for change in "$T"/persist/[0-9]*; do
        for step in "$change"/check.*; do
            is_step "$step" || continue
            [ -e "$step.data" ] || ln -- "$change/do.01.data" "$step.data" || unable "$1" $FAILED
            words=$(perform "$step" 2>&1)
            code=$?
            if [ $code -ne 0 ] && [ $code -lt 124 ]; then
                printf '%s\n' "$words"
                echo "failed ${change##*/} ${step##*.} $code $(cat "$change/what")"
                exit $FAILED
            fi
        done
    done
    echo checked
}

extend() { # TRANSACTION SECONDS; standard input as for release
    fence "$1"
    if is_decided || is_due "$T/deadline" || ! { is_guarded || [ -e "$T/unguarded" ]; }; then
        echo "gone $said" && exit $REFUSED
    fi
    { prove && read_clock && keep "$T/deadline" "$((now + $2)) $BOOT"; } || unable "$1" $FAILED
    [ ! -s "$T/timers" ] || start_timer "$1" "$2" || unable "$1" $LACKING
    echo extended
}

status() { # TRANSACTION: the seconds left, or what was decided
    fence "$1"
    is_due "$T/deadline" && left=0
    if is_decided; then echo "$said"; else echo "open $left"; fi
}

# ---- to end ----------------------------------------------------------------------------------------------

commit() { # TRANSACTION
    fence "$1"
    if ! is_decided && is_due "$T/deadline"; then
        echo "late" && exit $REFUSED
    fi
    is_decided || is_fenced || no_fence "$1"
    if ! decide "$1" confirm; then
        fence "$1"
        is_decided || exit $FAILED
        echo "gone $said" && exit $REFUSED
    fi
    note "transaction $1 is confirmed"
    echo confirmed
}

prove() { # standard input, unless it is empty, is what was seen to work; half of it is nothing
    if cat >"$T/verified.aside" && [ -s "$T/verified.aside" ]; then
        mv -f -- "$T/verified.aside" "$T/verified"
    else
        rm -f -- "$T/verified.aside"
    fi
}

release() { # TRANSACTION; standard input is kept as verified.json
    fence "$1"
    is_decided confirm || { echo "gone $said" && exit $REFUSED; }
    prove
    apart conclude "$1"
}

rollback() { # TRANSACTION [WHY]
    fence "$1"
    decide "$1" rollback "${2-}" || fence "$1"
    ! is_decided confirm || { echo "gone confirm" && exit $REFUSED; }
    apart conclude "$1"
}

recover() { # at boot, and for whoever asks: what an earlier boot left is ended, and what is due
    [ -d "$ROOT" ] || exit 0
    end_by_its_own
    alone
    rm -f -- "$ROOT"/host-*.sh.* # of a controller that died while it placed this script
    conclude_due
    clean
}

# What another version has begun, that one knows to end when its time is over. Only the very script that was
# placed for it is run; where it is not whole any more, this one ends it.
is_anothers() {
    [ -e "$T/host.sh" ] && ! cmp -s -- "$T/host.sh" "$0" || return
    sum=$(sha256sum 2>/dev/null <"$T/host.sh")
    cmp -s -- "$T/host.sh" "$ROOT/host-$(printf %.16s "$sum").sh"
}

end_by_its_own() { ! is_anothers || setsid /bin/sh "$T/host.sh" recover </dev/null >/dev/null 2>&1; }

conclude_alone() { # TRANSACTION
    alone
    fence "$1"
    conclude && clean
}

conclude_due() {
    # Of one whose removal has begun they are ended already, and without its boot nobody knows whose process that is.
    for gone in "$ROOT"/gone.*; do [ ! -e "$gone/boot" ] || stand_down "$gone"; done
    rm -rf -- "$ROOT/new" "$ROOT/until.new" "$ROOT"/begin.* "$ROOT"/told.* "$ROOT"/gone.*
    if [ -d "$T" ] && ! is_anothers && { is_due "$T/deadline" || [ -e "$T/result" ]; }; then conclude >/dev/null; fi
}

conclude() { # what is still to be done, whoever died before
    if [ ! -e "$T/result" ]; then
        is_here_in "$T" ''
        is_decided || decide "$held" rollback "$(why_by_itself)"
        end_session "$T/worker"
        myself 2>/dev/null >"$T/worker"
        if is_decided confirm; then forward; else back; fi || return
    fi
    read -r result <"$T/result" && echo "$result"
    forget
    keep_waiting
}

why_by_itself() { # why a host puts itself back
    if is_of_this_boot; then
        echo "nobody confirmed it in time"
    else
        echo "the host was rebooted before it was confirmed"
    fi
}

back() {
    count_begun
    newest_first='' last=0
    for change in "$T"/live/[0-9]*; do
        [ "$last" -lt "$begun" ] || break
        newest_first="$change $newest_first"
        number_of "$change"
    done
    for change in $newest_first; do
        show_a_sign "$T/ending"
        # A fence stays where what it fences cannot be switched off: so nobody gets through that did not before.
        if [ -e "$change/stands" ] && is_of_this_boot && ! close 2>&1; then continue; fi
        # Another boot never knew of the change: only what is on the disk is put back, which `always` does too.
        if is_of_this_boot; then by_command=yes; else by_command=no; fi
        # An insert that is done again would be there twice.
        [ -e "$change/undo.02" ] || ! is_as_before "$change" || by_command=no
        for step in "$change"/undo.*; do
            is_step "$step" || continue
            read -r kind <"$step"
            [ "$kind" != run ] || [ "$by_command" = yes ] || continue
            show_a_sign "$T/ending"
            perform "$step" 2>&1
        done
    done
    # shellcheck disable=SC2086
    if ! left=$(dirty $newest_first) || [ -n "$left" ]; then
        note "transaction $held: the rollback could not be proved"
        echo "$left"
        return $FAILED
    fi
    note "transaction $held is rolled back"
    keep "$T/result" clean || { echo "how it ended could not be written" && return $FAILED; }
}

count_begun() { # all of them when it is not known
    begun=0
    [ -e "$T/step" ] || { begun=999999 && return; }
    while read -r _; do begun=$((begun + 1)); done <"$T/step"
}

dirty() { # CHANGE…: those that are not as they were
    for change; do
        show_a_sign "$T/ending"
        is_of_this_boot || [ "$(head -n 1 "$change/look.01")" = state ] || continue
        is_as_before "$change" || echo "$(cat "$change/what") is not what it was before"
    done
}

is_as_before() { # CHANGE
    view=$(look "$1") && [ "$view" = "$(cat "$1/old")" ]
}

forward() {
    result=written
    for change in "$T"/persist/[0-9]*; do
        show_a_sign "$T/ending"
        make "$change" || result=unwritten
    done
    # What could not be removed is still crossnet's.
    keep_or_remove "$T/record.$result" "$ROOT/applied.json" || return
    if [ ! -e "$ROOT/applied.json" ]; then
        take_away "$ROOT/verified.json" || return
    elif [ -s "$T/verified" ]; then
        keep "$ROOT/verified.json" <"$T/verified" || return
    fi
    is_of_this_boot || in_this_boot_too
    if place_until; then
        is_at_boot || arm_until # systemd starts its own
    else
        result=unwritten
        echo "failed 0 0 $FAILED what the host does when crossings are over"
        echo "until unproved"
    fi
    # Who heals goes by what is written, and may not bring back what was there before.
    if [ "$result" = written ]; then
        rm -f -- "$ROOT/unwritten" || return
    elif [ -e /etc/crossnet/heal ]; then
        : >"$ROOT/unwritten"
    fi
    keep "$T/result" "$result"
}

# Before all of it was written the host has booted what was there before the change, or a part of that: early in
# a boot a setting, but no rule and no route yet.
in_this_boot_too() {
    for change in "$T"/live/[0-9]*; do
        [ -d "$change" ] || break
        show_a_sign "$T/ending"
        ! is_as_before "$change" || make "$change" >/dev/null 2>&1
    done
    if [ -s "$T/services" ]; then
        $BOUNDED systemctl daemon-reload 9<&-
        $BOUNDED xargs systemctl --no-block start <"$T/services" 9<&-
    fi
}

keep_or_remove() { # FROM TO
    if [ -e "$1" ]; then
        cmp -s -- "$1" "$2" || keep "$2" <"$1"
    else
        take_away "$2"
    fi
}

# timeout(1) of busybox had another syntax until 1.30.
bounded() { ! timeout -s KILL 1 true 2>/dev/null || echo "timeout -s KILL $PATIENCE"; }

forget() {
    ! is_worth_a_line || remember
    gone=$ROOT/gone.$$
    mv -- "$T" "$gone" || return
    flush "$ROOT"
    # Not before: whoever is killed here leaves timers that find nothing to do, and no transaction without timers.
    stand_down "$gone"
    rm -rf -- "$gone"
}

# By its line alone others see that a host went back, also one that had nothing to change before the confirmation.
is_worth_a_line() {
    is_decided confirm || [ -s "$T/step" ] ||
        { [ ! -e "$T/live" ] && { [ -e "$T/watcher" ] || [ -s "$T/timers" ]; }; }
}

remember() { # a line of the history, once, whoever was killed before
    audit='' result='' past=''
    IFS= read -r audit <"$T/audit"
    read -r result <"$T/result"
    if [ -e "$ROOT/history" ]; then
        past=$(tail -n 499 "$ROOT/history") || return
        case ${past##*
} in "$audit"*) return 0 ;; esac
    fi
    why=''
    ! is_decided rollback || read -r why 2>/dev/null <"$T/why"
    is_decided
    {
        [ -z "$past" ] || printf '%s\n' "$past"
        printf '%s\t%s\t%s\t%s\t%s\n' "$audit" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$why" "$said" "$result"
    } | keep "$ROOT/history"
}

clean() { # where nothing of crossnet is applied and nothing is under way, only the history stays
    if [ ! -e "$ROOT/applied.json" ] && [ ! -d "$T" ]; then
        rm -rf -- "$ROOT/drill" "$ROOT/until" "$ROOT"/healed* "$ROOT/unwritten" "$ROOT"/host-*.sh
        ! rmdir -- "$ROOT" 2>/dev/null || return 0
    fi
    flush "$ROOT"
    return 0
}

# ---- what is over ----------------------------------------------------------------------------------------

place_until() { # what the transaction says of it, in place of what was there
    [ -d "$T/until" ] || [ -d "$ROOT/until" ] || return 0
    [ -e "$T/lapse" ] || end_session "$ROOT/until/watcher"
    rm -rf -- "$ROOT/until.new"
    if [ -d "$T/until" ]; then
        # A copy: whoever is killed here does all of it again.
        cp -R -- "$T/until" "$ROOT/until.new" && ln -f -- "$0" "$ROOT/until.new/host.sh" &&
            { is_at_boot || echo "$BOOT" >"$ROOT/until.new/boot"; } && sync || return
    fi
    rm -rf -- "$ROOT/until" || return
    [ ! -d "$ROOT/until.new" ] || mv -- "$ROOT/until.new" "$ROOT/until" || return
    flush "$ROOT"
}

is_at_boot() { # whether the host takes back what it has not loaded yet
    mode=''
    read -r mode 2>/dev/null <"$T/lapse"
    [ "$mode" = boot ]
}

next_lapse() { # whether there is one: `at` is when
    at=''
    for folder in "$ROOT"/until/[0-9]*; do
        [ -d "$folder" ] || continue
        folder=${folder##*/}
        if [ -z "$at" ] || [ "$folder" -lt "$at" ]; then at=$folder; fi
    done
    [ -n "$at" ]
}

is_over() { [ "$(date +%s)" -ge "$1" ]; } # TIME

arm_until() { # says what will start the next one, when that was seen to be there
    next_lapse || return 0
    by=''
    read -r by 2>/dev/null <"$ROOT/until/by"
    # A timer goes off at no time that is past.
    if [ "$by" = timer ] && ! is_over "$at" && timer_is_set; then
        echo "until timer"
    elif is_alive "$ROOT/until/watcher" || start_waiting; then
        echo "until watch"
    else
        echo "until unproved"
    fi
}

timer_is_set() { # as systemd tells it: what was to start or restart it may not have been done yet
    tries=0
    while shown=$($BOUNDED systemctl show -p Job -p NextElapseUSecRealtime crossnet-until.timer 2>/dev/null 9<&-); do
        case $shown in
        *Job=[1-9]*) ;;
        *NextElapseUSecRealtime=[A-Z1-9]*) return 0 ;;
        esac
        tries=$((tries + 1))
        [ "$tries" -lt $((SOON * 10)) ] || return
        pause "$tries"
    done
    return 1
}

start_waiting() {
    rm -f -- "$ROOT/until/watcher"
    echo "$BOOT" >"$ROOT/until/boot" || return
    detach await
    tries=0
    until is_alive "$ROOT/until/watcher"; do
        tries=$((tries + 1))
        [ "$tries" -lt $((SOON * 10)) ] || return
        pause "$tries"
    done
}

await() { # without a timer: until it is over, by a clock that may be set meanwhile
    as_placed await
    echo -900 2>/dev/null >/proc/self/oom_score_adj
    myself >"$ROOT/until/watcher"
    while next_lapse && [ "$(cat "$ROOT/until/watcher" 2>/dev/null)" = "$(myself)" ]; do
        show_a_sign "$ROOT/until/heartbeat"
        left=$((at - $(date +%s)))
        [ "$left" -le 60 ] || left=60
        if [ "$left" -gt 0 ]; then sleep "$left"; else (lapse now) || sleep $((AGAIN * TRIES)); fi
    done
}

lapse() { # now|boot: what is over, one time after the other
    as_placed lapse "$@"
    tries=0
    while next_lapse && is_over "$at"; do
        take_back "$at" "$1"
        case $? in
        0) tries=0 && continue ;;
        "$REFUSED") exit $REFUSED ;; # until another transaction prepares it anew
        "$HELD") # somebody is at work: when they are done; the boot of a host waits for nobody
            [ "$1" != boot ] || exit $FAILED
            sleep 1 && continue
            ;;
        esac
        tries=$((tries + 1))
        [ "$1" != boot ] && [ "$tries" -lt $TRIES ] || exit $FAILED
        sleep $AGAIN
    done
    keep_waiting
}

keep_waiting() { # without a timer, whatever became of who waited; systemd starts its own, also at boot
    next_lapse || return 0
    by='' init=''
    read -r by 2>/dev/null <"$ROOT/until/by"
    read -r init 2>/dev/null </proc/1/comm
    [ "$by $init" = "timer systemd" ] || is_alive "$ROOT/until/watcher" || start_waiting
}

# What is kept in until/ may be replaced at any time, and what is started by this script calls it again.
as_placed() { # VERB WORD…
    case ${0%/*} in */until | */transaction) ;; *) return 0 ;; esac
    [ -e "$0" ] || exit 0
    sum=$(sha256sum <"$0") && own=$ROOT/host-$(printf %.16s "$sum").sh || exit $FAILED
    cmp -s -- "$0" "$own" || ln -f -- "$0" "$own" || exit $FAILED
    exec /bin/sh "$own" "$@"
}

# A transaction like any other, of which the host is the one who begins it, and who confirms it.
take_back() ( # TIME now|boot
    alone || exit $FAILED
    conclude_due
    [ ! -d "$T" ] || exit $HELD
    [ -d "$ROOT/until/$1" ] || exit 0
    if [ "$(digest "$ROOT/applied.json")" != "$(cat "$ROOT/until/$1/of")" ]; then
        why="crossnet's record is not the one for which it was prepared"
        [ -e "$ROOT/until/failed" ] || note "what is over cannot be taken back: $why"
        echo "$why" >"$ROOT/until/failed"
        exit $REFUSED
    fi
    read -r which </proc/sys/kernel/random/uuid && which=${which%%-*} || exit $FAILED
    if ! { collect "$1" "$which" "$2" && take_hold; }; then
        rm -rf -- "$ROOT/new"
        echo "it could not be begun there: is the disk full?" >"$ROOT/until/failed"
        exit $FAILED
    fi
    note "transaction $which begins: what is over is taken back"
    exec 9<&-
    why=''
    if [ -d "$T/live" ]; then
        # Early in a boot systemd starts no timer yet, and whoever waits for one holds up the boot.
        unit=crossnet-$which-$(date +%s)
        [ "$2" = boot ] || stand_beside || { decide "$which" rollback "another firewall was at work"; }
        [ "$2" = boot ] || ! timer "$unit" $LAPSE expire "$which" >/dev/null || echo "$unit" >>"$T/timers"
        start_watch "$which"
        why=$(apart work "$which" 999999 2>&1) && why=''
    fi
    if [ -z "$why" ]; then
        decide "$which" confirm
    else
        decide "$which" rollback "$(echo "$why" | tr '\n\t' '  ')"
    fi
    apart conclude "$which"
    [ -d "$ROOT/until/$1" ] || exit 0
    echo "${why:-its guard put it back}" >"$ROOT/until/failed"
    exit $FAILED
)

collect() { # TIME TRANSACTION now|boot: what was prepared, with what comes after it
    cp -R -- "$ROOT/until/$1" "$ROOT/new" && add_to "$ROOT/new" "$2" && echo "$3" >"$ROOT/new/lapse" &&
        in_seconds $LAPSE >"$ROOT/new/deadline" || return
    said=$(cat "$ROOT/new/said") &&
        printf '%s\t%s\t%s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$2" "$said" >"$ROOT/new/audit" || return
    # Before anything is loaded there is nothing to take back but what would be.
    if [ "$3" = boot ] && ! is_of_this_boot "$ROOT/until"; then rm -rf -- "$ROOT/new/live"; fi
    for later in "$ROOT"/until/[0-9]*; do
        [ "${later##*/}" != "$1" ] || continue
        mkdir -p -- "$ROOT/new/until" && cp -R -- "$later" "$ROOT/new/until/" || return
    done
    for kept in by watcher heartbeat boot; do
        [ ! -d "$ROOT/new/until" ] || [ ! -e "$ROOT/until/$kept" ] ||
            cp -- "$ROOT/until/$kept" "$ROOT/new/until/" || return
    done
}

# ---- verbs -----------------------------------------------------------------------------------------------

# The whole file is read before the first line of it runs: it may be removed or replaced meanwhile.
main() {
    BOUNDED='' numbering='' yields_to=''
    verb=$1
    shift
    read -r BOOT </proc/sys/kernel/random/boot_id
    # A change may take as long as its guard lets it; the others of these do nothing themselves that may hang.
    case $verb in work | apply | release | status | mark) ;; *) BOUNDED=$(bounded) ;; esac
    case $verb in
    conclude) conclude_alone "$@" ;;
    stage | arm | apply | check | status | extend | commit | release | rollback | recover | expire) "$verb" "$@" ;;
    mark | watch | work | lapse | await | yield) "$verb" "$@" ;;
    *) echo "crossnet: no verb $verb" >&2 && return 64 ;;
    esac
    exit
}

main "$@"
