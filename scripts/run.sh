#!/bin/sh
# run.sh [BIN]: starts fooserver and fooproxy from the directory BIN (default: bin) and talks to them.
#
# On a terminal you talk, with fooclient. Otherwise an example conversation is played, and its transcript and the proxy's
# figures are printed. Server and proxy get ports 8000 and 8001, or the next free ones, and end with this script, whatever
# ends it. Exit status: fooclient's when you talked; 0 when the example went as it must; 1 when something went wrong.
set -u

bin=${1:-bin}
server='' proxy='' client='' # process ids of what runs
limit=200                    # how often a condition is tried, every 50 ms, before it is given up

say() { printf '%s\n' "$*"; }

fail() {
	printf 'run.sh: %s\n' "$*" >&2
	exit 1
}

# alive PID: whether that process runs; kill -0 would take a zombie for alive.
alive() {
	case $(cat "/proc/$1/stat" 2>/dev/null) in
	'' | *') Z '* | *') X '*) return 1 ;;
	esac
}

# await CONDITION...: waits until the command succeeds.
await() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ "$tries" -lt "$limit" ] || return 1
		sleep 0.05
	done
}

dead() { ! alive "$1"; }

# end PID: ends a process gracefully, or else at once. Its status is the function's.
end() {
	kill -TERM "$1" 2>/dev/null
	await dead "$1" || kill -KILL "$1" 2>/dev/null
	wait "$1"
}

# cleanup ends what still runs, the proxy before its server.
cleanup() {
	trap '' INT TERM HUP
	for process in $client $proxy $server ${!:-}; do # the last one may have no name yet
		alive "$process" && end "$process" 2>/dev/null
	done
	rm -rf "$dir"
}

# taken PORT: whether something accepts connections there.
taken() { "$bin/fooclient" --timeout 2s "127.0.0.1:$1" </dev/null >/dev/null 2>&1; }

# settled PID PORT: whether the process listens on the port, or has ended.
settled() { dead "$1" || taken "$2"; }

# launch NAME PORT COMMAND...: runs the command, on the first free port from PORT on, which replaces every @ in its arguments.
# Sets pid and port. Its output goes to NAME.out and NAME.err.
launch() {
	name=$1 port=$2
	shift 2
	last=$((port + 99))
	while [ "$port" -le "$last" ]; do
		if ! taken "$port"; then
			# shellcheck disable=SC2046,SC2086 # none of the words holds a blank
			$guard "$bin/$name" $(printf '%s\n' "$@" | sed "s/@/$port/") >"$dir/$name.out" 2>"$dir/$name.err" &
			pid=$!
			if await settled "$pid" "$port" && alive "$pid"; then
				return
			fi
			if alive "$pid"; then
				end "$pid"
				fail "$name does not listen on port $port: $(cat "$dir/$name.err")"
			fi
			grep -q 'address already in use' "$dir/$name.err" || fail "$name does not start: $(cat "$dir/$name.err")"
		fi
		port=$((port + 1))
	done
	fail "no port from $((last - 99)) to $last is free for $name"
}

# talk runs fooclient on the terminal. To the shell it is in the background, so that signals are obeyed meanwhile.
talk() {
	exec 3<&0
	$guard "$bin/fooclient" "127.0.0.1:$proxy_port" <&3 &
	client=$!
	wait "$client"
	status=$?
	client=''
	figures
	cat "$dir/figures"
}

# answered N: whether the transcript holds N answers, or no more will come.
answered() { [ "$(grep -c '^<' "$dir/transcript")" -ge "$1" ] || dead "$client"; }

# request N LINE...: sends the lines at once and waits until the transcript holds N answers.
request() {
	wanted=$1
	shift
	printf '%s\n' "$@" >"$dir/lines"
	cat "$dir/lines" >&4 # with one write; printf would do one for each line in some shells
	await answered "$wanted" || fail "answer $wanted does not come: $(cat "$dir/transcript")"
}

# play holds the example conversation and compares it with what it must be.
play() {
	mkfifo "$dir/requests" || fail 'cannot make a named pipe'
	: >"$dir/transcript"
	$guard "$bin/fooclient" -v "127.0.0.1:$proxy_port" <"$dir/requests" >"$dir/transcript" 2>"$dir/client.err" &
	client=$!
	exec 4<>"$dir/requests" # for both ways: opening it so never waits, not even for a client that has died
	request 1 'REQ 1 Hey'
	request 2 'REQ 2 Hey there'
	request 5 'REQ 3 Hey' 'REQ 4 Hey' 'REQ 5 Hey'
	request 6 'REQ 6 Hey again'
	exec 4>&-
	wait "$client"
	status=$?
	client=''
	cat "$dir/transcript" "$dir/client.err"
	[ "$status" -eq 3 ] || fail "fooclient ended with status $status instead of 3, that of NAKs"
	verdicts=$(sed -n 's/^< \(... [0-9]\).*/\1/p' "$dir/transcript" | tr '\n' ' ')
	[ "$verdicts" = 'ACK 1 NAK 2 ACK 3 ACK 4 NAK 5 ACK 6 ' ] || fail "these are not the answers to expect: $verdicts"
	say ''
	rounds=0
	until figures && complete; do # the proxy publishes once per turn of its loop: the first figures may be an answer short
		rounds=$((rounds + 1))
		[ "$rounds" -lt 20 ] || fail "the proxy's figures are not those of 6 requests and answers: $(cat "$dir/figures")"
	done
	cat "$dir/figures"
	status=0
}

# figures asks the proxy for its statistics and keeps them in a file.
figures() {
	before=$(wc -l <"$dir/fooproxy.out")
	kill -USR1 "$proxy"
	await printed $((before + 8))
	tail -n +"$((before + 1))" "$dir/fooproxy.out" >"$dir/figures"
}

# printed N: whether the proxy has printed N lines.
printed() { [ "$(wc -l <"$dir/fooproxy.out")" -ge "$1" ]; }

# complete: whether the figures are those of the whole example.
complete() {
	[ "$(grep -cx -e 'msg_total 12' -e 'msg_req 6' -e 'msg_ack 4' -e 'msg_nak 2' "$dir/figures")" -eq 4 ]
}

# stop NAME PID: ends a process that must end cleanly.
stop() {
	end "$2" || {
		say "run.sh: $1 ended with status $?: $(cat "$dir/$1.err")" >&2
		[ "$status" -ne 0 ] || status=1
	}
}

for name in fooserver fooproxy fooclient; do
	[ -x "$bin/$name" ] || fail "$bin/$name is missing; \"make build\" makes it"
done
dir=$(mktemp -d) || fail 'cannot make a temporary directory'
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Where setpriv exists the kernel ends the processes even if this script is killed without being able to.
guard=''
if setpriv --pdeathsig TERM true 2>/dev/null; then
	guard='setpriv --pdeathsig TERM'
fi

if [ -t 0 ] && [ -t 1 ]; then
	mode=talk flags=''
else
	mode=play flags='--nak 0.3 --seed 97' # these refuse the requests 2 and 5
fi
# shellcheck disable=SC2086
launch fooserver 8000 --listen 127.0.0.1:@ $flags
server=$pid server_port=$port
launch fooproxy 8001 -p @ -f "$server_port"
proxy=$pid proxy_port=$port
say "fooserver listens on port $server_port, fooproxy on port $proxy_port"

$mode

process=$proxy proxy=''
stop fooproxy "$process"
process=$server server=''
stop fooserver "$process"
exit "$status"
