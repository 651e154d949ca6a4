package ring

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Feature is something that a kernel may or may not do for a loop.
type Feature uint8

// The features that Probe looks for, in the order it does.
const (
	FeatSetup Feature = iota
	FeatFastPoll
	FeatSubmitAll
	FeatCoopTaskrun
	FeatSingleIssuer
	FeatDeferTaskrun
	FeatPoll
	FeatTimeout
	FeatCancel
	FeatCancelFd
	FeatSyncCancel
	FeatAccept
	FeatAcceptMultishot
	FeatConnect
	FeatSend
	FeatSendmsg
	FeatSendZC
	FeatRegisteredBuffers
	FeatSplice
	FeatMsgRing
	FeatBufRing
	FeatRecvMultishot
	FeatRecvBundle
	FeatBufRingInc
	FeatRecvBundleInc

	featureCount
)

// feature is what there is to know about a Feature without asking the kernel.
type feature struct {
	name     string
	since    version          // the first kernel that has it
	gain     string           // what a loop has from it
	try      func(*lab) error // does it once
	required bool             // without it there is no loop on a ring
	needs    []Feature        // not tried without these
	flag     uint32           // the set-up flag that it is, if it is one
	op       uint8            // the opcode that the kernel must announce, if it is one
}

var features = [featureCount]feature{
	FeatSetup: {
		name: "setup", since: version{5, 11}, gain: "a ring at all",
		try: trySetup, required: true,
	},
	FeatFastPoll: {
		name: "fast-poll", since: version{5, 7}, gain: "no kernel thread per waiting operation",
		try: tryFastPoll, required: true, needs: []Feature{FeatSetup},
	},
	FeatSubmitAll: {
		name: "submit-all", since: version{5, 18}, gain: "one enter per batch, bad entries or not",
		try: trySubmitAll, flag: SetupSubmitAll, needs: []Feature{FeatSetup},
	},
	FeatCoopTaskrun: {
		name: "coop-taskrun", since: version{5, 19}, gain: "no interrupt per completion",
		try: tryCoopTaskrun, flag: SetupCoopTaskrun, needs: []Feature{FeatSetup},
	},
	FeatSingleIssuer: {
		name: "single-issuer", since: version{6, 0}, gain: "fewer locks",
		try: trySingleIssuer, flag: SetupSingleIssuer, needs: []Feature{FeatSetup},
	},
	FeatDeferTaskrun: {
		name: "defer-taskrun", since: version{6, 1}, gain: "completion work in batches",
		try: tryDeferTaskrun, needs: []Feature{FeatSingleIssuer}, flag: SetupDeferTaskrun,
	},
	FeatPoll: {
		name: "poll", since: version{5, 13}, gain: "waking the loop",
		try: tryPoll, required: true, op: OpPollAdd, needs: []Feature{FeatSetup},
	},
	FeatTimeout: {
		name: "timeout", since: version{5, 4}, gain: "time-outs by the ring",
		try: tryTimeout, op: OpTimeout, needs: []Feature{FeatSetup},
	},
	FeatCancel: {
		name: "cancel", since: version{5, 5}, gain: "closing connections",
		try: tryCancel, required: true, op: OpAsyncCancel, needs: []Feature{FeatSetup},
	},
	FeatCancelFd: {
		name: "cancel-fd", since: version{5, 19}, gain: "cancelling all of a connection at once",
		try: tryCancelFd, needs: []Feature{FeatCancel},
	},
	FeatSyncCancel: {
		name: "sync-cancel", since: version{6, 0}, gain: "sockets closed as soon as the loop ends",
		try: trySyncCancel, needs: []Feature{FeatCancel},
	},
	FeatAccept: {
		name: "accept", since: version{5, 5}, gain: "connections",
		try: tryAccept, required: true, op: OpAccept, needs: []Feature{FeatSetup},
	},
	FeatAcceptMultishot: {
		name: "accept-multishot", since: version{5, 19}, gain: "one entry for all connections",
		try: tryAcceptMultishot, needs: []Feature{FeatAccept},
	},
	FeatConnect: {
		name: "connect", since: version{5, 5}, gain: "connections to the upstream",
		try: tryConnect, required: true, needs: []Feature{FeatAccept}, op: OpConnect,
	},
	FeatSend: {
		name: "send", since: version{5, 6}, gain: "sending",
		try: trySend, required: true, op: OpSend, needs: []Feature{FeatSetup},
	},
	FeatSendmsg: {
		name: "sendmsg", since: version{5, 3}, gain: "sending many buffers at once",
		try: trySendmsg, required: true, op: OpSendmsg, needs: []Feature{FeatSetup},
	},
	FeatSendZC: {
		name: "send-zc", since: version{6, 0}, gain: "sending without a copy",
		try: trySendZC, needs: []Feature{FeatSend}, op: OpSendZC,
	},
	FeatRegisteredBuffers: {
		name: "registered-buffers", since: version{5, 1}, gain: "pinned memory",
		try: tryRegisteredBuffers, needs: []Feature{FeatSetup},
	},
	FeatSplice: {
		name: "splice", since: version{5, 7}, gain: "moving bytes without reading them",
		try: trySplice, op: OpSplice, needs: []Feature{FeatSetup},
	},
	FeatMsgRing: {
		name: "msg-ring", since: version{5, 18}, gain: "messages from ring to ring",
		try: tryMsgRing, op: OpMsgRing, needs: []Feature{FeatSetup},
	},
	FeatBufRing: {
		name: "buffer-ring", since: version{5, 19}, gain: "buffers only for those that receive",
		try: tryBufRing, required: true, needs: []Feature{FeatSend}, op: OpRecv,
	},
	FeatRecvMultishot: {
		name: "recv-multishot", since: version{6, 0}, gain: "one entry for all that a connection receives",
		try: tryRecvMultishot, needs: []Feature{FeatBufRing},
	},
	FeatRecvBundle: {
		name: "recv-bundle", since: version{6, 10}, gain: "many buffers with one completion",
		try: tryRecvBundle, needs: []Feature{FeatRecvMultishot},
	},
	FeatBufRingInc: {
		name: "buffer-ring-inc", since: version{6, 12}, gain: "large buffers filled bit by bit",
		try: tryBufRingInc, needs: []Feature{FeatRecvMultishot},
	},
	FeatRecvBundleInc: {
		name: "recv-bundle-inc", since: version{6, 12}, gain: "large buffers, several with one completion",
		try: tryRecvBundleInc, needs: []Feature{FeatRecvBundle, FeatBufRingInc},
	},
}

// String is the feature's name, as ParseFeature reads it.
func (f Feature) String() string { return features[f].name }

// ParseFeature finds a feature by its name.
func ParseFeature(name string) (Feature, error) {
	names := make([]string, 0, featureCount)
	for f := range featureCount {
		if f.String() == name {
			return f, nil
		}
		names = append(names, f.String())
	}
	return 0, fmt.Errorf("no feature %q, there are %s", name, strings.Join(names, ", "))
}

// State is what is known of a feature.
type State uint8

// Unknown: trying failed for a reason that says nothing about the kernel, such as no descriptor left. A loop goes without,
// a later Probe may find it.
const (
	Unknown State = iota
	No
	Yes
)

func (s State) String() string { return [...]string{"unknown", "no", "yes"}[s] }

// Result is the answer for one feature. Reason and Errno (0 if none was involved) say why it is not Yes.
type Result struct {
	State  State
	Errno  unix.Errno
	Reason string

	mapping bool // it was mmap(2) that failed
}

// version is a kernel's version.
type version struct{ major, minor int }

func (v version) before(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// parseVersion reads the beginning of a release such as 6.18.44-arch1; zero if it is none.
func parseVersion(release string) (v version) {
	if n, _ := fmt.Sscanf(release, "%d.%d", &v.major, &v.minor); n != 2 {
		return version{}
	}
	return v
}
