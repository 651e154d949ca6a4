package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The peers are configured for speed and for the same job: one thread, no log, TCP_NODELAY, no time-out within a run.

const haproxyConfig = `global
  nbthread 1
  maxconn %d
%sdefaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
%slisten foo
  bind %s
  server upstream %s
`

// Streams are spliced, with the largest pipes that everybody may have.
const (
	haproxyPipes  = "  maxpipes 1000\n  tune.pipesize 1048576\n"
	haproxySplice = "  option splice-request\n  option splice-response\n"
)

func haproxy() Target {
	return Target{
		Name: "haproxy", About: "HAProxy, mode tcp, one thread",
		Find: func() (string, error) { return version("apt install haproxy", "haproxy", "-v") },
		Command: func(e Env) ([]string, error) {
			path, err := find("haproxy")
			if err != nil {
				return nil, err
			}
			config := filepath.Join(e.Dir, "haproxy.cfg")
			pipes, splice := "", ""
			if e.Tunnel {
				pipes, splice = haproxyPipes, haproxySplice
			}
			text := fmt.Sprintf(haproxyConfig, e.MaxConns+100, pipes, splice, haproxyAddress(e.Listen), haproxyAddress(e.Forward))
			return []string{path, "-db", "-q", "-f", config}, os.WriteFile(config, []byte(text), 0o600)
		},
	}
}

func haproxyAddress(text string) string {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return "unix@" + path
	}
	return text
}

// tcp_nodelay is nginx's default; it is written down because the comparison rests on it.
const nginxConfig = `%sdaemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile %d;
pid %s/nginx.pid;
error_log stderr error;
events {
  worker_connections %d;
  use epoll;
  multi_accept on;
}
stream {
  access_log off;
  tcp_nodelay on;
  proxy_timeout 1h;
  proxy_buffer_size 64k;
%s  server {
    listen %s;
    proxy_pass %s;
  }
}
`

// nginxModules is where distributions put the stream module; with none of them it is hoped to be built in.
var nginxModules = []string{"/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"}

func nginx() Target {
	const install = "apt install nginx libnginx-mod-stream"
	return Target{
		Name: "nginx", About: "nginx, stream module, one process, 64 KiB buffers",
		Find: func() (string, error) { return version(install, "nginx", "-v") },
		Command: func(e Env) ([]string, error) {
			path, err := find("nginx")
			if err != nil {
				return nil, err
			}
			load := ""
			for _, module := range nginxModules {
				if _, err := os.Stat(module); err == nil {
					load = "load_module " + module + ";\n"
					break
				}
			}
			connections := 2*e.MaxConns + 100
			listen := e.Listen
			if !strings.HasPrefix(listen, "unix:") {
				listen += " backlog=4096"
			}
			config := filepath.Join(e.Dir, "nginx.conf")
			halfClose := ""
			if e.Tunnel {
				halfClose = "  proxy_half_close on;\n" // a stream that has ended must not end the other
			}
			text := fmt.Sprintf(nginxConfig, load, connections+100, e.Dir, connections, halfClose, listen, e.Forward)
			err = errors.Join(os.WriteFile(config, []byte(text), 0o600), os.MkdirAll(filepath.Join(e.Dir, "logs"), 0o700))
			return []string{path, "-p", e.Dir, "-c", config, "-e", filepath.Join(e.Dir, "error.log")}, err
		},
	}
}
