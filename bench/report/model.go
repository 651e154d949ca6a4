// Package report holds what a comparison found, and turns it into tables, plots and verdicts.
//
//	compare ──▶ Report (every single run, as JSON) ──▶ text table
//	                                               ──▶ report.html with its plots
//	               two Reports ──▶ diff
//
// A Report keeps raw runs only. Medians, spreads and ratios are computed when they are shown, so that an old file can be
// looked at in new ways.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"fooproxy/bench/load"
)

// Report is a whole comparison.
type Report struct {
	Begun     time.Time  `json:"begun"`
	Took      string     `json:"took"`
	Command   []string   `json:"command"`
	Machine   Machine    `json:"machine"`
	Baseline  string     `json:"baseline"` // the target that ratios are to
	Targets   []Target   `json:"targets"`
	Workloads []Workload `json:"workloads"`
	FloorNs   []float64  `json:"floor_ns"` // time of a round trip without any proxy, in each round of FloorWorkload; see package floor
	Cells     []Cell     `json:"cells"`
}

// FloorWorkload is the one that the floor is held against.
const FloorWorkload = "pingpong16"

// Machine is where it ran.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     string `json:"memory"`
	Kernel     string `json:"kernel"`
	Congestion string `json:"tcp_congestion_control"`
	Isolated   bool   `json:"isolated"`       // in a network namespace of its own
	Veth       bool   `json:"veth,omitempty"` // joined to that of the generator by a veth pair
	Go         string `json:"go"`
	TargetCore int    `json:"target_core"` // -1 = every one
	LoadCore   int    `json:"load_core"`
}

// Target is one column.
type Target struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Version string `json:"version"`
	Missing string `json:"missing,omitempty"` // why it could not run
	Command string `json:"command,omitempty"`
	Direct  bool   `json:"direct,omitempty"`
	Engine  bool   `json:"engine,omitempty"`
}

// Workload is one group of rows.
type Workload struct {
	Name   string `json:"name"`
	Short  string `json:"short,omitempty"` // for tables that have little room
	About  string `json:"about"`
	Load   string `json:"load"` // foobench's command that makes the same load in one window
	Stream bool   `json:"stream,omitempty"`
	Idle   bool   `json:"idle,omitempty"`
	Churn  bool   `json:"churn,omitempty"`
	Open   bool   `json:"open,omitempty"`
	Conns  int    `json:"connections"`
	Loop   string `json:"loop"` // runs of one kind of traffic at several numbers of connections share a name here
}

// Cell is one target under one workload.
type Cell struct {
	Target   string `json:"target"`
	Workload string `json:"workload"`
	Runs     []Run  `json:"runs"`
	Failure  string `json:"failure,omitempty"` // the cell is worthless
}

// Run is one measurement.
type Run struct {
	Round  int         `json:"round"` // runs of one round were made one after the other, and are compared with each other
	Result load.Result `json:"result"`
	// Disturbed says what else used the CPUs; such a run was repeated as often as allowed.
	Disturbed string `json:"disturbed,omitempty"`
}

// Cell finds the cell of a target under a workload, nil when there is none.
func (r *Report) Cell(workload, target string) *Cell {
	for i := range r.Cells {
		if c := &r.Cells[i]; c.Workload == workload && c.Target == target {
			return c
		}
	}
	return nil
}

// DropEmpty removes the cells that have neither a run nor a failure, and workloads without any cell: those of an interrupted
// comparison.
func (r *Report) DropEmpty() {
	r.Cells = slices.DeleteFunc(r.Cells, func(c Cell) bool { return len(c.Runs) == 0 && c.Failure == "" })
	r.Workloads = slices.DeleteFunc(r.Workloads, func(w Workload) bool {
		return !slices.ContainsFunc(r.Cells, func(c Cell) bool { return c.Workload == w.Name })
	})
}

// Failures lists what makes cells worthless.
func (r *Report) Failures() (list []string) {
	for _, c := range r.Cells {
		if c.Failure != "" {
			list = append(list, fmt.Sprintf("%s under %s: %s", c.Target, c.Workload, c.Failure))
		}
	}
	return list
}

// Save writes the report as JSON.
func (r *Report) Save(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// Load reads what Save wrote.
func Load(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(r.Cells) == 0 {
		return nil, errors.New(path + ": not the JSON of foobench compare: it has no cells")
	}
	return r, nil
}
