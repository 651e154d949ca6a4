package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"fooproxy/proxy"
)

// Source is what a Server shows: a *proxy.Proxy.
type Source interface {
	Info() proxy.Info
	View(*proxy.View)
	Tracking() bool
	Draining() bool
	Connections(ctx context.Context, limit int) []proxy.Connection
	Violations(ctx context.Context) []proxy.Violation
}

// Options are what a Server is told beside its Source.
type Options struct {
	Addr    string // HOST:PORT, or unix:/PATH for a socket that only this user can use
	Version string
	Forward string
	MaxConn int
	Log     bool // there is a request log
	Drain   func()
	Level   *slog.LevelVar // of the log of operations
	Logger  *slog.Logger
}

// Limits on clients: an operator and some programs, which may be slow, stuck or hostile.
const (
	// MaxClients is how many connections are served at once; more wait.
	MaxClients     = 16
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 10 * time.Second // beyond the time that a profile takes
	idleTimeout    = time.Minute
	headerBytesMax = 16 << 10
	bodyBytesMax   = 4 << 10
	// askTimeout is how long the loops together may take to answer; they do so in microseconds.
	askTimeout = 2 * time.Second
	// mutexSampling is the share of contended locks that the mutex profile sees, one in so many. The loops take none.
	mutexSampling = 10
)

// Server answers on the admin address.
type Server struct {
	options  Options
	listener net.Listener
	http     *http.Server
	source   Source
	sampler  sampler
	stop     chan struct{}
	running  sync.WaitGroup

	mu   sync.Mutex
	view proxy.View // guarded by mu
}

// Listen opens the address. Nothing is served before Serve.
func Listen(options Options) (*Server, error) {
	listener, err := listen(options.Addr)
	if err != nil {
		return nil, err
	}
	return &Server{options: options, listener: netutil.LimitListener(listener, MaxClients), stop: make(chan struct{})}, nil
}

const unixPrefix = "unix:"

func listen(addr string) (net.Listener, error) {
	path, unix := strings.CutPrefix(addr, unixPrefix)
	if !unix {
		return net.Listen("tcp", addr)
	}
	if err := removeDead(path); err != nil {
		return nil, err
	}
	// bind(2) makes the socket's file with the mode that the socket has: nobody else can ever connect.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }), err)
	}}
	return config.Listen(context.Background(), "unix", path)
}

// removeDead removes a socket that a process has left behind, and nothing else.
func removeDead(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return fmt.Errorf("%s: somebody listens there", path)
	}
	return os.Remove(path)
}

// URL is where to look.
func (s *Server) URL() string {
	if strings.HasPrefix(s.options.Addr, unixPrefix) {
		return s.options.Addr
	}
	return "http://" + s.listener.Addr().String() + "/"
}

// Serve begins to answer.
func (s *Server) Serve(source Source) {
	s.source = source
	runtime.SetMutexProfileFraction(mutexSampling)
	s.http = &http.Server{
		Handler:           yielding(s.guard(s.routes())),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
	}
	s.sampler.take(source, time.Now())
	s.running.Go(func() { _ = s.http.Serve(s.listener) })
	s.running.Go(s.sample)
}

// sample feeds the sampler.
func (s *Server) sample() {
	ticker := time.NewTicker(samplePeriod)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.sampler.take(s.source, now)
		case <-s.stop:
			return
		}
	}
}

// closePatience is how long Close waits for answers that are under way.
const closePatience = time.Second

// Close ends everything: answers that are under way are given, if they do not take long. Who has asked for a drain is told so,
// though the process may have nothing else to wait for.
func (s *Server) Close() {
	close(s.stop)
	if s.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close()
		}
	}
	_ = s.listener.Close()
	s.running.Wait()
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.collect()) })
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("GET /connections", s.connections)
	mux.HandleFunc("GET /violations", s.violations)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("POST /drain", s.drain)
	mux.HandleFunc("POST /loglevel", s.level)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
