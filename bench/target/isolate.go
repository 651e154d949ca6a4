package target

import (
	"fmt"
	"io"

	"fooproxy/bench/sys"
)

// opposite is where SpawnOpposite starts children, nil = where all others are. It is the starter's thread's.
var opposite *sys.Namespace

// Isolate gives all children from now on a network namespace of their own, with nothing but a loopback device and with a
// congestion control of its own choice ("" leaves the machine's). With a cable those of SpawnOpposite are in a second one, joined
// to the first by a veth pair. It needs the right to do so (CAP_SYS_ADMIN); after an error children share the machine's network
// as before.
func Isolate(congestion string, cable bool) error {
	return onStarter(func() error {
		here, err := sys.NewNamespace(congestion)
		if err != nil {
			return err
		}
		defer here.Close()
		var there *sys.Namespace
		if cable {
			if there, err = sys.NewNamespace(congestion); err != nil {
				return err
			}
			if err = here.Join(there); err != nil {
				there.Close()
				return fmt.Errorf("a veth pair: %w", err)
			}
		}
		opposite.Close()
		opposite = there
		return here.Enter()
	})
}

// Congestion is the TCP congestion control that children get.
func Congestion() (name string) {
	_ = onStarter(func() (err error) {
		name, err = sys.Congestion()
		return err
	})
	return name
}

// SpawnOpposite is Spawn for who talks to the targets: at the other end of the cable, if Isolate has laid one.
func SpawnOpposite(args []string, core int, stdin io.Reader, stdout io.Writer) (*Process, error) {
	return spawn(args, core, stdin, stdout, func(start func() error) error {
		if opposite == nil {
			return start()
		}
		return opposite.Do(start)
	})
}
