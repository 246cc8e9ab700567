// Package inventory is Docket's own table of every operation that the five
// dialects document: which ones exist, and which of them Docket answers. A
// dialect's test compares it with what is registered, so that neither can drift.
package inventory

import (
	"embed"
	"fmt"
	"strings"

	"docket/internal/httpx"
)

//go:embed *.tsv
var tables embed.FS

// Dialects are those with an inventory.
var Dialects = []string{"qalyptus", "qlik", "dfs", "safeq", "wyn"}

// Status tells whether Docket answers an operation.
type Status string

const (
	Done    Status = "done"
	Planned Status = "planned"
)

// Row is one documented operation.
type Row struct {
	Dialect string
	N       string // number within the dialect; "2a" where one title has two methods
	Section string
	Title   string
	Method  string
	Path    string // whole, with {parameters} as documented
	Status  Status
}

var rows = load()

func load() map[string][]Row {
	all := make(map[string][]Row, len(Dialects))
	for _, dialect := range Dialects {
		data, err := tables.ReadFile(dialect + ".tsv")
		if err != nil {
			panic(err)
		}
		for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			if i == 0 {
				continue // names of the columns
			}
			c := strings.Split(line, "\t")
			if len(c) != 6 {
				panic(fmt.Sprintf("inventory: %s.tsv line %d has %d columns", dialect, i+1, len(c)))
			}
			all[dialect] = append(all[dialect], Row{dialect, c[0], c[1], c[2], c[3], c[4], Status(c[5])})
		}
	}
	return all
}

// Rows lists the operations of a dialect in the order of its documentation.
func Rows(dialect string) []Row { return rows[dialect] }

// Find looks an operation up by its number.
func Find(dialect, n string) (Row, bool) {
	for _, r := range rows[dialect] {
		if r.N == n {
			return r, true
		}
	}
	return Row{}, false
}

// Problem is one difference between the table and what is registered.
type Problem struct {
	Dialect string
	N       string
	Text    string
}

func (p Problem) String() string { return p.Dialect + "." + p.N + ": " + p.Text }

// Check compares the operations registered for a dialect, of one API or of
// several together, with its table: done rows that nobody registered, and
// registered operations that are unknown, still marked planned, registered
// twice, or stand at another method or path than documented.
func Check(dialect string, registered []httpx.Operation) []Problem {
	var problems []Problem
	add := func(n, format string, args ...any) {
		problems = append(problems, Problem{dialect, n, fmt.Sprintf(format, args...)})
	}
	if len(rows[dialect]) == 0 {
		add("", "there is no such inventory")
	}
	seen := map[string]bool{}
	for _, op := range registered {
		if op.Extra {
			continue
		}
		for _, n := range append([]string{op.ID}, op.Also...) {
			row, known := Find(dialect, n)
			switch {
			case !known:
				add(n, "registered (%s %s) but not in the inventory", op.Method, op.Full)
				continue
			case seen[n]:
				add(n, "registered twice")
			case row.Status != Done:
				add(n, "registered but marked %s", row.Status)
			}
			seen[n] = true
			if row.Method != op.Method || row.Path != op.Full {
				add(n, "registered at %s %s, documented at %s %s", op.Method, op.Full, row.Method, row.Path)
			}
		}
	}
	for _, row := range rows[dialect] {
		if row.Status == Done && !seen[row.N] {
			add(row.N, "done but not registered: %s %s", row.Method, row.Path)
		}
	}
	return problems
}
