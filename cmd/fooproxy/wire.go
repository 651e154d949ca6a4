package main

import "fooproxy/proxy"

// live makes a *proxy.Proxy the service of this process.
type live struct{ *proxy.Proxy }

func (l live) AppendStats(dst []byte) []byte { return l.Snapshot().AppendText(dst) }

// newService makes a proxy that already listens.
func newService(cfg proxy.Config) (service, error) {
	p, err := proxy.New(cfg)
	if err != nil {
		return nil, err
	}
	return live{p}, nil
}
