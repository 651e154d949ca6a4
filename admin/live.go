package admin

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"fooproxy/proxy"
)

// Connection is one element of the answer of /connections.
type Connection struct {
	ID           uint64 `json:"id"`
	Loop         int    `json:"loop"`
	Client       string `json:"client"`
	Server       string `json:"server"`
	Class        string `json:"class"` // unknown, foo, arbitrary, tunnel
	State        string `json:"state"` // connecting, open, closing
	End          string `json:"end"`   // why it ends, "-" = it does not
	AgeMs        int64  `json:"age_ms"`
	IdleMs       int64  `json:"idle_ms"` // since a byte last moved
	Req          uint64 `json:"req"`
	Ack          uint64 `json:"ack"`
	Nak          uint64 `json:"nak"`
	Outstanding  uint64 `json:"outstanding"`
	InBytes      uint64 `json:"in_bytes"`  // from the client
	OutBytes     uint64 `json:"out_bytes"` // to it
	HeldRequests int    `json:"held_requests_bytes"`
	HeldAnswers  int    `json:"held_answers_bytes"`
	WaitsFor     string `json:"waits_for"` // what must happen next: connect, server-reads, client-reads, end, data, first-bytes, rest-of-request, answer, request
}

// Violation is one element of the answer of /violations, which has the last one first.
type Violation struct {
	Time   time.Time `json:"time"`
	Conn   uint64    `json:"conn"`
	Client string    `json:"client"`
	Dir    string    `json:"dir"` // request, response
	Line   uint64    `json:"line"`
	Offset uint64    `json:"offset"` // in the line, from 0
	Want   string    `json:"want"`
	Got    string    `json:"got"` // in quotes, only printable ASCII: what stood there
}

// connectionsDefault is how many connections of each loop are shown when nothing is said.
const connectionsDefault = 10_000

// connections answers /connections?limit=N, N for each loop.
func (s *Server) connections(w http.ResponseWriter, r *http.Request) {
	limit := connectionsDefault
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			http.Error(w, "limit is no number", http.StatusBadRequest)
			return
		}
		limit = n
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	list := []Connection{}
	for _, c := range s.source.Connections(ctx, limit) {
		list = append(list, s.connection(&c))
	}
	writeJSON(w, list)
}

func (s *Server) connection(c *proxy.Connection) Connection {
	return Connection{
		ID: c.ID, Loop: c.Loop, Client: peerName(c.Client.IsValid(), c.Client.String()), Server: s.options.Forward,
		Class: c.Class, State: c.State, End: c.End, AgeMs: c.Age.Milliseconds(), IdleMs: c.Idle.Milliseconds(),
		Req: c.Count.Req, Ack: c.Count.Ack, Nak: c.Count.Nak, Outstanding: c.Outstanding, InBytes: c.In, OutBytes: c.Out,
		HeldRequests: c.HeldRequests, HeldAnswers: c.HeldAnswers, WaitsFor: c.WaitsFor,
	}
}

func (s *Server) violations(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	list := []Violation{}
	for _, v := range s.source.Violations(ctx) {
		list = append(list, Violation{
			Time: v.Time.UTC(), Conn: v.Conn, Client: peerName(v.Client.IsValid(), v.Client.String()), Dir: v.Dir,
			Line: v.Line, Offset: v.Offset, Want: v.Want, Got: strconv.QuoteToASCII(string(v.Got)),
		})
	}
	writeJSON(w, list)
}

// peerName is a client's address, which clients of a unix socket do not have.
func peerName(known bool, address string) string {
	if !known {
		return "unix"
	}
	return address
}
