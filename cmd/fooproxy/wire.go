package main

import (
	"errors"

	"fooproxy/proxy"
)

func newService(proxy.Config) (service, error) {
	return nil, errors.New("package proxy is not there yet")
}
