package main

import (
	"fmt"
	"log/slog"

	"fooproxy/admin"
)

// violationsKept is how many of the latest violations the admin address shows.
const violationsKept = 256

// openAdmin opens the admin address, nil when there is none. drain is called, from any goroutine, when a drain is asked for there.
func (o *options) openAdmin(level *slog.LevelVar, log *slog.Logger, drain func()) (*admin.Server, error) {
	if o.admin == "" {
		return nil, nil
	}
	server, err := admin.Listen(admin.Options{
		Addr: o.admin, Version: versionName(), Forward: o.cfg.Forward, MaxConn: o.cfg.MaxConn, Log: o.cfg.Log != "",
		Drain: drain, Level: level, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("--admin %s: %w; choose another address", quote(o.admin), err)
	}
	return server, nil
}
