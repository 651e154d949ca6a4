package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
)

// ready tells a load balancer whether to send clients here.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.source.Draining() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// drain begins a graceful stop; asked again it changes nothing.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	s.options.Logger.Info("drain asked for over the admin address", "by", r.RemoteAddr)
	s.options.Drain()
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintln(w, "draining")
}

// level sets the level of the log of operations.
func (s *Server) level(w http.ResponseWriter, r *http.Request) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.FormValue("level"))); err != nil {
		http.Error(w, "say ?level=debug, info, warn or error", http.StatusBadRequest)
		return
	}
	s.options.Level.Set(level)
	fmt.Fprintln(w, level)
}

// writeJSON answers with v. What peers sent stands in it escaped; "<", ">" and "&" are escaped as well.
func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that has gone away is no error here
}
